"""Settings of the shared file system."""

from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from infra.sections.common import Section, one_of, wrong

FILE_AGES: Final = (1, 7, 14, 30, 60, 90, 180, 270, 365)
"""Days after which EFS moves files that nobody reads (API Reference, LifecyclePolicy)."""


class Filesystem(Section):
    """The shared file system (EFS)."""

    infrequent_access_days: int | None = Field(
        default=30, description="days unread until files move to cheaper storage, one of EFS's steps; null: never"
    )
    archive_days: int | None = Field(
        default=90, description="days unread until they move to the cheapest, one of EFS's steps; null: never"
    )
    backup: bool = Field(default=False, description="true: AWS Backup copies all files every day")

    @field_validator("infrequent_access_days", "archive_days")
    @classmethod
    def _step(cls, value: int | None) -> int | None:
        return value if value is None else one_of(value, FILE_AGES)

    @field_validator("archive_days")
    @classmethod
    def _archive_days(cls, value: int | None, info: ValidationInfo) -> int | None:
        moved = info.data.get("infrequent_access_days")
        if value is not None and moved is not None and value <= moved:
            raise wrong(f"{value} days are over before files move to cheaper storage after {moved}: raise it")
        return value
