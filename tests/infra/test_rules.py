"""The security rules: one mutant of the real program a rule, which breaks that rule and no other."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi_aws
import pytest
from declared import Declaration

from infra import rules
from infra.checks import UNKNOWN

Properties = dict[str, Any]


def put(path: str, value: Any) -> Callable[[Properties], None]:
    """Sets a property; None takes it away."""

    def mutate(properties: Properties) -> None:
        *parents, last = path.split(".")
        place: Any = properties
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return mutate


def statement(**changes: Any) -> Callable[[Properties], None]:
    """Changes the first statement of a policy; None takes a part away."""

    def mutate(properties: Properties) -> None:
        document = json.loads(properties["policy"])
        document["Statement"][0].update(changes)
        document["Statement"][0] = {
            key: value for key, value in document["Statement"][0].items() if value is not None
        }
        properties["policy"] = json.dumps(document)

    return mutate


MUTANTS = [
    ("s3-not-public", "BucketPublicAccessBlock", put("blockPublicAcls", False)),
    ("s3-not-public", "BucketPublicAccessBlock", put("restrictPublicBuckets", None)),
    (
        "s3-encrypted",
        "BucketServerSideEncryptionConfiguration",
        put("rules.0.applyServerSideEncryptionByDefault.sseAlgorithm", "AES256"),
    ),
    ("s3-tls-only", "BucketPolicy", statement(Effect="Allow", Principal={"Service": "x"})),
    ("s3-tls-only", "BucketPolicy", statement(Condition=None)),
    ("sqs-tls-only", "QueuePolicy", statement(Condition={"Bool": {"aws:SecureTransport": "true"}})),
    ("sqs-encrypted", "Queue", put("sqsManagedSseEnabled", False)),
    ("sqs-encrypted", "Queue", put("sqsManagedSseEnabled", None)),
    ("policy-not-public", "ClusterPolicy", statement(Principal="*")),
    ("policy-not-public", "ClusterPolicy", statement(Principal={"AWS": ["*"]})),
    ("network-closed", "SecurityGroupIngressRule", put("cidrIpv4", "0.0.0.0/0")),
    ("network-closed", "SecurityGroupIngressRule", put("cidrIpv6", "::/0")),
    ("network-closed", "SecurityGroup", put("ingress", [{"cidrBlocks": ["10.0.0.0/8", "0.0.0.0/0"]}])),
    ("network-closed", "ManagedPrefixList", put("entries.0.cidr", "0.0.0.0/0")),
    ("network-closed", "ManagedPrefixList", put("entries.0.cidr", "0.0.0.0/1")),
    ("network-closed", "DefaultSecurityGroup", put("ingress", [{"ipv6CidrBlocks": ["::/0"]}])),
    ("subnet-not-public", "Subnet", put("mapPublicIpOnLaunch", True)),
    ("vpc-flow-logs", "FlowLog", put("trafficType", "REJECT")),
    ("vpc-flow-logs", "FlowLog", put("trafficType", None)),
    ("msk-tls", "Cluster", put("encryptionInfo.encryptionInTransit.clientBroker", "TLS_PLAINTEXT")),
    ("msk-tls", "Cluster", put("encryptionInfo.encryptionInTransit.inCluster", False)),
    ("msk-authenticated", "Cluster", put("clientAuthentication.unauthenticated", True)),
    ("msk-authenticated", "Cluster", put("clientAuthentication.sasl.iam", False)),
    ("msk-encrypted", "Cluster", put("encryptionInfo.encryptionAtRestKmsKeyArn", None)),
    ("efs-encrypted", "FileSystem", put("encrypted", False)),
    ("efs-encrypted", "FileSystem", put("kmsKeyId", None)),
    ("efs-tls-only", "FileSystemPolicy", statement(Condition=None)),
    ("sns-encrypted", "sns/topic:Topic", put("kmsMasterKeyId", None)),
    ("sns-encrypted", "sns/topic:Topic", put("kmsMasterKeyId", "alias/aws/sns")),
    ("sns-tls-only", "TopicPolicy", statement(Condition=None)),
    ("logs-retention", "LogGroup", put("retentionInDays", None)),
    ("logs-retention", "LogGroup", put("retentionInDays", 0)),
    ("iam-action-wildcard", "RolePolicy", statement(Action=["s3:*"])),
    ("iam-action-wildcard", "RolePolicy", statement(Action="*")),
    ("iam-action-wildcard", "RolePolicy", statement(Action=None, NotAction=["iam:PassRole"])),
    ("iam-resource-wildcard", "RolePolicy", statement(Resource="*")),
    ("firehose-encrypted", "FirehoseDeliveryStream", put("extendedS3Configuration.kmsKeyArn", None)),
    ("kms-rotation", "Key", put("enableKeyRotation", False)),
    ("ec2-imdsv2", "LaunchTemplate", put("metadataOptions.httpTokens", "optional")),
    ("ec2-imdsv2", "LaunchTemplate", put("metadataOptions.httpPutResponseHopLimit", None)),
    ("ebs-encrypted", "LaunchTemplate", put("blockDeviceMappings.0.ebs.encrypted", "false")),
    ("ebs-encrypted", "LaunchTemplate", put("blockDeviceMappings.0.ebs.kmsKeyId", None)),
    ("ebs-encrypted", "LaunchTemplate", put("blockDeviceMappings", None)),
    ("ebs-encrypted", "Volume", put("encrypted", False)),
    ("ebs-encrypted", "Volume", put("kmsKeyId", None)),
    ("lambda-own-group", "lambda/function:Function", put("vpcConfig", {"subnetIds": ["subnet-1"]})),
    ("secret-encrypted", "Secret", put("kmsKeyId", None)),
    ("secret-encrypted", "Secret", put("kmsKeyId", "alias/aws/secretsmanager")),
    ("lambda-dead-letters", "FunctionEventInvokeConfig", put("destinationConfig.onFailure.destination", "")),
]


def first(declaration: Declaration, type_: str) -> tuple[str, Properties]:
    # By name: the order in which a program's resources are declared is not always the same.
    found = min(declaration.all(type_), key=lambda each: each.name)
    return found.type, copy.deepcopy(found.properties)


@pytest.mark.parametrize(("rule", "type_", "mutate"), MUTANTS, ids=[f"{rule}-{type_}" for rule, type_, _ in MUTANTS])
def test_a_mutant_breaks_its_rule_and_no_other(
    prod: Declaration, rule: str, type_: str, mutate: Callable[[Properties], None]
) -> None:
    token, properties = first(prod, type_)
    assert list(rules.judge(token, properties)) == []
    mutate(properties)
    ((broken, finding),) = rules.judge(token, properties)
    assert broken == rule
    assert finding.property
    assert finding.remedy


def test_every_rule_has_a_mutant() -> None:
    assert {rule for rule, _, _ in MUTANTS} == rules.NAMES


def test_every_fault_of_a_resource_is_told(prod: Declaration) -> None:
    token, properties = first(prod, "BucketPublicAccessBlock")
    assert len(list(rules.judge(token, dict.fromkeys(properties, False)))) == 4


@pytest.mark.parametrize(
    ("type_", "properties"),
    [
        ("BucketPublicAccessBlock", dict.fromkeys(("blockPublicAcls", "blockPublicPolicy"), UNKNOWN)),
        ("BucketPolicy", {"policy": UNKNOWN}),
        ("RolePolicy", {"policy": UNKNOWN}),
        ("Cluster", {"encryptionInfo": UNKNOWN, "clientAuthentication": UNKNOWN}),
        ("BucketServerSideEncryptionConfiguration", {"rules": UNKNOWN}),
        ("SecurityGroup", {"ingress": UNKNOWN}),
        ("ManagedPrefixList", {"entries": UNKNOWN}),
        ("Queue", {"sqsManagedSseEnabled": UNKNOWN}),
        ("FileSystem", {"encrypted": UNKNOWN, "kmsKeyId": UNKNOWN}),
        ("FileSystemPolicy", {"policy": UNKNOWN}),
        ("sns/topic:Topic", {"kmsMasterKeyId": UNKNOWN}),
        ("Secret", {"kmsKeyId": UNKNOWN}),
        ("lambda/function:Function", {"vpcConfig": {"subnetIds": UNKNOWN, "securityGroupIds": UNKNOWN}}),
        ("FirehoseDeliveryStream", {"extendedS3Configuration": {"kmsKeyArn": UNKNOWN}}),
    ],
)
def test_the_unknown_is_not_judged(prod: Declaration, type_: str, properties: Properties) -> None:
    token, known = first(prod, type_)
    assert list(rules.judge(token, {**known, **properties})) == []


def test_older_rule_resources_are_judged_by_direction() -> None:
    token = "aws:ec2/securityGroupRule:SecurityGroupRule"
    world = {"cidrBlocks": ["0.0.0.0/0"]}
    assert [name for name, _ in rules.judge(token, {"type": "ingress", **world})] == ["network-closed"]
    assert list(rules.judge(token, {"type": "egress", **world})) == []


def test_actions_that_know_no_arn_may_have_all_resources(prod: Declaration) -> None:
    token, properties = first(prod, "RolePolicy")
    statement(Action=["ec2:DescribeSubnets"], Resource=["*"])(properties)
    assert list(rules.judge(token, properties)) == []


def test_rules_name_types_that_exist() -> None:
    folder = Path(pulumi_aws.__file__).parent
    for token in {token for rule in rules.RULES for token in (*rule.types, rule.needs, rule.companion) if token}:
        module, _, name = re.fullmatch(r"aws:(\w+)/(\w+):(\w+)", token).groups()  # pyright: ignore[reportOptionalMemberAccess]
        folder_name = {"lambda": "lambda_"}.get(module, module)
        assert any(f"'{token}'" in file.read_text() for file in (folder / folder_name).glob("*.py")), name
