"""Who speaks TCP to whom, as a declaration: `fleetstream flows` proves it on what is deployed."""

from typing import Any, Final

from infra.filesystem import NFS
from infra.network import HTTPS
from infra.nodes import NODE_PORTS
from infra.sections import GATEWAY_PORT, MANAGEMENT_PORTS, NEEDED_INSIDE
from infra.settings import Settings
from infra.simulators import GROUP
from infra.streaming import IAM_PORT

Flow = dict[str, Any]
End = dict[str, str]

_INTERNET: Final[End] = {"internet": "anybody"}
_NODES: Final[End] = {"group": "fleet-nodes"}
_BROKERS: Final[End] = {"group": "streaming-brokers"}
_KAFKA_CLIENTS: Final[End] = {"group": "streaming-clients"}
_FILE_CLIENTS: Final[End] = {"group": "filesystem-clients"}
_MOUNT_TARGETS: Final[End] = {"group": "filesystem-targets"}
_TRAFFIC: Final[End] = {"balancer": "ingress-traffic", "nodes": "fleet-nodes"}
_MANAGEMENT: Final[End] = {"balancer": "ingress-management", "nodes": "fleet-nodes"}
_PUBLIC: Final = {"balancer": "ingress-public", "nodes": "fleet-nodes"}
_SCALE_IN: Final[End] = {"group": "scale-in"}
_SIMULATORS: Final[End] = {"group": GROUP}
_SHELL: Final = 22
_DESKTOP: Final = 3389
"""Remote Desktop: what an attacker of Windows tries first."""


def declared(settings: Settings) -> dict[str, list[Flow]]:
    """``wanted``: what must be possible; ``unwanted``: what nothing may make possible.

    A flow has ``from``, ``to`` and ``ports``. An end is a security group or a load balancer (their Name tags; a
    balancer with the group of the nodes behind it), an AWS API, a range of addresses, or the internet.
    """
    traffic = [each.port for each in settings.ingress.traffic]
    behind = sorted({each.target_port for each in settings.ingress.traffic})
    managers = [{"addresses": each.cidr} for each in settings.ingress.management_clients]
    public = [{"addresses": each.cidr} for each in settings.ingress.public_management]
    apis = [{"api": service} for service in ("s3", *settings.network.interface_endpoints)]
    functions = [{"group": name} for name in _functions(settings)]
    called = [service for service in NEEDED_INSIDE if service in settings.network.interface_endpoints]
    outside = [] if len(called) == len(NEEDED_INSIDE) else [_INTERNET]
    hosts = [] if settings.simulators is None else [_SIMULATORS]
    wanted = [
        _flow(_INTERNET, _TRAFFIC, traffic),
        *(_flow(manager, _MANAGEMENT, MANAGEMENT_PORTS) for manager in managers),
        *(_flow(client, _PUBLIC, [GATEWAY_PORT]) for client in public),
        _flow(_NODES, _NODES, NODE_PORTS),
        _flow(_SCALE_IN, _MANAGEMENT, [GATEWAY_PORT]),
        *(_flow(one, {"api": service}, [HTTPS]) for one in functions for service in ("s3", *called)),
        *(_flow(one, way, [HTTPS]) for one in functions for way in outside),
        _flow(_KAFKA_CLIENTS, _BROKERS, [IAM_PORT]),
        _flow(_FILE_CLIENTS, _MOUNT_TARGETS, [NFS]),
        *(_flow(_NODES, api, [HTTPS]) for api in apis),
        # Brokers' addresses (kafka), a role (sts), what is read and written.
        *(_flow(_KAFKA_CLIENTS, {"api": service}, [HTTPS]) for service in ("kafka", "s3", "sts")),
        *(_flow(host, api, [HTTPS]) for host in hosts for api in apis),
        *(_flow(one, _INTERNET, [HTTPS]) for one in (_NODES, *hosts) if settings.network.nat != "none"),
    ]
    unwanted = [
        _flow(_INTERNET, _MANAGEMENT, MANAGEMENT_PORTS),
        _flow(_INTERNET, _TRAFFIC, [*MANAGEMENT_PORTS, _DESKTOP]),
        _flow(_INTERNET, _NODES, [*behind, *MANAGEMENT_PORTS, _DESKTOP]),
        _flow(_INTERNET, _BROKERS, [IAM_PORT]),
        _flow(_INTERNET, _MOUNT_TARGETS, [NFS]),
        _flow({"group": _TRAFFIC["balancer"]}, _NODES, [*MANAGEMENT_PORTS, _DESKTOP]),
        *(_flow(_INTERNET, one, [HTTPS]) for one in functions),
        *(_flow(one, _NODES, MANAGEMENT_PORTS) for one in functions),
        *(_flow(one, {"group": _MANAGEMENT["balancer"]}, [GATEWAY_PORT]) for one in functions if one != _SCALE_IN),
        *(_flow(_INTERNET, host, [_SHELL, HTTPS]) for host in hosts),
        *(_flow(host, _NODES, MANAGEMENT_PORTS) for host in hosts),
        *(_flow(host, {"group": _MANAGEMENT["balancer"]}, [GATEWAY_PORT]) for host in hosts),
        _flow(_FILE_CLIENTS, _BROKERS, [IAM_PORT]),
        _flow(_KAFKA_CLIENTS, _MOUNT_TARGETS, [NFS]),
    ]
    return {"wanted": wanted, "unwanted": unwanted}


def _functions(settings: Settings) -> tuple[str, ...]:
    """Security groups of the functions inside the VPC."""
    return ("scale-in", "seed-launch", *(("second-address",) if settings.fleet.second_address else ()))


def _flow(source: End, target: End, ports: Any) -> Flow:
    return {"from": source, "to": target, "ports": list(ports)}
