"""What the machines' player remembers outlives it, and belongs to one life of the account."""

from pathlib import Path

from envs.sandbox.fabric.user_data import Settings
from envs.sandbox.fabric.world import DataRoot, Installation, Memory, World


def filled() -> World:
    world = World(account=1.0)
    world.roots["vol-1"] = DataRoot("seed-0", "fleet", "10.1")
    world.snapshots["snap-1"] = world.roots["vol-1"]
    world.installations["i-1"] = Installation(Settings("bucket", "seed.ps1", (), {}), certificate=b"pfx")
    world.cluster.prepare("10.0.0.1")
    return world


def test_what_was_kept_is_recalled(tmp_path: Path) -> None:
    Memory(tmp_path).keep(filled())
    found = Memory(tmp_path).recall(1.0)
    assert found.roots == {"vol-1": DataRoot("seed-0", "fleet", "10.1")}
    assert found.installations["i-1"].certificate == b"pfx"
    assert not found.cluster.formed
    with found.cluster.lock:
        found.cluster.tick()


def test_another_life_of_the_account_has_another_world(tmp_path: Path) -> None:
    Memory(tmp_path).keep(filled())
    found = Memory(tmp_path).recall(2.0)
    assert (found.account, found.roots, found.installations) == (2.0, {}, {})


def test_nothing_is_written_while_nothing_changes_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    memory, world = Memory(tmp_path), filled()
    memory.keep(world)
    path = tmp_path / "fabric" / "world"
    first = path.stat()
    assert first.st_mode & 0o077 == 0
    world.cluster.tick()
    memory.keep(world)
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    world.roots["vol-2"] = DataRoot("seed-1", "fleet", "10.1")
    memory.keep(world)
    assert Memory(tmp_path).recall(1.0).roots.keys() == {"vol-1", "vol-2"}
