"""Where a load's messages come from, as a description that crosses process borders."""

from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from services.simulator import generate, replay
from services.simulator.drive import Drive
from services.simulator.fleet import Fleet, SizeError, payload, sized
from services.simulator.stamps import head_width

_DIFFERENT: Final = 100
"""How many devices of a made-up fleet have signals of their own."""


class ReplaySource(BaseModel):
    """Recorded drives from CSV files, looped to fill the time; see `services.simulator.replay`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["replay"] = "replay"
    paths: tuple[Path, ...]
    device_column: str | None = None

    def recording(self) -> replay.Recording:
        """Reads the files. Raises `ReplayError`."""
        return replay.read(self.paths, self.device_column)

    def drives(self, part: int = 0, parts: int = 1) -> list[Drive]:
        """Every `parts`-th drive from number `part`, in the files' order. Raises `ReplayError`."""
        return self.recording().drives[part::parts]

    def fleet(self, part: int, parts: int, producer: str) -> Fleet:  # noqa: ARG002 - a recording has its own size
        """These drives with their messages prepared. Raises `ReplayError`."""
        return Fleet.of_drives(self.drives(part, parts))


class GeneratedSource(BaseModel):
    """Made-up drives of `rows` seconds, the same for the same seed; see `services.simulator.generate`.

    Beyond a hundred devices, others have the same signals under their own names. `size`: bytes of a message, made
    by leaving signals out and by blanks; without it a message has all signals. `first` is the number of the
    first device: a host of several has some of the fleet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["generated"] = "generated"
    devices: int = Field(default=100, ge=1, le=10_000_000)
    seed: int = Field(default=1, ge=0)
    rows: int = Field(default=300, ge=1)
    first: int = Field(default=0, ge=0)
    size: int | None = Field(default=None, ge=100, le=65_536)

    def drives(self, part: int = 0, parts: int = 1) -> list[Drive]:
        """Every `parts`-th of the drives that differ, from number `part`."""
        return generate.drives(min(self.devices, _DIFFERENT), self.seed, self.rows, part, parts, self.first)

    def fleet(self, part: int, parts: int, producer: str) -> Fleet:
        """Every `parts`-th device from number `part`, with its messages prepared. Raises `SizeError`."""
        numbers = np.arange(part, self.devices, parts, dtype=np.int64)
        keys = generate.names(self.first + numbers, self.first + self.devices)
        head = head_width(producer, keys)
        made = payload if self.size is None else partial(sized, size=self.size - head)
        try:
            patterns = [list(map(made, drive.rows)) for drive in self.drives()]
        except SizeError as error:
            least = head + error.least
            raise SizeError(
                f"a message of {producer} has {least} bytes at least: {self.size} are too few", least
            ) from error
        return Fleet.sharing(keys, patterns, numbers % len(patterns))


Source = Annotated[ReplaySource | GeneratedSource, Field(discriminator="kind")]
