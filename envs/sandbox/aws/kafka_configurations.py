"""MSK: custom configurations and their revisions."""

import uuid
from typing import Any, Final

from moto.core.utils import utcnow

from envs.sandbox.aws import kafka_rules as rules
from envs.sandbox.aws.kafka_models import Cluster, Configuration
from envs.sandbox.aws.kafka_rules import MskError, refuse

NO_CONFIGURATION: Final = "Configuration ARN does not exist."
"""AWS's words, which the official provider takes for "not found" (internal/service/kafka/configuration.go)."""


class Configurations:
    """The part of the backend that keeps configurations (`configurations`, by ARN)."""

    configurations: dict[str, Configuration]

    def _arn(self, resource: str) -> str:
        raise NotImplementedError

    def list_msk_clusters(self) -> list[Cluster]:
        """All clusters that are not gone."""
        raise NotImplementedError

    def create_configuration(
        self, name: str, description: str | None, kafka_versions: list[str] | None, properties: bytes
    ) -> Configuration:
        rules.check_name(name, "name")
        for version in kafka_versions or []:
            rules.check_version(version, "kafkaVersions")
        rules.parse_properties(_text(properties))
        if any(each.name == name for each in self.configurations.values()):
            raise MskError("ConflictException", "A resource with this name already exists.", "name")
        arn = self._arn(f"configuration/{name}/{uuid.uuid4()}-1")
        made = Configuration(arn, name, list(kafka_versions or []), utcnow())
        made.revise(description, properties)
        self.configurations[arn] = made
        return made

    def configuration(self, arn: str) -> Configuration:
        if arn not in self.configurations:
            raise refuse(NO_CONFIGURATION, "arn")
        return self.configurations[arn]

    def revision(self, arn: str, number: int) -> dict[str, Any]:
        revisions = self.configuration(arn).revisions
        if not 1 <= number <= len(revisions):
            raise refuse(f"Configuration revision {number} does not exist.", "revision")
        return revisions[number - 1]

    def update_configuration(self, arn: str, description: str | None, properties: bytes) -> Configuration:
        found = self.configuration(arn)
        rules.parse_properties(_text(properties))
        found.revise(description, properties)
        return found

    def delete_configuration(self, arn: str) -> None:
        found = self.configuration(arn)
        users = [each.name for each in self.list_msk_clusters() if each.software.get("ConfigurationArn") == arn]
        if users:
            raise refuse(f"Configuration is in use by one or more clusters: {users}", "arn")
        del self.configurations[found.arn]

    def software(self, version: str, wanted: dict[str, Any] | None) -> dict[str, Any]:
        """What a cluster of this Kafka version runs with the wanted configuration (Arn, Revision), if any."""
        if not wanted:
            return {"KafkaVersion": version}
        found = self.configuration(wanted["Arn"])
        self.revision(found.arn, wanted["Revision"])
        if found.kafka_versions and version not in found.kafka_versions:
            raise refuse(
                f"Configuration {found.name} is for Kafka {found.kafka_versions}, not for {version}.",
                "configurationInfo",
            )
        return {"KafkaVersion": version, "ConfigurationArn": found.arn, "ConfigurationRevision": wanted["Revision"]}


def _text(properties: bytes) -> str:
    try:
        return properties.decode()
    except UnicodeDecodeError:
        raise refuse("server.properties is not text.", "serverProperties") from None
