"""Drills of size: workers join, and workers leave while messages flow."""

from itertools import pairwise
from statistics import median

from envs.drills.field import Field
from envs.drills.judge import IN_SERVICE, Look
from envs.drills.stream import streaming
from services.fabric.client import UP
from services.fabric.configuration import WORKER
from services.fabric.manifest import listed
from services.fabric.waiting import NotYet


def scale_in(field: Field) -> None:
    """Half of six workers leave while messages flow."""
    with streaming(field):
        field.shrink(3)
    note_times(field)


def all_at_once(field: Field) -> None:
    """Every worker is let go at the same moment; they have to leave strictly one after the other."""
    leaving = len(field.workers())
    field.shrink(leaving)
    note_times(field)
    turns = sorted(
        (each.leaves, each.forgotten or each.answered, each.node)
        for each in field.watch.judge.departures.values()
        if each.leaves is not None
    )
    field.figures["turns_seen"] = len(turns)
    for (_, ended, node), (begun, _, other) in pairwise(turns):
        field.require(ended is not None and ended <= begun, f"{other} began to leave before {node} had left")


def scale_out(field: Field) -> None:
    """Workers join: each under a name of its own, in the domain that has fewest, listed in the configuration."""
    known = {node.name for node in field.gateway.nodes()}
    more = field.size(3, 2)
    wanted = len(field.workers()) + more
    field.scale(wanted)

    def look(look: Look) -> None:
        arrived = list(field.watch.judge.arrivals.values())
        up = [each for each in arrived if each.up is not None]
        if len(up) < more or any(state != IN_SERVICE for state in _states(field, look)):
            waiting = ", ".join(f"{each.node or each.instance}" for each in arrived if each.up is None)
            raise NotYet(f"{len(up)} of {more} have joined; on the way: {waiting or 'none yet'}")
        known_to_all = {each["nodeName"] for each in listed(field.gateway.manifest())}
        if missing := [each.node for each in up if each.node not in known_to_all]:
            raise NotYet(f"the configuration does not list {', '.join(missing)} yet")

    field.wait(f"{more} workers join", look)
    seconds = [each.seconds for each in field.watch.judge.arrivals.values() if each.seconds is not None]
    field.figures["seconds_a_node_median"] = round(median(seconds), 1)
    field.figures["seconds_a_node_max"] = round(max(seconds), 1)
    nodes = field.gateway.nodes()
    field.figures["joined"] = sum(node.name not in known and node.status == UP for node in nodes)
    field.require(field.figures["joined"] == more, f"{field.figures['joined']} nodes joined, not {more}")
    workers = [node for node in nodes if node.type == WORKER]
    field.figures["fault_domains"] = len({node.fault_domain for node in nodes})
    field.figures["upgrade_domains"] = len({node.upgrade_domain for node in nodes})
    astray = [node.name for node in workers if not node.fault_domain or not node.upgrade_domain]
    field.require(not astray, f"{', '.join(astray)} stands in no domain")


def _states(field: Field, look: Look) -> list[str]:
    return [member.state for member in look.members.values() if member.group == field.fleet.worker_group]


def note_times(field: Field) -> None:
    """How long each removal took, from its turn to the hook's answer."""
    seconds = [each.seconds for each in field.watch.judge.departures.values() if each.seconds is not None]
    if seconds:
        field.figures["seconds_a_node_median"] = round(median(seconds), 1)
        field.figures["seconds_a_node_max"] = round(max(seconds), 1)
