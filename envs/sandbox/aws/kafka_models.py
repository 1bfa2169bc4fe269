"""MSK: what the backend remembers of a cluster and of a configuration."""

import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.core.utils import utcnow

from envs.sandbox.aws import kafka_rules as rules


@dataclass
class Configuration:
    """A custom configuration and its revisions, the first at index 0."""

    arn: str
    name: str
    kafka_versions: list[str]
    created: datetime
    revisions: list[dict[str, Any]] = field(default_factory=list)

    def revise(self, description: str | None, properties: bytes) -> None:
        """Adds a revision."""
        self.revisions.append(
            {
                "Revision": len(self.revisions) + 1,
                "CreationTime": utcnow(),
                "Description": description or "",
                "ServerProperties": properties,
            }
        )

    def latest(self) -> dict[str, Any]:
        """The newest revision as answers show it."""
        return {key: value for key, value in self.revisions[-1].items() if key != "ServerProperties"}

    def describe(self) -> dict[str, Any]:
        """The shape Configuration of the API."""
        return {
            "Arn": self.arn,
            "Name": self.name,
            "CreationTime": self.created,
            "Description": self.revisions[-1]["Description"],
            "KafkaVersions": self.kafka_versions,
            "LatestRevision": self.latest(),
            "State": "ACTIVE",
        }


@dataclass
class Cluster:
    """A provisioned cluster. `info` holds what its description shows, in the API's own field names."""

    arn: str
    name: str
    info: dict[str, Any]
    created: datetime
    state: str = "CREATING"
    version: str = ""
    policy: tuple[str, str] | None = None
    topics: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def nodes(self) -> dict[str, Any]:
        return self.info["BrokerNodeGroupInfo"]

    @property
    def schemes(self) -> set[str]:
        """Which ways of client authentication are on."""
        return rules.schemes(self.info["ClientAuthentication"])

    @property
    def vpc_schemes(self) -> set[str]:
        """Which of them are on for multi-VPC connectivity."""
        return rules.vpc_schemes(self.nodes.get("ConnectivityInfo"))

    @property
    def software(self) -> dict[str, Any]:
        return self.info["CurrentBrokerSoftwareInfo"]


def new_version() -> str:
    """An opaque version as MSK gives to clusters and policies."""
    return "K" + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(13))
