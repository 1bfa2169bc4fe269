"""Microsoft's files of a version of Service Fabric, in the fleet's bucket, where the machines look for them.

Machines do not fetch them from Microsoft: its links change, and old versions go, while a seed that is replaced years
later needs the cluster's very version.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from services.fabric.errors import FabricServiceError

PREFIX: Final = "packages/"
NAMES: Final = (
    "Microsoft.Azure.ServiceFabric.WindowsServer.{}.zip",
    "MicrosoftAzureServiceFabric.{}.cab",
    "MicrosoftServiceFabric.{}.exe",
)
"""Setup and scripts, the runtime as scripts install it, and the runtime with an installer of its own."""


@dataclass(frozen=True)
class Packages:
    """The files of one version in a bucket."""

    s3: Any
    bucket: str
    version: str

    def ensure(self, folder: Path | None, tell: Callable[[str], None]) -> list[str]:
        """Puts those that are missing from a folder, and returns their names.

        Raises `FabricServiceError` that names every missing file and what to do.
        """
        missing = [name for name in self._names() if not self._there(name)]
        if not missing:
            return []
        absent = [name for name in missing if folder is None or not (folder / name).is_file()]
        if folder is None or absent:
            where = f", which {folder} has not either" if folder is not None else ""
            raise FabricServiceError(
                f"s3://{self.bucket}/{PREFIX} lacks files of Service Fabric {self.version}{where}: "
                f"{', '.join(absent)}. Fetch them from Microsoft (Service Fabric releases on GitHub list them by "
                "version), put them into one folder under these names, and name it with --packages"
            )
        for name in missing:
            tell(name)
            self.s3.upload_file(str(folder / name), self.bucket, f"{PREFIX}{name}")
        return missing

    def _names(self) -> list[str]:
        return [name.format(self.version) for name in NAMES]

    def _there(self, name: str) -> bool:
        try:
            self.s3.head_object(Bucket=self.bucket, Key=f"{PREFIX}{name}")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return True
