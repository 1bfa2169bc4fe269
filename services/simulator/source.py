"""Where a load's messages come from, as a description that crosses process borders."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.simulator import generate, replay
from services.simulator.drive import Drive


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


class GeneratedSource(BaseModel):
    """Made-up drives of `rows` seconds, the same for the same seed; see `services.simulator.generate`.

    `first` is the number of the first device: a host of several has some of the fleet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["generated"] = "generated"
    devices: int = Field(default=100, ge=1, le=100_000)
    seed: int = Field(default=1, ge=0)
    rows: int = Field(default=300, ge=1)
    first: int = Field(default=0, ge=0)

    def drives(self, part: int = 0, parts: int = 1) -> list[Drive]:
        """Every `parts`-th drive from number `part`."""
        return generate.drives(self.devices, self.seed, self.rows, part, parts, self.first)


Source = Annotated[ReplaySource | GeneratedSource, Field(discriminator="kind")]
