"""MSK: what a new cluster finds in its account: subnets, security groups, keys, log groups and buckets."""

import uuid
from typing import Any

from moto.ec2.models import ec2_backends
from moto.kms.models import kms_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from envs.sandbox.aws import kafka_rules as rules
from envs.sandbox.aws.kafka_rules import refuse


class Surroundings:
    """Looks things up in the other backends of one account and region."""

    def __init__(self, account_id: str, region: str) -> None:
        self._account_id = account_id
        self._region = region

    def new_cluster_info(self, request: dict[str, Any], software: dict[str, Any]) -> dict[str, Any]:
        """The description of a cluster that a CreateCluster request asks for. Raises BadRequestException."""
        nodes = {"BrokerAZDistribution": "DEFAULT", **request["BrokerNodeGroupInfo"]}
        rules.check_instance_type(nodes["InstanceType"])
        zones = self.zones(nodes["ClientSubnets"])
        rules.check_brokers(nodes, zones, request["NumberOfBrokerNodes"])
        nodes["SecurityGroups"] = self._security_groups(nodes.get("SecurityGroups"), nodes["ClientSubnets"])
        nodes["ZoneIds"] = [self._subnet(each).availability_zone_id for each in nodes["ClientSubnets"]]
        nodes.setdefault("StorageInfo", {"EbsStorageInfo": {"VolumeSize": 1000}})
        rules.check_new_connectivity(nodes.get("ConnectivityInfo"))
        off = {"Enabled": False}
        nodes["ConnectivityInfo"] = {
            "PublicAccess": {"Type": "DISABLED"},
            "VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Scram": off, "Iam": off}, "Tls": off}},
        }
        authentication = _authentication(request.get("ClientAuthentication"))
        encryption = self._encryption(request.get("EncryptionInfo"))
        rules.check_security(authentication, encryption)
        if nodes["InstanceType"] == rules.SMALL and request.get("StorageMode") == "TIERED":
            raise refuse(f"Tiered storage isn't supported for the {rules.SMALL} instance type.", "storageMode")
        self.check_logging(request.get("LoggingInfo"))
        exporter = {"EnabledInBroker": False}
        return {
            "BrokerNodeGroupInfo": nodes,
            "ClientAuthentication": authentication,
            "EncryptionInfo": encryption,
            "CurrentBrokerSoftwareInfo": software,
            "EnhancedMonitoring": request.get("EnhancedMonitoring", "DEFAULT"),
            "OpenMonitoring": request.get("OpenMonitoring")
            or {"Prometheus": {"JmxExporter": exporter, "NodeExporter": exporter}},
            "LoggingInfo": request.get("LoggingInfo"),
            "NumberOfBrokerNodes": request["NumberOfBrokerNodes"],
            "StorageMode": request.get("StorageMode", "LOCAL"),
        }

    def _encryption(self, wanted: dict[str, Any] | None) -> dict[str, Any]:
        wanted = wanted or {}
        key = (wanted.get("EncryptionAtRest") or {}).get("DataVolumeKMSKeyId")
        kms = kms_backends[self._account_id][self._region]
        if key is None:
            # The account's managed key alias/aws/kafka; AWS shows its ARN. It is no resource of anybody's.
            key = f"arn:aws:kms:{self._region}:{self._account_id}:key/{uuid.uuid5(uuid.NAMESPACE_URL, 'aws/kafka')}"
        elif (key_id := kms.get_key_id(key)) not in kms.keys or kms.keys[key_id].key_state != "Enabled":
            raise refuse(f"The KMS key {key} does not exist or is not enabled.", "dataVolumeKMSKeyId")
        in_transit = {"ClientBroker": "TLS", "InCluster": True, **(wanted.get("EncryptionInTransit") or {})}
        return {"EncryptionAtRest": {"DataVolumeKMSKeyId": key}, "EncryptionInTransit": in_transit}

    def check_logging(self, logging_info: dict[str, Any] | None) -> None:
        """The log group or bucket that brokers log to exists."""
        brokers = (logging_info or {}).get("BrokerLogs") or {}
        group = brokers.get("CloudWatchLogs") or {}
        if group.get("Enabled") and group.get("LogGroup") not in logs_backends[self._account_id][self._region].groups:
            raise refuse(f"The log group {group.get('LogGroup')!r} does not exist.", "logGroup")
        bucket = brokers.get("S3") or {}
        if bucket.get("Enabled") and bucket.get("Bucket") not in s3_backends[self._account_id]["aws"].buckets:
            raise refuse(f"The bucket {bucket.get('Bucket')!r} does not exist.", "bucket")

    def _subnet(self, subnet_id: str) -> Any:
        found = ec2_backends[self._account_id][self._region].describe_subnets(filters={"subnet-id": [subnet_id]})
        if not found:
            raise refuse(f"The subnet {subnet_id} does not exist.", "clientSubnets")
        return found[0]

    def zones(self, subnets: list[str]) -> list[str]:
        """The Availability Zones of client subnets, in their order."""
        found = [self._subnet(each) for each in subnets]
        if len({each.vpc_id for each in found}) > 1:
            raise refuse("The client subnets are in different VPCs.", "clientSubnets")
        return [each.availability_zone for each in found]

    def _security_groups(self, wanted: list[str] | None, subnets: list[str]) -> list[str]:
        vpc = self._subnet(subnets[0]).vpc_id
        groups = ec2_backends[self._account_id][self._region].groups[vpc]
        if not wanted:
            return [each.id for each in groups.values() if each.name == "default"]
        for each in wanted:
            if each not in groups:
                raise refuse(f"The security group {each} does not exist in {vpc}.", "securityGroups")
        return wanted


def _authentication(wanted: dict[str, Any] | None) -> dict[str, Any]:
    enabled = rules.schemes(wanted) if wanted else {"unauthenticated"}
    tls = {"Enabled": "tls" in enabled, "CertificateAuthorityArnList": []}
    return {
        "Sasl": {"Scram": {"Enabled": "scram" in enabled}, "Iam": {"Enabled": "iam" in enabled}},
        "Tls": {**tls, **((wanted or {}).get("Tls") or {})},
        "Unauthenticated": {"Enabled": "unauthenticated" in enabled},
    }
