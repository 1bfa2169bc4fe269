"""MSK: clusters and their policies. One cluster a sandbox, because there is one broker behind it.

moto's clusters stay CREATING and it has no configurations. Here a cluster is CREATING until the broker answers on the
sandbox's Kafka port and DELETING until it no longer does; the agent starts and stops the broker in between. After an
update a cluster is seen UPDATING once and takes no further update until then.

One deviation on purpose: a cluster that is still CREATING can be deleted, so that an environment can be taken down
whose broker never came up.
"""

import threading
import uuid
from typing import Any, ClassVar

from moto.core.utils import utcnow
from moto.kafka import urls
from moto.kafka.models import KafkaBackend, kafka_backends

from envs.sandbox import broker
from envs.sandbox.account import is_open
from envs.sandbox.aws import kafka_rules as rules
from envs.sandbox.aws import policy
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.kafka_configurations import Configurations
from envs.sandbox.aws.kafka_models import Cluster, Configuration, new_version
from envs.sandbox.aws.kafka_rules import MskError, refuse
from envs.sandbox.aws.kafka_surroundings import Surroundings
from envs.sandbox.aws.kafka_topics import Topics


class MskBackend(Configurations, Topics, KafkaBackend):
    """Implementation of the provisioned part of the MSK API."""

    host: ClassVar[Host]
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.msk_clusters: dict[str, Cluster] = {}
        self.configurations: dict[str, Configuration] = {}
        self._surroundings = Surroundings(account_id, region_name)

    @property
    def _url_module(self) -> Any:
        # moto derives it from the backend's own module.
        return urls

    def create_msk_cluster(self, name: str, request: dict[str, Any], tags: dict[str, str] | None) -> Cluster:
        """A new provisioned cluster in state CREATING; `request` has the fields of CreateCluster."""
        with self._lock:
            rules.check_name(name, "clusterName")
            existing = self.list_msk_clusters()
            if any(each.name == name for each in existing):
                raise MskError("ConflictException", "A resource with this name already exists.", "clusterName")
            rules.check_version(request["KafkaVersion"])
            software = self.software(request["KafkaVersion"], request.get("ConfigurationInfo"))
            info = self._surroundings.new_cluster_info(request, software)
            if existing:
                raise refuse(
                    f"This sandbox has one broker, and cluster {existing[0].name} has it: delete that one first, or "
                    "use a sandbox of another name.",
                    "clusterName",
                )
            made = Cluster(self._arn(f"cluster/{name}/{uuid.uuid4()}-1"), name, info, utcnow(), version=new_version())
            self.msk_clusters[made.arn] = made
            if tags:
                self.tag_resource(made.arn, tags)
            return made

    def cluster(self, arn: str) -> Cluster:
        """A cluster in its state now. Raises NotFoundException."""
        with self._lock:
            found = self.msk_clusters.get(arn)
            if found is not None and found.state in ("CREATING", "DELETING"):
                answers = is_open(self.host.account.kafka_port)
                if found.state == "CREATING" and answers:
                    found.state = "ACTIVE"
                elif found.state == "CREATING" and (reason := broker.failure(self.host.state_dir, arn)):
                    found.state = "FAILED"
                    found.info["StateInfo"] = {"Code": "BrokerDoesNotStart", "Message": reason}
                elif found.state == "DELETING" and not answers:
                    del self.msk_clusters[arn]
                    self.tagger.delete_all_tags_for_resource(arn)
                    self.disconnect()
                    found = None
            if found is None:
                raise MskError("NotFoundException", f"The following resource was not found: {arn}.", "clusterArn")
            return found

    def active_cluster(self, arn: str) -> Cluster:
        """A cluster that takes operations. Raises BadRequestException for any state but ACTIVE."""
        found = self.cluster(arn)
        if found.state != "ACTIVE":
            raise refuse(
                f"You can't perform this operation while the cluster is in the {found.state} state.", "clusterArn"
            )
        return found

    def list_msk_clusters(self) -> list[Cluster]:
        """All clusters that are not gone, in the order of their creation."""
        alive = []
        for arn in list(self.msk_clusters):
            try:
                alive.append(self.cluster(arn))
            except MskError:
                continue
        return alive

    def look(self, found: Cluster) -> str:
        """The state that a description shows; being shown ends an update."""
        with self._lock:
            shown = found.state
            if shown == "UPDATING":
                found.state = "ACTIVE"
                for operation in found.operations.values():
                    operation["OperationState"] = "UPDATE_COMPLETE"
                    operation.setdefault("EndTime", utcnow())
            return shown

    def delete_msk_cluster(self, arn: str, current_version: str | None) -> Cluster:
        """Puts a cluster into state DELETING."""
        with self._lock:
            found = self.cluster(arn)
            if found.state not in ("ACTIVE", "CREATING", "FAILED"):
                raise refuse(f"You can't delete a cluster in the {found.state} state.", "clusterArn")
            if current_version is not None:
                _check_version(found, current_version)
            found.state = "DELETING"
            return found

    def update(
        self,
        arn: str,
        current_version: str,
        kind: str,
        change: dict[str, Any],
        configuration: dict[str, Any] | None = None,
    ) -> str:
        """One update operation: `change` replaces fields of the description. Returns the operation's ARN."""
        with self._lock:
            found = self.active_cluster(arn)
            _check_version(found, current_version)
            info = {**found.info, **change}
            if configuration is not None:
                info["CurrentBrokerSoftwareInfo"] = self.software(found.software["KafkaVersion"], configuration)
            nodes = info["BrokerNodeGroupInfo"]
            rules.check_instance_type(nodes["InstanceType"])
            zones = self._surroundings.zones(nodes["ClientSubnets"])
            rules.check_brokers(nodes, zones, info["NumberOfBrokerNodes"])
            rules.check_security(info["ClientAuthentication"], info["EncryptionInfo"])
            rules.check_connectivity(
                nodes["ConnectivityInfo"], rules.schemes(info["ClientAuthentication"]), nodes["InstanceType"]
            )
            self._surroundings.check_logging(info["LoggingInfo"])
            found.info, found.state, found.version = info, "UPDATING", new_version()
            operation = f"{arn.replace(':cluster/', ':cluster-operation/', 1)}/{uuid.uuid4()}"
            found.operations[operation] = {
                "OperationArn": operation,
                "ClusterArn": arn,
                "OperationType": kind,
                "OperationState": "UPDATE_IN_PROGRESS",
                "CreationTime": utcnow(),
            }
            return operation

    def operation(self, arn: str) -> dict[str, Any]:
        """An update operation as it is now; being shown ends it."""
        for found in self.list_msk_clusters():
            if arn in found.operations:
                shown = dict(found.operations[arn])
                self.look(found)
                return shown
        raise MskError("NotFoundException", f"The following resource was not found: {arn}.", "clusterOperationArn")

    def put_msk_policy(self, arn: str, document: str, current_version: str | None) -> str:
        """Sets the cluster's policy and returns its new version."""
        found = self.active_cluster(arn)
        if not found.vpc_schemes:
            # hashicorp/terraform-provider-aws issue 34419: multi-VPC connectivity comes before the policy.
            raise refuse("A cluster policy needs multi-VPC private connectivity: turn that on first.", "clusterArn")
        try:
            policy.statements(document)
        except policy.PolicyError as error:
            raise refuse(f"The policy is not valid: {error}", "policy") from error
        if found.policy is not None and current_version is None:
            raise refuse("Current cluster policy version needed for Update", "currentVersion")
        if current_version is not None and current_version != (found.policy or ("", None))[1]:
            raise refuse("The version of the cluster policy is not the current one.", "currentVersion")
        found.policy = (document, new_version())
        return found.policy[1]

    def msk_policy(self, arn: str) -> tuple[str, str]:
        """The cluster's policy and its version. Raises NotFoundException."""
        found = self.cluster(arn)
        if found.policy is None:
            raise MskError("NotFoundException", "No policy exists for the specified cluster.", "clusterArn")
        return found.policy

    def _arn(self, resource: str) -> str:
        return f"arn:{self.partition}:kafka:{self.region_name}:{self.account_id}:{resource}"


def install(host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    from envs.sandbox.aws.kafka_responses import MskResponse

    MskBackend.host = host
    kafka_backends.backend = MskBackend
    urls.url_paths = {"{0}/.*$": MskResponse.dispatch}


def _check_version(found: Cluster, current_version: str) -> None:
    if current_version != found.version:
        raise refuse(
            "This operation cannot be performed because the current version of the cluster is not the one you gave.",
            "currentVersion",
        )
