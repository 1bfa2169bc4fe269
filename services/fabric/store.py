"""What is kept of the cluster in the fleet's bucket: the configuration it was formed with, and that it was formed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.fabric.configuration import rendered
from services.fabric.errors import FabricServiceError

CONFIGURATION_KEY: Final = "cluster/ClusterConfig.json"
FORMED_KEY: Final = "cluster/formed.json"


@dataclass(frozen=True)
class Stored:
    """A configuration in the bucket: where, which version of it, and whether it had to be written."""

    key: str
    version: str
    written: bool


@dataclass(frozen=True)
class Store:
    """The bucket, which keeps every version of an object."""

    s3: Any
    bucket: str

    def put_configuration(self, configuration: Mapping[str, Any]) -> Stored:
        """Keeps the configuration; when it is there already, that version is used."""
        found = self._get(CONFIGURATION_KEY)
        if found is not None and found[0] == configuration:
            return Stored(CONFIGURATION_KEY, found[1], written=False)
        answer = self.s3.put_object(
            Bucket=self.bucket,
            Key=CONFIGURATION_KEY,
            Body=rendered(configuration).encode(),
            ContentType="application/json",
        )
        return Stored(CONFIGURATION_KEY, self._version(answer), written=True)

    def formed(self) -> Mapping[str, Any] | None:
        """What was noted when the cluster had been formed; None: it never was."""
        found = self._get(FORMED_KEY)
        return found[0] if found else None

    def note_formed(self, cluster: str, seeds: Mapping[str, str]) -> None:
        """Notes that the cluster stands: it is formed once only."""
        body = {"cluster": cluster, "seeds": dict(seeds), "formed": datetime.now(UTC).isoformat(timespec="seconds")}
        self.s3.put_object(
            Bucket=self.bucket,
            Key=FORMED_KEY,
            Body=(json.dumps(body, indent=2) + "\n").encode(),
            ContentType="application/json",
        )

    def _get(self, key: str) -> tuple[Any, str] | None:
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return None
        try:
            return json.loads(answer["Body"].read()), self._version(answer)
        except ValueError as error:
            raise FabricServiceError(f"s3://{self.bucket}/{key} is no JSON ({error}): delete it") from error

    def _version(self, answer: Mapping[str, Any]) -> str:
        version = answer.get("VersionId")
        if not version or version == "null":
            raise FabricServiceError(f"s3://{self.bucket} keeps no versions: switch its versioning on")
        return str(version)
