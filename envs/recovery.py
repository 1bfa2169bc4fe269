"""Puts right what a crash or a kill left behind: a sandbox's dead parts, and an update that was cut off."""

from typing import Any

from envs.environment import Environment
from envs.errors import FleetstreamError
from envs.lifecycle import require
from envs.progress import console, step
from envs.sandbox import processes
from envs.sandbox.adoption import Adoption, adopt, undecided
from envs.sandbox.provider import journal
from envs.sandbox.stack import Sandbox

_GRACE_S = 60.0
"""How long the provider may take to end what it is at; its waits end at once."""


def recover(environment: Environment) -> None:
    """Starts what died and takes into the state what a cut-off update made without noting it.

    An account that is gone, or of which it cannot be told what is in it, begins anew and is brought up again.
    """
    sandbox = environment.sandbox
    if sandbox is None:
        raise FleetstreamError(
            f"{environment.name} lives in AWS: end an interrupted update with `pulumi cancel -s {environment.name}`, "
            f"then run `fleetstream refresh --env {environment.name}`"
        )
    require(environment)
    with sandbox.locked():
        processes.end(_strays(sandbox))
        missing = sandbox.missing()
        with step(f"sandbox {sandbox.name}: starting what has ended") as current:
            # Nothing is made any more once the provider has ended, and all that was made is in its journal.
            processes.stop(sandbox.state_dir, "provider", _GRACE_S)
            creations = journal.read(sandbox.state_dir / journal.FILE)
            sandbox.restart()
            current.detail = ", ".join(missing) or "nothing had ended"
        engine = sandbox.engine()
        engine.call("cancel", "--yes", environment.name)
        state = engine.state()
        if "aws" in missing:
            _begin_anew(sandbox, "The emulated account had ended")
        elif unclear := undecided(state, creations, "provider" in missing):
            processes.stop(sandbox.state_dir, "provider")
            processes.stop(sandbox.state_dir, "aws")
            sandbox.restart()
            names = ", ".join(urn.rpartition("::")[2] for urn in unclear)
            _begin_anew(sandbox, f"Whether {names} had been made cannot be told: the emulated account was ended")
        else:
            _reconcile(sandbox, adopt(state, creations))


def _begin_anew(sandbox: Sandbox, reason: str) -> None:
    """Brings everything up again in an account that has nothing in it."""
    engine = sandbox.engine()
    with step("reading what is left") as current:
        flags = ["--yes", "--skip-preview", "--clear-pending-creates"]
        gone = engine.update("refresh", *flags, on_progress=current.update)
        current.detail = f"{gone.changes['delete']} gone"
    with step("bringing it up again") as current:
        made = engine.update("up", "--yes", "--skip-preview", on_progress=current.update)
        current.detail = made.summary()
    console.print(
        f"{reason}, and with it everything in it, S3 objects included: {gone.changes['delete']} resources were gone, "
        f"{made.changes['create']} were made anew, empty. Kafka's messages were kept."
    )


def _reconcile(sandbox: Sandbox, adoption: Adoption) -> None:
    """Makes the state what is in the account; what an interrupted update had still to do is left to the next."""
    engine = sandbox.engine()
    engine.put_state(adoption.state)
    with step("reading what is there") as current:
        # What is unfinished would be taken for finished by a refresh.
        excluded = [flag for urn in adoption.unfinished for flag in ("--exclude", urn)]
        found = engine.update("refresh", "--yes", "--skip-preview", *excluded, on_progress=current.update)
        current.detail = found.summary()
    told = ["Nothing in the account was lost."]
    if adoption.adopted:
        told.append(f"{len(adoption.adopted)} resources that a cut-off update had made are in the state now.")
    told.append(f"`fleetstream up{sandbox.flags}` goes on with an update that was interrupted.")
    console.print(" ".join(told))


def _strays(sandbox: Sandbox) -> list[Any]:
    """Processes of this sandbox that no record names: an engine or a load whose command was killed."""
    recorded = {record.pid for record in processes.records(sandbox.state_dir)}
    descendants = {
        child.pid
        for record in processes.records(sandbox.state_dir)
        if (process := record.process()) is not None
        for child in process.children(recursive=True)
    }
    return [stray for stray in processes.strays(sandbox.state_dir) if stray.pid not in recorded | descendants]
