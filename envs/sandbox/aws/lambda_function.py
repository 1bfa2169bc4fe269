"""A function with the settings that moto's loses, and what AWS looks up about them: roles, keys, queues, networks.

Lambda Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC": what the role of a function in
a VPC may do is looked at when it is configured. Its network interfaces are not imitated: its worker is on this
machine's network.
"""

import uuid
from typing import Any, Final

from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import LambdaFunction
from moto.core.utils import iso_8601_datetime_with_milliseconds, utcnow
from moto.ec2.models import ec2_backends
from moto.iam.models import Role
from moto.kms.models import kms_backends
from moto.sqs.models import sqs_backends

from envs.sandbox.account import Account
from envs.sandbox.aws import lambda_rules as rules
from envs.sandbox.aws import sts

SERVICE: Final = "lambda.amazonaws.com"


class Function(LambdaFunction):
    """A function with the settings that moto's loses."""

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        super().__init__(account_id, spec, region, version)
        self.dead_letter = (spec.get("DeadLetterConfig") or {}).get("TargetArn") or None
        self.logging = self._logging(spec.get("LoggingConfig"))
        self.revision = str(uuid.uuid4())
        self.log_stream = f"{utcnow():%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        told = super().get_configuration(on_create)
        told |= {"LoggingConfig": self.logging, "RevisionId": self.revision}
        if self.dead_letter:
            told["DeadLetterConfig"] = {"TargetArn": self.dead_letter}
        return told

    def get_code(self) -> dict[str, Any]:
        told = super().get_code()
        if self.reserved_concurrency is not None:
            told["Concurrency"] = {"ReservedConcurrentExecutions": self.reserved_concurrency}
        return told

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        super().update_configuration({**config_updates, **_whole_environment(config_updates)})
        if "DeadLetterConfig" in config_updates:
            self.dead_letter = config_updates["DeadLetterConfig"].get("TargetArn") or None
        if "LoggingConfig" in config_updates:
            self.logging = self._logging(config_updates["LoggingConfig"])
        if "EphemeralStorage" in config_updates:
            self.ephemeral_storage = config_updates["EphemeralStorage"]["Size"]
        if "TracingConfig" in config_updates:
            self.tracing_config = config_updates["TracingConfig"]
        if "KMSKeyArn" in config_updates:
            self.kms_key_arn = config_updates["KMSKeyArn"] or None
        self.touch()
        return self.get_configuration()

    def touch(self) -> None:
        """Settings or code are new."""
        self.revision = str(uuid.uuid4())
        self.last_modified = iso_8601_datetime_with_milliseconds().replace("Z", "+0000")

    def _logging(self, wanted: dict[str, Any] | None) -> dict[str, Any]:
        told = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.function_name}", **(wanted or {})}
        if told["LogFormat"] == "JSON":
            told = {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **told}
        return told

    @property
    def vpc_config(self) -> dict[str, Any] | None:  # type: ignore[override]
        told = super().vpc_config
        if told and told["SubnetIds"]:
            subnet = ec2_backends[self.account_id][self.region].get_subnet(told["SubnetIds"][0])
            told["VpcId"] = subnet.vpc_id
        return told


def function_role(account: Account, arn: str) -> Role:
    """The role that a function runs with. Raises InvalidParameterValueException when Lambda cannot assume it."""
    try:
        return sts.trusted_role(account, arn, SERVICE)
    except sts.TrustError as error:
        raise InvalidParameterValueException(
            f"The role defined for the function cannot be assumed by Lambda. ({error})"
        ) from error


def check_surroundings(spec: dict[str, Any], role: Role, account_id: str, region: str) -> None:
    """What a function's settings name is there, and its role may use it."""
    if key := spec.get("KMSKeyArn"):
        kms = kms_backends[account_id][region]
        if kms.get_key_id(key) not in kms.keys:
            raise InvalidParameterValueException(f"The KMS key {key} does not exist.")
    if target := (spec.get("DeadLetterConfig") or {}).get("TargetArn"):
        check_target(target, role)
    if subnets := (spec.get("VpcConfig") or {}).get("SubnetIds"):
        groups = spec["VpcConfig"].get("SecurityGroupIds") or []
        _check_network(subnets, groups, account_id, region)
        rules.check_may_attach(role, subnets, groups, account_id, region)


def check_target(target: str, role: Role) -> None:
    """A queue that the function's role may send to: a dead-letter queue or a destination."""
    rules.check_may_send(role, target)
    region, account_id, name = target.split(":")[3:6]
    if name not in sqs_backends[account_id][region].queues:
        raise InvalidParameterValueException(f"The queue {target} does not exist.")


def _check_network(subnets: list[str], groups: list[str], account_id: str, region: str) -> None:
    ec2 = ec2_backends[account_id][region]
    known = {subnet.id: subnet.vpc_id for zone in ec2.subnets.values() for subnet in zone.values()}
    for each in subnets:
        if each not in known:
            raise InvalidParameterValueException(
                "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. "
                f"EC2 Error Message: The subnet ID '{each}' does not exist"
            )
    vpcs = {known[each] for each in subnets}
    if not groups or len(vpcs) != 1:
        raise InvalidParameterValueException(
            "A function in a VPC needs subnets of one VPC and at least one security group of it."
        )
    for each in groups:
        if all(each not in ec2.groups[vpc] for vpc in vpcs):
            raise InvalidParameterValueException(
                "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. "
                f"EC2 Error Message: The security group '{each}' does not exist"
            )


def _whole_environment(updates: dict[str, Any]) -> dict[str, Any]:
    if "Environment" not in updates:
        return {}
    return {"Environment": {"Variables": (updates["Environment"] or {}).get("Variables") or {}}}
