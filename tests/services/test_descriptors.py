"""The limit of open files: raised where it may be, refused with the remedy where not."""

import subprocess
import sys

import pytest

LIMITED = """
import resource, sys
from pathlib import Path
from services import descriptors
from services.connection import ConnectionSpec
from services.simulator.load import Load, LoadError, LoadSpec
from services.simulator.source import GeneratedSource

resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
spec = LoadSpec(connection=ConnectionSpec(bootstrap="127.0.0.1:1"), topic="t", warmup_topic="c", run_id="run",
                source=GeneratedSource(devices=2, rows=2), seconds=1, rate=10, connect_timeout_s=0.2)
load = Load(spec, Path(sys.argv[1]))
try:
    load.run()
except LoadError as error:
    print(error)
print(load.notes, resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def run(soft: int, hard: int, folder: object) -> str:
    script = LIMITED.format(soft=soft, hard=hard)
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("soft", "hard", "words", "after"),
    [
        (100, 4096, "limit of open files raised from 100 to 264", "(264, 4096)"),
        (1024, 4096, "[]", "(1024, 4096)"),
        (100, 200, "264 files may have to be open at once, and this user may have 200", "(100, 200)"),
    ],
    ids=["raised", "enough", "refused"],
)
def test_a_load_sees_to_the_limit_first(tmp_path: object, soft: int, hard: int, words: str, after: str) -> None:
    said = run(soft, hard, tmp_path)
    assert words in said
    assert after in said
    # Whoever could begin got as far as the brokers, which are not there.
    assert ("cannot be reached" in said) is (hard >= 264)
    assert ("nofile" in said) is (hard < 264)
