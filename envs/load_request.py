"""What a user asks of a load: checked once, for every verb that sends one."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envs.errors import UsageError
from services.errors import ServiceError
from services.simulator.source import GeneratedSource, ReplaySource

Asked = TypeVar("Asked", bound="LoadRequest")


class LoadRequest(BaseModel):
    """A load. `rate` in messages/s, `seconds` and `warm_up` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replay: tuple[Path, ...] = ()
    rate: float = Field(default=5000, gt=0)
    seconds: float = Field(default=30, gt=0, le=86400)
    processes: int = Field(default=1, ge=1, le=99)
    devices: int = Field(default=100, ge=1, le=10_000_000)
    device_column: str | None = None
    speed: float | None = Field(default=None, gt=0)
    seed: int = Field(default=1, ge=0)
    warm_up: float = Field(default=5, ge=0)

    def source(self) -> ReplaySource | GeneratedSource:
        """Where the messages come from. Raises `UsageError` for recordings that cannot be read."""
        if not self.replay:
            return GeneratedSource(devices=self.devices, seed=self.seed)
        source = ReplaySource(paths=self.replay, device_column=self.device_column)
        try:
            source.recording()
        except ServiceError as error:
            raise UsageError(str(error)) from error
        return source


def checked(kind: type[Asked], **values: Any) -> Asked:
    """A command's values. Raises `UsageError` that names every option that cannot be."""
    try:
        return kind(**values)
    except ValidationError as error:
        wrong = (f"--{str(one['loc'][0]).replace('_', '-')}: {one['msg']}" for one in error.errors())
        raise UsageError("\n".join(wrong)) from error
