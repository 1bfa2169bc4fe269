"""Functions run for real: small artifacts in worker processes, and every way in which an invocation can end."""

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from envs.sandbox import function_artifact, functions
from envs.sandbox.functions import FunctionError, FunctionPool, InvokeResult, RequestTooLargeError

Invoke = Callable[..., InvokeResult]


def artifact(**files: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, text in files.items():
            # Without a date of its own, so that the same source is the same artifact a moment later.
            archive.writestr(zipfile.ZipInfo(f"{name}.py"), text)
    return stream.getvalue()


def digest(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[FunctionPool]:
    made = FunctionPool(
        tmp_path,
        max_workers=2,
        environment={
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "account",
            "AWS_SECRET_ACCESS_KEY": "s",
        },
    )
    yield made
    made.close()


@pytest.fixture
def invoke(pool: FunctionPool) -> Invoke:
    def call(
        source: str, event: Any = None, *, handler: str = "app.handle", timeout_s: float = 60, **more: Any
    ) -> Any:
        code = artifact(app=source)
        return pool.invoke(
            more.pop("name", "probe"),
            code,
            digest(code),
            handler,
            more.pop("runtime", "python3.11"),
            more.pop("architecture", "x86_64"),
            more.pop("env", {}),
            timeout_s,
            128,
            json.dumps(event).encode(),
            **more,
        )

    return call


def error(result: InvokeResult) -> dict[str, Any]:
    assert result.function_error == "Unhandled"
    return json.loads(result.payload)


def test_the_handler_gets_the_event_and_its_answer_comes_back(invoke: Invoke) -> None:
    result = invoke("def handle(event, context): return {'twice': event * 2, 'umlaut': 'ü'}", "ab")
    assert json.loads(result.payload) == {"twice": "abab", "umlaut": "ü"}
    assert result.function_error is None


def test_the_worker_is_kept_between_invocations(invoke: Invoke) -> None:
    source = "import os\nseen = []\ndef handle(event, context): seen.append(event); return [os.getpid(), len(seen)]"
    first, second = json.loads(invoke(source).payload), json.loads(invoke(source).payload)
    assert first == [second[0], 1]
    assert second[1] == 2


def test_changed_variables_start_a_new_worker_and_end_the_old_one(invoke: Invoke) -> None:
    source = "import os\ndef handle(event, context): return [os.getpid(), os.environ['MODE']]"
    old, mode = json.loads(invoke(source, env={"MODE": "a"}).payload)
    assert mode == "a"
    new, mode = json.loads(invoke(source, env={"MODE": "b"}).payload)
    assert mode == "b"
    assert new != old
    assert not psutil.pid_exists(old)


def test_variables_are_the_deployed_ones_the_reserved_ones_and_the_role(invoke: Invoke) -> None:
    source = "import os\ndef handle(event, context): return dict(os.environ)"
    role = {"AWS_ACCESS_KEY_ID": "role", "AWS_SESSION_TOKEN": "token"}
    seen = json.loads(invoke(source, env={"LEVEL": "7"}, credentials=lambda: role, version="3").payload)
    assert seen["LEVEL"] == "7"
    assert (seen["AWS_ACCESS_KEY_ID"], seen["AWS_SESSION_TOKEN"], seen["AWS_REGION"]) == (
        "role",
        "token",
        "eu-west-1",
    )
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "probe"
    assert seen["AWS_LAMBDA_FUNCTION_VERSION"] == "3"
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert seen["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/probe"
    assert seen["_HANDLER"] == "app.handle"
    assert seen["TZ"] == ":UTC"
    assert Path(seen["LAMBDA_TASK_ROOT"], "app.py").is_file()
    assert not {"HOME", "VIRTUAL_ENV", "PYTHONPATH"} & set(seen)


def test_the_context_has_what_handlers_use(invoke: Invoke) -> None:
    source = """
def handle(event, context):
    assert 0 < context.get_remaining_time_in_millis() <= 60000
    return [context.function_name, context.function_version, context.invoked_function_arn,
            context.memory_limit_in_mb, context.log_group_name, context.aws_request_id, context.client_context]
"""
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:probe"
    assert json.loads(invoke(source, function_arn=arn, request_id="r-1").payload) == [
        "probe", "$LATEST", arn, "128", "/aws/lambda/probe", "r-1", None,
    ]  # fmt: skip


def test_only_the_artifact_the_standard_library_and_the_sdk_can_be_imported(invoke: Invoke) -> None:
    source = """
import importlib.util
def handle(event, context):
    return {name: importlib.util.find_spec(name) is not None for name in event}
"""
    names = ["boto3", "botocore", "app", "json", "services", "envs", "pulumi", "pytest", "moto", "numpy"]
    found = json.loads(invoke(source, names).payload)
    assert [name for name in names if found[name]] == ["boto3", "botocore", "app", "json"]


def test_the_sdk_of_the_runtime_works(invoke: Invoke) -> None:
    source = "import boto3\ndef handle(event, context): return boto3.client('s3').meta.region_name"
    assert json.loads(invoke(source).payload) == "eu-west-1"


def test_an_exception_is_an_unhandled_error_and_the_worker_stays(invoke: Invoke) -> None:
    source = "import os\ndef handle(event, context):\n    if event: raise KeyError('vin')\n    return os.getpid()"
    before = invoke(source).payload
    document = error(invoke(source, 1))
    assert (document["errorType"], document["errorMessage"]) == ("KeyError", "'vin'")
    assert "raise KeyError('vin')" in "".join(document["stackTrace"])
    assert "function_worker" not in "".join(document["stackTrace"])
    assert invoke(source).payload == before


@pytest.mark.parametrize(
    ("source", "handler", "kind", "message"),
    [
        ("import nowhere", "app.handle", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ("def other(): pass", "app.handle", "Runtime.HandlerNotFound", "Handler 'handle' missing on module 'app'"),
        ("def handle(:", "app.handle", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ("", "handle", "Runtime.MalformedHandlerName", "Bad handler 'handle'"),
        ("1 / 0", "app.handle", "ZeroDivisionError", "division by zero"),
    ],
)
def test_a_handler_that_cannot_be_loaded(invoke: Invoke, source: str, handler: str, kind: str, message: str) -> None:
    for _ in range(2):
        document = error(invoke(source, handler=handler))
        assert document["errorType"] == kind
        assert message in document["errorMessage"]


def test_an_answer_that_is_no_json(invoke: Invoke) -> None:
    document = error(invoke("def handle(event, context): return {1, 2}"))
    assert document["errorType"] == "Runtime.MarshalError"
    assert document["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


def test_an_answer_above_six_megabytes(invoke: Invoke) -> None:
    source = "def handle(event, context): return 'x' * event"
    assert len(invoke(source, 6_000_000).payload) == 6_000_002
    document = error(invoke(source, 6_300_000))
    assert document["errorType"] == "Function.ResponseSizeTooLarge"
    assert "(6291556 bytes)" in document["errorMessage"]


def test_an_event_above_six_megabytes_is_refused(invoke: Invoke) -> None:
    with pytest.raises(RequestTooLargeError, match="6 MB"):
        invoke("def handle(event, context): pass", "x" * 6_300_000)


def test_a_hanging_handler_is_killed_with_its_children(invoke: Invoke, tmp_path: Path) -> None:
    source = """
import pathlib, subprocess, sys, time
def handle(event, context):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(event).write_text(str(child.pid))
    time.sleep(600)
"""
    note = tmp_path / "child"
    # Generous: the child must have started when the time is over, and nothing waits for longer than this.
    document = error(invoke(source, str(note), timeout_s=4, request_id="r-2"))
    assert document == {
        "errorType": "Sandbox.Timedout", "errorMessage": "RequestId: r-2 Error: Task timed out after 4.00 seconds",
    }  # fmt: skip
    child = int(note.read_text())
    psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], timeout=10)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert json.loads(invoke("def handle(event, context): return 'well'").payload) == "well"


@pytest.mark.parametrize(
    ("ending", "wording"),
    [
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_worker_that_ends(invoke: Invoke, ending: str, wording: str) -> None:
    source = f"import os\ndef handle(event, context):\n    if event: {ending}\n    return 'well'"
    document = error(invoke(source, 1, request_id="r-3"))
    assert document == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: r-3 Error: {wording}"}
    assert json.loads(invoke(source, 0).payload) == "well"


def test_what_is_printed_goes_to_the_log_and_not_into_the_answer(invoke: Invoke) -> None:
    source = """
import os, sys, logging
def handle(event, context):
    print("to stdout", end="")
    os.write(1, b" raw")
    print(" to stderr", file=sys.stderr)
    logging.warning("logged")
    return event
"""
    for number in range(2):
        result = invoke(source, number, request_id=f"r-{number}")
        assert json.loads(result.payload) == number
        lines = result.log_tail.decode().splitlines()
        assert lines[0] == f"START RequestId: r-{number} Version: $LATEST"
        assert "to stdout" in result.log_tail.decode()
        assert " raw" in result.log_tail.decode()
        assert " to stderr" in result.log_tail.decode()
        assert sum("logged" in line for line in lines) == 1
        assert lines[-2] == f"END RequestId: r-{number}"
        assert lines[-1].startswith(f"REPORT RequestId: r-{number}\tDuration: ")


def test_the_log_tail_is_the_last_four_kilobytes(invoke: Invoke) -> None:
    result = invoke("def handle(event, context):\n    for n in range(100_000): print(n)")
    assert len(result.log_tail) == functions.LOG_TAIL
    assert b"\n99999\n" in result.log_tail
    assert len(result.log) < 300_000


def test_invocations_run_side_by_side_up_to_the_bound(invoke: Invoke, tmp_path: Path) -> None:
    # Each of two invocations ends only when the other has begun: with one worker neither would.
    source = """
import os, pathlib, time
def handle(event, context):
    here = pathlib.Path(event)
    (here / str(os.getpid())).touch()
    while len(list(here.iterdir())) < 2:
        time.sleep(0.01)
    return os.getpid()
"""
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(json.loads(invoke(source, str(meeting)).payload)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert len(set(results)) == 2


@pytest.mark.parametrize(("runtime", "architecture"), [("nodejs20.x", "x86_64"), ("python3.11", "arm64")])
def test_what_cannot_run_here_is_refused_by_name(invoke: Invoke, runtime: str, architecture: str) -> None:
    with pytest.raises(FunctionError, match=f"{runtime} on {architecture} cannot run here"):
        invoke("", runtime=runtime, architecture=architecture)


def test_a_broken_artifact_and_a_wrong_digest_are_refused(pool: FunctionPool) -> None:
    arguments = ("app.handle", "python3.11", "x86_64", {}, 3, 128, b"{}")
    with pytest.raises(FunctionError, match="cannot be unzipped"):
        pool.invoke("probe", b"no zip", digest(b"no zip"), *arguments)
    with pytest.raises(FunctionError, match="was deployed"):
        pool.invoke("probe", artifact(app=""), digest(b"other"), *arguments)


def test_another_python_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, good = tmp_path / "broken", tmp_path / "good"
    for directory, text in ((broken, "#!/bin/sh\nexit 127\n"), (good, f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')):
        directory.mkdir()
        (directory / "python3.11").write_text(text)
        (directory / "python3.11").chmod(0o755)
    monkeypatch.setattr(function_artifact.sys, "version_info", (3, 12, 0))
    monkeypatch.setenv("PATH", f"{broken}{os.pathsep}{good}")
    function_artifact.find_interpreter.cache_clear()
    try:
        assert function_artifact.find_interpreter() == str(good / "python3.11")
        function_artifact.find_interpreter.cache_clear()
        monkeypatch.setenv("PATH", str(broken))
        with pytest.raises(FunctionError, match=r"install Python 3\.11"):
            function_artifact.find_interpreter()
    finally:
        function_artifact.find_interpreter.cache_clear()


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    # Killed without notice, while one worker is idle and the handler of another one runs.
    program = f"""
import sys, threading, time
from pathlib import Path
from tests.envs.sandbox.test_functions import artifact, digest
from envs.sandbox.functions import FunctionPool
pool = FunctionPool(Path({str(tmp_path)!r}), environment={{}})
code = artifact(app='''
import os, time
def handle(event, context):
    path = event["path"]
    open(path, "a").write("%d\\\\n" % os.getpid())
    time.sleep(event["seconds"])
''')
def call(name, seconds):
    event = '{{"path": "%s", "seconds": %d}}' % ({str(tmp_path / "pids")!r}, seconds)
    pool.invoke(name, code, digest(code), "app.handle", "python3.11", "x86_64", {{}}, 600, 128, event.encode())
call("idle", 0)
threading.Thread(target=call, args=("busy", 600), daemon=True).start()
while len(Path({str(tmp_path / "pids")!r}).read_text().splitlines()) < 2: time.sleep(0.01)
print("ready", flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        workers = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        assert len(workers) == 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.communicate()
    _, living = psutil.wait_procs(workers, timeout=20)
    assert not living


def test_after_close_nothing_runs(pool: FunctionPool, invoke: Invoke) -> None:
    source = "import os\ndef handle(event, context): return os.getpid()"
    worker = json.loads(invoke(source).payload)
    pool.close()
    assert not psutil.pid_exists(worker)
    with pytest.raises(FunctionError, match="shut down"):
        invoke(source)
