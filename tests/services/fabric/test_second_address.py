"""A machine gets its second interface: the one its tag describes, in its zone, and free."""

from dataclasses import replace

import pytest

from services.fabric.launch import NotYetError, Outcome
from services.fabric.lifecycle import ABANDON, CONTINUE, Instance
from services.fabric.second_address.core import Interface, look
from tests.services.fabric.account_in_memory import CLUSTER, ZONE, Account

MACHINE = Instance("i-new", "running", {"cluster": CLUSTER, "Eth1": "broker front"}, ZONE, "10.0.0.10", "vpc-1")
FREE = Interface("eni-1", "available", ZONE)
HELD = Interface("eni-1", "in-use", ZONE, "i-old", "attached", 1)


def launching(*interfaces: Interface, machine: Instance = MACHINE) -> Account:
    return Account(machine, interfaces={interface.id: interface for interface in interfaces})


def serve(account: Account) -> Outcome:
    return account.served(lambda instance: look(account, instance))


def ready(account: Account) -> None:
    assert account.completed == [CONTINUE]
    assert account.interfaces["eni-1"] == replace(
        FREE, status="in-use", holder="i-new", attachment="attached", device_index=1
    )


def test_the_described_interface_becomes_the_second_one() -> None:
    account = launching(FREE)
    assert serve(account) == Outcome.CONTINUED
    ready(account)


def test_a_machine_without_the_tag_goes_on_as_it_is() -> None:
    account = launching(FREE, machine=replace(MACHINE, tags={"cluster": CLUSTER}))
    assert serve(account) == Outcome.CONTINUED
    assert account.completed == [CONTINUE]
    assert "attach" not in account.calls


@pytest.mark.parametrize(
    ("interfaces", "reason"),
    [
        ([], "no interface of vpc-1"),
        ([FREE, Interface("eni-2", "available", ZONE)], "2 interfaces of vpc-1"),
        ([replace(FREE, zone="us-east-1b")], "in us-east-1b, and the instance in us-east-1a"),
        ([HELD], "in use by instance i-old"),
    ],
)
def test_a_machine_that_cannot_get_it_is_abandoned_with_a_reason(interfaces: list[Interface], reason: str) -> None:
    account = launching(*interfaces)
    account.others["i-old"] = Instance("i-old", "running")
    assert serve(account) == Outcome.ABANDONED
    assert account.completed == [ABANDON]
    assert reason in account.outcomes[-1][1]
    assert "attach" not in account.calls


@pytest.mark.parametrize("holder", [Instance("i-old", "shutting-down"), None])
def test_an_interface_whose_machine_ends_is_waited_for(holder: Instance | None) -> None:
    account = launching(HELD)
    account.others = {"i-old": holder} if holder else {}
    account.after(30, lambda: account.turn("eni-1", status="available", holder="", attachment=""))
    assert serve(account) == Outcome.CONTINUED
    ready(account)


def test_an_interface_that_does_not_come_free_in_a_minute_is_tried_again() -> None:
    account = launching(replace(HELD, attachment="detaching"))
    with pytest.raises(NotYetError, match="i-old lets go of it"):
        serve(account)
    assert account.completed == []


def test_a_doubled_event_changes_nothing() -> None:
    account = launching(FREE)
    assert [serve(account), serve(account)] == [Outcome.CONTINUED, Outcome.STRAY]
    ready(account)
    assert account.calls.count("attach") == 1


def calls(account: Account) -> int:
    serve(account)
    return len(account.calls)


@pytest.mark.parametrize("call", range(calls(launching(FREE))))
def test_after_a_crash_at_any_call_it_is_attached_once(call: int) -> None:
    account = launching(FREE)
    account.crash_after = call
    serve(account)
    assert account.crash_after is None
    ready(account)
