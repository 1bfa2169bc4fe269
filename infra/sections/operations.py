"""Settings of retention and protection."""

import re
from datetime import date
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from infra.sections.common import Section, one_of, wrong

LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""What CloudWatch Logs accepts (API Reference, PutRetentionPolicy). "Never" is not among them on purpose."""


class Operations(Section):
    """How long things are kept, and how they are guarded against being lost."""

    log_retention_days: int = Field(default=30, description="days that logs are kept, one of CloudWatch's steps")
    key_deletion_days: int = Field(default=30, ge=7, le=30, description="days until a deleted key is gone, 7 to 30")
    secret_recovery_days: int = Field(
        default=30, description="days until a deleted secret is gone, 7 to 30; 0: at once"
    )
    disposable: bool = Field(
        default=False, description="true: taking the environment down deletes the archive's objects too"
    )
    protect_data: bool = Field(
        default=False, description="true: Pulumi refuses to delete the cluster, the archive and keys"
    )
    confirm_down: bool = Field(
        default=False, description="true: `fleetstream down` wants the environment's name said before it begins"
    )
    expires: date | None = Field(
        default=None, description="the last day it is meant to stand, such as 2026-12-31; becomes a tag"
    )
    budget_email: str | None = Field(default=None, description="who is written to when the budget runs out")
    monthly_budget_usd: int | None = Field(
        default=None, ge=1, le=1_000_000, description="what a month may cost in USD; null: no budget"
    )

    @field_validator("budget_email")
    @classmethod
    def _budget_email(cls, value: str | None) -> str | None:
        # AWS Budgets API Reference, Subscriber: an address has an @ and at most 50 characters.
        if value is not None and not (re.fullmatch(r"[^\s@]+@[^\s@]+", value) and len(value) <= 50):
            raise wrong(f"{value!r} is no e-mail address of up to 50 characters: write one such as a@example.com")
        return value

    @field_validator("monthly_budget_usd")
    @classmethod
    def _monthly_budget_usd(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("budget_email", "") is None:
            raise wrong("nobody would hear of it: name somebody in budget_email")
        return value

    @field_validator("log_retention_days")
    @classmethod
    def _log_retention_days(cls, value: int) -> int:
        return one_of(value, LOG_RETENTION_DAYS)

    @field_validator("secret_recovery_days")
    @classmethod
    def _secret_recovery_days(cls, value: int) -> int:
        # AWS Secrets Manager API Reference, DeleteSecret: RecoveryWindowInDays.
        if value and not 7 <= value <= 30:
            raise wrong(f"{value} days: Secrets Manager takes 7 to 30, or 0 to delete at once")
        return value

    @field_validator("protect_data")
    @classmethod
    def _protect_data(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("disposable"):
            raise wrong("data cannot be both protected and disposable: set one of the two to false")
        return value
