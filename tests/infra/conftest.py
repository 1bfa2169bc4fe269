"""What the program's tests share."""

from pathlib import Path

import pytest
from declared import Declaration, Pulumi, declare


@pytest.fixture(scope="session")
def sandbox() -> Declaration:
    """The sandbox's program."""
    return declare("sandbox")


@pytest.fixture(scope="session")
def prod() -> Declaration:
    """Production's program."""
    return declare("prod")


@pytest.fixture
def engine(tmp_path: Path) -> Pulumi:
    """The real engine, nothing deployed yet."""
    (tmp_path / "state").mkdir()
    return Pulumi(tmp_path)
