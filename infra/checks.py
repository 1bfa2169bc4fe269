"""Checks of a resource's properties: pure functions from what is known of them to what is wrong with them."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.sections import NEVER_OPEN

Properties = Mapping[str, Any]


class Unknown:
    """Stands for a value that only the deployment will tell; whatever it takes part in is judged then."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True)
class Finding:
    """What is wrong with one property, and what to do."""

    property: str
    fault: str
    remedy: str


Check = Callable[[Properties], Iterator[Finding]]
EntranceCheck = Callable[[Properties, Collection[int]], Iterator[Finding]]
"""A check of a security group rule that is also told at which ports the world may reach the rule's group."""


def at(properties: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none, `UNKNOWN` where the path leads through an unknown."""
    value = properties
    for key in path.split("."):
        if value is UNKNOWN:
            return UNKNOWN
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def must_be(path: str, good: Callable[[Any], bool], fault: str, remedy: str) -> Check:
    """One property that must be right; a missing one is as wrong as a bad one."""

    def check(properties: Properties) -> Iterator[Finding]:
        value = at(properties, path)
        if value is not UNKNOWN and not good(value):
            yield Finding(path, f"{fault} (it is {_shown(value)})", remedy)

    return check


def each(*checks: Check) -> Check:
    """All findings of several checks."""

    def check(properties: Properties) -> Iterator[Finding]:
        for one in checks:
            yield from one(properties)

    return check


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, default=repr)


def is_true(value: Any) -> bool:
    """Exactly true; a missing or unset switch is off."""
    return value is True


def _listed(value: Any) -> list[Any]:
    if value is None or value is UNKNOWN:
        return []
    return [*value] if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def statements(properties: Properties, path: str = "policy") -> Iterator[tuple[int, Properties]]:
    """The statements of a policy document, numbered; none while the document is unknown."""
    value = at(properties, path)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return
    if isinstance(value, Mapping):
        for number, statement in enumerate(_listed(value.get("Statement"))):
            if isinstance(statement, Mapping):
                yield number, statement


_WORLD: Final = ("0.0.0.0/0", "::/0")
_WIDEST: Final = 8
_NAME_THEM: Final = "name the security group, prefix list or range that may come in"


def closed_entrance(properties: Properties, public_ports: Collection[int]) -> Iterator[Finding]:
    """No way in for the whole world by a rule of its own, but to a public port: one, over TCP and IPv4.

    Public are the ports on which the load balancer that wears the rule's group faces the internet, and nothing that
    machines are administered by.
    """
    ports = {properties.get("fromPort"), properties.get("toPort")}
    public = properties.get("ipProtocol") == "tcp" and len(ports) == 1 and ports <= set(public_ports) - {*NEVER_OPEN}
    for path in ("cidrIpv4", "cidrIpv6"):
        if properties.get(path) in _WORLD and not (public and path == "cidrIpv4"):
            yield Finding(path, f"lets the whole world in ({properties[path]})", _NAME_THEM)


def closed_list(properties: Properties) -> Iterator[Finding]:
    """A list of addresses for rules names networks, not the world or a large part of it."""
    for number, entry in enumerate(_listed(properties.get("entries"))):
        block = at(entry, "cidr")
        if isinstance(block, str) and int(block.rpartition("/")[2] or 0) < _WIDEST:
            yield Finding(f"entries[{number}].cidr", f"names too much of the world ({block})", _NAME_THEM)


def closed_group(properties: Properties) -> Iterator[Finding]:
    """No way in for the whole world, in a group with its rules inside."""
    for number, rule in enumerate(_listed(properties.get("ingress"))):
        for key in ("cidrBlocks", "ipv6CidrBlocks"):
            for block in _listed(at(rule, key)):
                if block in _WORLD:
                    yield Finding(f"ingress[{number}].{key}", f"lets the whole world in ({block})", _NAME_THEM)


def closed_rule(properties: Properties) -> Iterator[Finding]:
    """The same for the older kind of rule resource."""
    if properties.get("type") == "ingress":
        yield from closed_group({"ingress": [properties]})


def no_wildcard_action(properties: Properties) -> Iterator[Finding]:
    """An identity may do what is listed, and no more."""
    for number, statement in statements(properties):
        if statement.get("Effect") == "Allow":
            if "NotAction" in statement:
                yield Finding(f"policy.Statement[{number}].NotAction", "allows all but a few", "list the actions")
            for action in _listed(statement.get("Action")):
                if "*" in str(action):
                    yield Finding(f"policy.Statement[{number}].Action", f"allows {action}", "list the actions")


ACTIONS_WITHOUT_ARN: Final = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLifecycleHooks",
        "cloudwatch:GetMetricData",
        "cloudwatch:ListMetrics",
        "ec2:DescribeInstances",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSubnets",
        "ec2:DescribeTags",
        "ec2:DescribeVolumes",
        "ec2:DescribeVpcs",
        "kafka:ListClusters",
        "kafka:ListClustersV2",
        "logs:DescribeLogGroups",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
)
"""Actions for which IAM knows no narrower resource (Service Authorization Reference); ``*`` is all one can write."""


def no_wildcard_resource(properties: Properties) -> Iterator[Finding]:
    """``*`` as a resource only where IAM knows nothing narrower."""
    for number, statement in statements(properties):
        if statement.get("Effect") != "Allow" or "*" not in _listed(statement.get("Resource")):
            continue
        wide = sorted(str(a) for a in _listed(statement.get("Action")) if a not in ACTIONS_WITHOUT_ARN)
        if wide:
            yield Finding(
                f"policy.Statement[{number}].Resource", f"allows {', '.join(wide)} on everything", "name the ARNs"
            )


def no_public_policy(properties: Properties) -> Iterator[Finding]:
    """A resource policy allows nobody it does not name."""
    for number, statement in statements(properties):
        principal = statement.get("Principal")
        everyone = principal == "*" or "*" in _listed(at(principal, "AWS"))
        if statement.get("Effect") == "Allow" and everyone:
            yield Finding(f"policy.Statement[{number}].Principal", "allows everybody", "name the principals")


def tls_only(properties: Properties) -> Iterator[Finding]:
    """A resource policy refuses what does not come over TLS."""
    if at(properties, "policy") is UNKNOWN:
        return
    for _, statement in statements(properties):
        secure = at(statement, "Condition.Bool.aws:SecureTransport")
        if statement.get("Effect") == "Deny" and str(secure).lower() == "false":
            return
    yield Finding("policy", "takes calls without TLS", "deny what comes with aws:SecureTransport false (tls_only)")


def bucket_encrypted(properties: Properties) -> Iterator[Finding]:
    """Every default of a bucket encrypts with KMS."""
    for number, rule in enumerate(_listed(properties.get("rules"))):
        path = "applyServerSideEncryptionByDefault.sseAlgorithm"
        for finding in must_be(path, lambda it: it == "aws:kms", "is not KMS", "use aws:kms with a key")(rule):
            yield Finding(f"rules[{number}].{finding.property}", finding.fault, finding.remedy)


def template_disks_encrypted(properties: Properties) -> Iterator[Finding]:
    """Every disk of a launch template is encrypted with a key of ours, the image's root disk among them."""
    disks = properties.get("blockDeviceMappings")
    if disks is UNKNOWN:
        return
    if not _listed(disks):
        yield Finding("blockDeviceMappings", "leaves the root disk as it is in the image", "name it, encrypted")
    for number, disk in enumerate(_listed(disks)):
        for path, good, fault, remedy in (
            ("ebs.encrypted", lambda it: it in ("true", True), "stores data in the clear", 'set it to "true"'),
            ("ebs.kmsKeyId", bool, "has no key of ours", "give it the ARN of a KMS key"),
        ):
            for finding in must_be(path, good, fault, remedy)(disk):
                yield Finding(f"blockDeviceMappings[{number}].{finding.property}", finding.fault, finding.remedy)


def queue_encrypted(properties: Properties) -> Iterator[Finding]:
    """A queue stores messages encrypted, with SQS's key or one of ours."""
    managed, key = properties.get("sqsManagedSseEnabled"), properties.get("kmsMasterKeyId")
    if managed is not True and not key and managed is not UNKNOWN:
        yield Finding("sqsManagedSseEnabled", "stores messages in the clear", "set it, or kmsMasterKeyId")


def secret_encrypted(properties: Properties) -> Iterator[Finding]:
    """A secret has a key of ours: who may open it is then decided by the key as well."""
    key = properties.get("kmsKeyId")
    if key is not UNKNOWN and (not key or "alias/aws/" in key):
        yield Finding("kmsKeyId", f"is no key of ours (it is {_shown(key)})", "give it the ARN of a KMS key")


def inside_alone(properties: Properties) -> Iterator[Finding]:
    """A function inside the VPC has a security group of its own making, not the VPC's default one."""
    place = properties.get("vpcConfig")
    if place in (None, UNKNOWN):
        return
    for path, fault, remedy in (
        ("securityGroupIds", "has no security group", "give it one that says whom it may speak to"),
        ("subnetIds", "stands in no subnet", "give it the private subnets"),
    ):
        value = at(place, path)
        if value is not UNKNOWN and not value:
            yield Finding(f"vpcConfig.{path}", fault, remedy)


def topic_encrypted(properties: Properties) -> Iterator[Finding]:
    """A topic has a key of ours: CloudWatch cannot publish to one with the key that AWS manages."""
    key = properties.get("kmsMasterKeyId")
    if key is not UNKNOWN and (not key or "alias/aws/" in key):
        yield Finding("kmsMasterKeyId", f"is no key of ours (it is {_shown(key)})", "give it the ARN of a KMS key")
