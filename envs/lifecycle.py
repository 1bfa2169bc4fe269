"""An environment's life: up, preview, refresh, down, status."""

import contextlib
import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table

from envs import project
from envs.engine import Engine, EngineError, Update
from envs.environment import Environment
from envs.errors import FleetstreamError, UsageError
from envs.preview import as_json, examine, rendered
from envs.progress import console, step
from envs.sandbox import account, processes
from envs.sandbox.stack import Sandbox, existing
from services.fabric import leavings
from services.fabric.fleet import HTTP_PORT


def up(environment: Environment, expect_no_changes: bool = False) -> Update:
    """Brings the environment to what its settings say; a sandbox's processes are started first."""
    start(environment)
    flags = ["--yes", "--skip-preview"]
    with _changing(environment), step(f"pulumi up, stack {environment.name}") as current:
        result = environment.engine().update("up", *flags, on_progress=current.update)
        current.detail = result.summary()
    _expect(result, expect_no_changes, "up")
    return result


def start(environment: Environment, aws_port: int | None = None, kafka_port: int | None = None) -> None:
    """Starts a sandbox's processes when it is one and they do not run yet, on these ports or on free ones."""
    sandbox = environment.sandbox
    if sandbox is None:
        if aws_port or kafka_port:
            raise UsageError("--aws-port and --kafka-port are for sandboxes")
        return
    with sandbox.locked():
        if sandbox.exists:
            sandbox.start(aws_port, kafka_port)
        else:
            with step(f"sandbox {sandbox.name}: account, provider, agent"):
                sandbox.start(aws_port, kafka_port)


def preview(environment: Environment, expect_no_changes: bool = False, json_path: Path | None = None) -> Update:
    """Shows what `up` would change: what would be lost, how the guardrails judge it, and what it costs a month."""
    start(environment)
    with step(f"pulumi preview, stack {environment.name}") as current:
        result = environment.engine().update("preview", on_progress=current.update)
        current.detail = result.summary()
    found = examine(result, project.region(environment.name))
    for part in rendered(found):
        console.print(part, soft_wrap=isinstance(part, str))
    if json_path is not None:
        write_json(json_path, as_json(found))
    _expect(result, expect_no_changes, "preview")
    return result


def refresh(environment: Environment, expect_no_changes: bool = False) -> Update:
    """Compares the state with the account. With `expect_no_changes` it only looks, otherwise the state follows."""
    require(environment)
    # The engine writes the state even when it was told to expect no changes; a look must not.
    flags = ["--preview-only"] if expect_no_changes else ["--yes", "--skip-preview"]
    with step(f"pulumi refresh, stack {environment.name}") as current:
        result = environment.engine().update("refresh", *flags, on_progress=current.update)
        current.detail = result.summary()
    _expect(result, expect_no_changes, "refresh")
    return result


def agree_to_down(environment: Environment, told: str | None) -> None:
    """Has the environment's name said where its settings want that, on the terminal unless it was `told` already.

    Raises `UsageError` when something else is said.
    """
    name = environment.name
    if not project.confirms_down(name):
        return
    if told is None:
        try:
            told = console.input(f"everything of {name} is going to be deleted. Its name, to go on: ")
        except EOFError:
            told = ""
    if told.strip() != name:
        raise UsageError(
            f"{name} is left as it is: its settings (operations.confirm_down) want its name said, --confirm {name}"
        )


def down(environment: Environment) -> list[str]:
    """Takes the environment away. Returns what the emulated account still held afterwards; it should hold nothing.

    A sandbox's processes end and its files go whatever happens before. Raises `FleetstreamError` when something was
    left in the account or the engine failed.
    """
    sandbox = environment.sandbox
    if sandbox is None:
        _destroy_on_aws(environment)
        return []
    if not sandbox.state_dir.exists():
        console.print(f"sandbox {sandbox.name} is not there: nothing to take down")
        return []
    left: list[str] = []
    problem: FleetstreamError | None = None
    with sandbox.locked():
        try:
            left = _destroy(sandbox)
        except FleetstreamError as error:
            problem = error
        finally:
            with step(f"sandbox {sandbox.name}: ending its processes"):
                sandbox.stop()
    if problem is not None:
        raise problem
    if left:
        raise FleetstreamError("the account still held after `destroy`:\n" + "\n".join(f"  {item}" for item in left))
    return left


def require(environment: Environment) -> None:
    """Raises `FleetstreamError` for a sandbox that is not there."""
    sandbox = environment.sandbox
    if sandbox is not None and not sandbox.exists:
        others = ", ".join(other.name for other in existing()) or "none"
        raise FleetstreamError(
            f"there is no sandbox {sandbox.name} (there are: {others}): start it with `fleetstream up`"
        )


