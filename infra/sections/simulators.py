"""Settings of the hosts that make load."""

import re

from pydantic import Field, field_validator

from infra.sections.common import Section, wrong


class Simulators(Section):
    """A group of Linux hosts that make load together; it is empty while no load runs."""

    hosts_max: int = Field(default=10, ge=1, le=50, description="hosts at most, 1 to 50")
    instance_type: str = Field(
        default="r6i.2xlarge", description="size of a host, x86-64 and memory-optimized, such as r6i.2xlarge"
    )
    root_gb: int = Field(default=30, ge=10, le=1024, description="disk of each host in GiB, 10 to 1024")
    emptied_at: str = Field(
        default="20:00", description="when hosts that were left standing are ended each day, in UTC, such as 20:00"
    )

    @field_validator("instance_type")
    @classmethod
    def _instance_type(cls, value: str) -> str:
        found = re.fullmatch(r"[rxz]\d+([a-z-]*)\.[a-z0-9-]+", value)
        if found is None:
            raise wrong(f"{value!r} is no memory-optimized instance type: write one such as r6i.2xlarge")
        if found[1].startswith("g"):
            raise wrong(f"{value} has an ARM processor, for which the simulator is not packaged: use r6i.2xlarge")
        return value

    @field_validator("emptied_at")
    @classmethod
    def _emptied_at(cls, value: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
            raise wrong(f"{value!r} is no time of day: write one such as 20:00")
        return value
