"""What a cut-off update made is taken into the state, whatever the engine and the provider had noted by then."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from envs.sandbox.adoption import adopt, undecided
from envs.sandbox.provider.journal import Creation

URN = "urn:pulumi:sandbox::fleetstream::fleetstream:streaming:Streaming$aws:kms/key:Key::streaming-key"


def resource(urn: str = URN, **more: Any) -> dict[str, Any]:
    return {"urn": urn, "custom": True, "type": "aws:kms/key:Key", "inputs": {"description": "d"}, **more}


def state(*resources: dict[str, Any], creating: tuple[str, ...] = (), **operations: str) -> dict[str, Any]:
    pending = [{"resource": resource(urn), "type": "creating"} for urn in creating]
    pending += [{"resource": resource(urn), "type": kind} for kind, urn in operations.items()]
    return {"version": 3, "deployment": {"resources": list(resources), "pending_operations": pending}}


def test_what_was_made_becomes_a_resource_and_the_pending_operation_goes() -> None:
    other = resource("other", id="o")
    taken = adopt(state(other, creating=(URN,), updating="other"), [Creation(URN, "k", ended=True)])
    assert taken.adopted == [URN]
    assert taken.unfinished == []
    assert taken.state["version"] == 3
    assert taken.state["deployment"] == {
        "resources": [other, resource(id="k", outputs={"description": "d"})],
        "pending_operations": [{"resource": resource("other"), "type": "updating"}],
    }


def test_what_is_half_made_is_marked_for_the_engine_to_finish() -> None:
    taken = adopt(state(creating=(URN,)), [Creation(URN, "k")])
    assert taken.unfinished == taken.adopted == [URN]
    assert taken.state["deployment"]["resources"][0]["initErrors"] == ["cut off before it was ready"]


def test_what_was_refused_never_asked_for_or_is_known_is_not_taken_in() -> None:
    known = resource(id="k")
    for creations in ([], [Creation(URN, ended=True)], [Creation(URN, "k", ended=True)]):
        taken = adopt(state(known, creating=(URN,)), creations)
        assert taken.adopted == []
        assert taken.state["deployment"] == {"resources": [known], "pending_operations": []}


def test_the_last_of_several_creations_counts() -> None:
    creations = [Creation(URN, "first", ended=True), Creation(URN, ended=True), Creation(URN, "last", ended=True)]
    [taken] = adopt(state(creating=(URN,)), creations).state["deployment"]["resources"]
    assert taken["id"] == "last"


def test_a_replacement_stands_before_what_it_replaces_which_is_deleted_later() -> None:
    after = resource("after", id="a", dependencies=[URN])
    taken = adopt(state(resource(id="old"), after, creating=(URN,)), [Creation(URN, "new", ended=True)])
    new, old, last = taken.state["deployment"]["resources"]
    assert (new["id"], new.get("delete")) == ("new", None)
    assert (old["id"], old["delete"]) == ("old", True)
    assert last == after


def test_what_was_deleted_for_its_replacement_goes() -> None:
    gone = resource(id="old", pendingReplacement=True)
    taken = adopt(state(gone, creating=(URN,)), [Creation(URN, "new", ended=True)])
    assert [each["id"] for each in taken.state["deployment"]["resources"]] == ["new"]


def test_what_nobody_can_know_is_said() -> None:
    pending = state(creating=(URN,))
    assert undecided(pending, [Creation(URN)], provider_died=False) == [URN]
    assert undecided(pending, [Creation(URN, "k")], provider_died=True) == []
    assert undecided(pending, [Creation(URN, ended=True)], provider_died=True) == []
    # The engine lived, heard of a failure and forgot the operation: it is the provider's death that leaves it open.
    for open_end in (Creation(URN), Creation(URN, "k")):
        assert undecided(state(), [open_end], provider_died=True) == [URN]
        assert undecided(state(), [open_end], provider_died=False) == []
    assert undecided(state(resource(id="k")), [Creation(URN, "k")], provider_died=True) == []


NAMES = st.sampled_from("abc")
CREATIONS = st.builds(Creation, NAMES, st.none() | st.uuids().map(str), st.booleans())


@given(
    st.lists(st.tuples(NAMES, st.booleans(), st.booleans())),
    st.lists(CREATIONS, max_size=8),
    st.sets(NAMES),
)
def test_nothing_known_is_lost_and_each_urn_lives_once(
    known: list[tuple[str, bool, bool]], creations: list[Creation], creating: set[str]
) -> None:
    before, live = [], set()
    for at, (urn, delete, replacing) in enumerate(known):
        before.append(resource(urn, id=f"known-{at}", delete=delete or urn in live, pendingReplacement=replacing))
        live.add(urn)
    taken = adopt(state(*before, creating=tuple(sorted(creating))), creations)
    after = taken.state["deployment"]["resources"]

    ids = [each["id"] for each in after]
    last = {creation.urn: creation.identifier for creation in creations}
    assert {identifier for urn, identifier in last.items() if urn in creating and identifier} <= set(ids)
    assert len(ids) == len(set(ids))
    living = [each["urn"] for each in after if not each.get("delete")]
    assert len(living) == len(set(living))
    gone = [each for each in before if each["id"] not in ids]
    assert all(each["pendingReplacement"] and each["urn"] in taken.adopted for each in gone)
    # The engine refuses a state in which what lives stands behind what is to be deleted under the same URN.
    for at, each in enumerate(after):
        if each["urn"] in taken.adopted and not each.get("delete"):
            assert each["urn"] not in {earlier["urn"] for earlier in after[:at] if not earlier.get("delete")}
