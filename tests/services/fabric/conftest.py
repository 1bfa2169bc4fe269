"""One emulated account for each module of tests, and a fleet of its own in it for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envs.sandbox.aws.emulated import Aws, running
from tests.services.fabric.fleet_stage import Stage, staged


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running(tmp_path_factory.mktemp("aws")) as found:
        yield found


@pytest.fixture
def stage(aws: Aws, tmp_path: Path) -> Iterator[Stage]:
    with staged(aws, tmp_path) as found:
        yield found
