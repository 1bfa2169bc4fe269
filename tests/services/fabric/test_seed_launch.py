"""A seed's machine gets its disk: the one there is, what a snapshot holds, or an end with a reason."""

import pytest

from services.fabric.launch import NotYetError, Outcome
from services.fabric.lifecycle import ABANDON, CONTINUE, Instance
from services.fabric.seed_launch.core import Disk, look
from tests.services.fabric.account_in_memory import CLUSTER, ZONE, Account

SEED = Instance(
    "i-new", "running", {"cluster": CLUSTER, "role": "seed", "node": "seed-0"}, ZONE, "10.0.0.10", "vpc-1"
)
DISK = Disk("vol-1", "available", ZONE)
HELD = Disk("vol-1", "in-use", ZONE, "i-old", "attached")


def launching(*disks: Disk, snapshots: tuple[str, ...] = ()) -> Account:
    return Account(SEED, {disk.id: disk for disk in disks}, list(snapshots))


def serve(account: Account) -> Outcome:
    return account.served(lambda instance: look(account, instance))


def ready(account: Account, disk: str) -> None:
    assert account.completed == [CONTINUE]
    assert (account.disks[disk].holder, account.disks[disk].attachment) == ("i-new", "attached")


def abandoned(account: Account, reason: str) -> None:
    assert serve(account) == Outcome.ABANDONED
    assert account.completed == [ABANDON]
    assert reason in account.outcomes[-1][1]
    assert not {"attach", "restore"} & set(account.calls)


def test_the_disk_that_is_there_is_attached_before_the_machine_goes_on() -> None:
    account = launching(DISK)
    assert serve(account) == Outcome.CONTINUED
    ready(account, "vol-1")
    assert account.calls.count("attach") == 1


def test_a_disk_that_the_old_machine_lets_go_of_is_waited_for_with_heartbeats() -> None:
    account = launching(HELD)
    account.after(40, lambda: account.turn("vol-1", state="available", holder="", attachment=""))
    assert serve(account) == Outcome.CONTINUED
    ready(account, "vol-1")
    assert account.calls.count("heartbeat") >= 10


def test_after_a_minute_the_event_is_tried_again_and_the_hook_is_open() -> None:
    account = launching(HELD)
    with pytest.raises(NotYetError, match="attached at i-old"):
        serve(account)
    assert account.now < 61
    assert account.completed == []
    account.turn("vol-1", state="available", holder="", attachment="")
    assert serve(account) == Outcome.CONTINUED
    ready(account, "vol-1")


def test_a_disk_that_is_gone_is_made_from_the_newest_snapshot() -> None:
    account = launching(snapshots=("snap-1", "snap-3", "snap-2"))
    assert serve(account) == Outcome.CONTINUED
    ready(account, "vol-of-snap-3")
    assert "restored from snap-3" in account.outcomes[-1][1]


def test_an_empty_disk_that_came_later_does_not_take_the_place_of_a_restored_one() -> None:
    account = launching(DISK, Disk("vol-2", "available", ZONE, restored_from="snap-1"))
    assert serve(account) == Outcome.CONTINUED
    ready(account, "vol-2")
    assert account.disks["vol-1"] == DISK


def test_a_disk_in_error_counts_as_gone() -> None:
    account = launching(Disk("vol-1", "error", ZONE), snapshots=("snap-1",))
    assert serve(account) == Outcome.CONTINUED
    ready(account, "vol-of-snap-1")


@pytest.mark.parametrize(
    ("disks", "reason"),
    [
        ([], "no completed snapshot"),
        ([Disk("vol-1", "error", ZONE, restored_from="snap-1")], "vol-1, made from a snapshot, is in error"),
        ([Disk("vol-1", "available", "us-east-1b")], "in us-east-1b, and the instance in us-east-1a"),
        ([DISK, Disk("vol-2", "available", ZONE)], "vol-1, vol-2 all are tagged as the data of seed-0"),
    ],
)
def test_a_machine_that_cannot_get_its_disk_is_abandoned_with_a_reason(disks: list[Disk], reason: str) -> None:
    abandoned(launching(*disks), reason)


def test_a_machine_without_a_node_is_abandoned() -> None:
    account = launching(DISK)
    account.machine = Instance("i-new", "running", {"cluster": CLUSTER}, ZONE)
    abandoned(account, "no tag `node`")


def test_a_doubled_event_changes_nothing() -> None:
    account = launching(DISK)
    assert [serve(account), serve(account)] == [Outcome.CONTINUED, Outcome.STRAY]
    assert account.completed == [CONTINUE]
    assert account.calls.count("attach") == 1


def test_an_event_that_is_ahead_of_auto_scaling_is_tried_until_the_machine_waits() -> None:
    account = launching(DISK)
    account.state = "Pending"
    account.after(20, lambda: setattr(account, "state", "Pending:Wait"))
    assert serve(account) == Outcome.CONTINUED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group": "gone"}, "no group gone"),
        ({"group": "theirs"}, "belongs to cluster 'other'"),
        ({"hook": "unknown"}, "no hook unknown"),
        ({"instance": "i-gone"}, "no instance i-gone"),
    ],
)
def test_a_stray_event_changes_nothing(changes: dict[str, str], reason: str) -> None:
    account = launching(DISK)
    assert account.serve(lambda instance: look(account, instance), **changes) == Outcome.STRAY
    assert reason in account.outcomes[-1][1]
    assert account.completed == []
    assert "attach" not in account.calls


def test_a_machine_that_ended_meanwhile_ends_the_wait() -> None:
    account = launching(HELD)
    account.after(10, lambda: setattr(account, "state", "Terminating"))
    assert serve(account) == Outcome.STRAY
    assert account.completed == []


def calls(account: Account) -> int:
    serve(account)
    return len(account.calls)


@pytest.mark.parametrize("call", range(calls(launching(snapshots=("snap-1",)))))
def test_after_a_crash_at_any_call_there_is_one_disk_and_one_answer(call: int) -> None:
    account = launching(snapshots=("snap-1",))
    account.crash_after = call
    serve(account)
    assert account.crash_after is None
    assert list(account.disks) == ["vol-of-snap-1"]
    ready(account, "vol-of-snap-1")
