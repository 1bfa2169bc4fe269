"""Settings of alarms."""

import re

from pydantic import Field, field_validator

from infra.sections.common import Section, wrong


class Monitoring(Section):
    """Alarms: whom they tell, and from which values on."""

    alarm_emails: tuple[str, ...] = Field(
        default=(), description="addresses that alarms are sent to; each confirms by mail before it gets any"
    )
    disk_percent: int = Field(default=80, ge=1, le=99, description="how full a broker's disk may be, 1 to 99 %")
    cpu_percent: int = Field(default=60, ge=1, le=99, description="how busy a broker may be, 1 to 99 %")
    under_replicated_minutes: int = Field(
        default=15, ge=1, le=180, description="how long replicas may lag, such as in a restart, 1 to 180 minutes"
    )
    freshness_seconds: int = Field(
        default=1200, ge=60, le=86400, description="how late the archive may be, 60 to 86400 s"
    )
    lag_messages: int = Field(
        default=5_000_000, ge=1, description="how many messages the archive may be behind the topic, 1 or more"
    )
    function_errors: int = Field(
        default=5, ge=0, description="failed calls of a function in a minute that are no alarm, 0 or more"
    )

    @field_validator("alarm_emails")
    @classmethod
    def _alarm_emails(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if odd := [address for address in value if not re.fullmatch(r"[^@\s:]+@[^@\s:]+\.[^@\s:]+", address)]:
            raise wrong(f"{', '.join(odd)} is no mail address: write one such as team@example.com")
        if repeated := {address for address in value if value.count(address) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each address once")
        return value
