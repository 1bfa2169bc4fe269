"""A real AWS process for each module of tests, and a real broker for those that need one."""

from collections.abc import Callable, Iterator

import pytest

from envs.sandbox import account
from tests.envs.sandbox.aws.broker_stage import Stage, open_stage
from tests.envs.sandbox.aws.emulated import Aws, running
from tests.envs.sandbox.aws.fleet_stage import FleetStage, made_groups, open_fleet


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running(tmp_path_factory.mktemp("aws")) as found:
        yield found


@pytest.fixture
def inside(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one of the sandbox's."""
    for name, value in account.environment(aws.state_dir).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def stage(aws: Aws) -> Iterator[Stage]:
    yield from open_stage(aws)


@pytest.fixture(scope="module")
def fleet(aws: Aws) -> FleetStage:
    return open_fleet(aws)


@pytest.fixture
def groups(fleet: FleetStage) -> Iterator[Callable[..., str]]:
    yield from made_groups(fleet)
