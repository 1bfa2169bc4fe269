"""A real AWS process for each module of tests."""

from collections.abc import Iterator

import pytest

from tests.envs.sandbox.aws.emulated import Aws, running


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with running(tmp_path_factory.mktemp("aws")) as found:
        yield found