def status(environment: Environment) -> dict[str, Any]:
    """What runs and where it answers, as ``status --json`` writes it."""
    sandbox = environment.sandbox
    if sandbox is None:
        return {"environment": environment.name, "emulated": False, "outputs": environment.engine().outputs()}
    if not sandbox.exists:
        return {"environment": environment.name, "emulated": True, "name": sandbox.name, "running": False}
    values = account.load(sandbox.state_dir)
    records = processes.records(sandbox.state_dir)
    outputs = _outputs(environment) if not sandbox.missing() else {}
    kafka = f"localhost:{values.kafka_port}" if account.is_open(values.kafka_port) else None
    return {
        "environment": environment.name,
        "emulated": True,
        "name": sandbox.name,
        "running": not sandbox.missing(),
        "state_dir": str(sandbox.state_dir),
        "endpoints": {
            "aws": values.endpoint if account.is_open(values.aws_port) else None,
            "kafka": kafka,
            "provider": f"127.0.0.1:{(sandbox.state_dir / 'provider.port').read_text()}"
            if processes.alive(sandbox.state_dir, "provider")
            else None,
            "fabric": _gateway(outputs),
        },
        "processes": {
            record.role: {
                "pid": record.pid,
                "alive": record.process() is not None,
                "log": str(sandbox.state_dir / "logs" / f"{record.role}.log"),
            }
            for record in records
        },
        "outputs": outputs,
    }


def print_status(report: dict[str, Any]) -> None:
    """The same for people."""
    if not report.get("running", True):
        ended = [role for role, process in report.get("processes", {}).items() if not process["alive"]]
        name = report["name"]
        console.print(
            f"sandbox {name} is damaged, ended: {', '.join(ended)}. `fleetstream recover` puts it right"
            if ended
            else f"sandbox {name} does not run: `fleetstream up` starts it"
        )
    table = Table("what", "where", title=f"environment {report['environment']}", title_justify="left")
    for name, address in report.get("endpoints", {}).items():
        table.add_row(f"endpoint {name}", address or "-")
    for role, process in report.get("processes", {}).items():
        state = "runs" if process["alive"] else "[red]ended[/red]"
        table.add_row(f"process {role}", f"{state}, pid {process['pid']}, {process['log']}")
    for name, value in report.get("outputs", {}).items():
        # Dozens of them, which `fleetstream flows` shows with their verdicts.
        if name != "flows":
            table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    console.print(table)


def variables(environment: Environment) -> str:
    """Shell lines that let plain `pulumi`, `aws` and Kafka tools use the environment; starts a sandbox for that."""
    start(environment)
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.variables().items()))


def by_type(environment: Environment) -> Counter[str]:
    """How many resources of each type the stack has, components and providers left out."""
    types = (resource["type"] for resource in environment.engine().resources() if resource.get("custom"))
    return Counter(kind for kind in types if not kind.startswith("pulumi:"))


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all. Raises `FleetstreamError` when the place cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.tmp")
        scratch.write_text(json.dumps(content, indent=2) + "\n")
        scratch.replace(path)
    except OSError as error:
        raise FleetstreamError(
            f"cannot write {path}: {error.strerror}. Choose another place or free space"
        ) from error


def _destroy_on_aws(environment: Environment) -> None:
    engine = environment.engine()
    cluster, region = _cluster(engine), project.region(environment.name)
    with step(f"pulumi destroy, stack {environment.name}") as current:
        current.detail = engine.update("destroy", "--yes", "--skip-preview", on_progress=current.update).summary()
    if cluster and (left := leavings.find(environment.session().client("ec2", region_name=region), cluster)):
        # They hold data: somebody has to want it.
        console.print(
            "of the cluster's own making, and still there at a cost (delete them when their data is not needed): "
            + ", ".join((*left.disks, *left.snapshots)),
            markup=False,
            soft_wrap=True,
        )


def _destroy(sandbox: Sandbox) -> list[str]:
    if "aws" in sandbox.missing():
        console.print(f"sandbox {sandbox.name}: its account had ended already, nothing to destroy in it")
        return []
    if sandbox.missing():
        # What is deployed is taken away through its own services, as on AWS: those have to run for that.
        with step(f"sandbox {sandbox.name}: starting what has ended") as current:
            current.detail = ", ".join(sandbox.restart())
    engine = sandbox.engine()
    cluster = _cluster(engine)
    with step(f"pulumi destroy, stack {sandbox.environment}") as current:
        current.detail = engine.update("destroy", "--yes", "--skip-preview", on_progress=current.update).summary()
    if cluster and (made := leavings.find(ec2 := sandbox.session().client("ec2"), cluster)):
        leavings.delete(ec2, made)
        console.print(
            f"of the cluster's own making: {len(made.disks)} disks, {len(made.snapshots)} snapshots, deleted"
        )
    left = sandbox.leftovers()
    console.print(f"inventory of the emulated account: {'empty' if not left else f'{len(left)} left'}")
    return left


def _gateway(outputs: dict[str, Any]) -> str | None:
    """Where the Service Fabric gateway answers; it does once the cluster is formed."""
    address = outputs.get("management_address", "")
    return f"https://{address}:{HTTP_PORT}" if address and account.is_open(HTTP_PORT, address) else None


def _cluster(engine: Engine) -> str | None:
    """The name of the cluster that a stack has; None when it came up too little for one."""
    try:
        return engine.outputs()["fleet"]["cluster"]
    except (EngineError, KeyError, TypeError):
        return None


def _outputs(environment: Environment) -> dict[str, Any]:
    try:
        return environment.engine().outputs()
    except EngineError:
        return {}


def _expect(result: Update, expect_no_changes: bool, verb: str) -> None:
    if expect_no_changes and result.changed:
        raise FleetstreamError(f"no change was expected, but `{verb}` shows: {result.summary()}")


def _changing(environment: Environment) -> contextlib.AbstractContextManager[None]:
    return environment.sandbox.locked() if environment.sandbox else contextlib.nullcontext()
