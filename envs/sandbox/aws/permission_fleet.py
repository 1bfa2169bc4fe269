"""What calls about machines, disks, interfaces and groups need: EC2 and Auto Scaling.

Service Authorization Reference ("Actions, resources, and condition keys for Amazon EC2", "... for Amazon EC2 Auto
Scaling"); EC2 API Reference ("Granting permission to tag resources during creation"); EBS User Guide, "Requirements
for Amazon EBS encryption": whoever makes or attaches an encrypted volume uses its key through EC2.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from moto.autoscaling.models import autoscaling_backends
from moto.ec2.models import ec2_backends

from envs.sandbox.aws.permission_terms import Asked, Need, kms_need

_KINDS: Final = {"eni": "network-interface", "i": "instance", "snap": "snapshot", "vol": "volume"}
_ON: Final = {
    "AttachNetworkInterface": ("InstanceId", "NetworkInterfaceId"),
    "AttachVolume": ("InstanceId", "VolumeId"),
    "DetachVolume": ("InstanceId", "VolumeId"),
    "RebootInstances": ("InstanceId",),
    "StartInstances": ("InstanceId",),
    "StopInstances": ("InstanceId",),
    "TerminateInstances": ("InstanceId",),
}
"""Operations and the parameters that name what they act on."""
_OF_A_GROUP: Final = frozenset(
    {
        "CompleteLifecycleAction",
        "RecordLifecycleActionHeartbeat",
        "SetDesiredCapacity",
        "SetInstanceHealth",
        "SetInstanceProtection",
        "TerminateInstanceInAutoScalingGroup",
    }
)


_COMPLETE: Final = frozenset(
    {
        *("aws:requesttag/*", "aws:resourcetag/*", "autoscaling:resourcetag/*"),
        *("ec2:createaction", "ec2:instanceid", "ec2:resourcetag/*"),
    }
)


def ec2(asked: Asked) -> list[Need] | None:
    """What a call of EC2 needs; None for one that is not known."""
    match asked.operation:
        case operation if operation.startswith("Describe"):
            # IAM knows no resource for what only describes.
            return [Need(f"ec2:{operation}", "*")]
        case "CreateTags":
            tags = dict(_tags(asked.parameters, "Tag"))
            return [_on(asked, each, "CreateTags", _requested(tags)) for each in _given(asked, "ResourceId")]
        case "CreateSnapshot":
            made = f"arn:aws:ec2:{asked.region}::snapshot/*"
            source = [_on(asked, each, "CreateSnapshot") for each in _given(asked, "VolumeId")]
            return [*source, _need("ec2:CreateSnapshot", made), *_tagging(asked, "snapshot", made)]
        case "CreateVolume":
            return _create_volume(asked)
        case operation if operation in _ON:
            named = [each for name in _ON[operation] for each in _given(asked, name)]
            grants = _volume_key(asked, ("CreateGrant",)) if operation == "AttachVolume" else []
            return [*(_on(asked, each, operation) for each in named), *grants]
    return None


def autoscaling(asked: Asked) -> list[Need] | None:
    """What a call of Auto Scaling needs; None for one that is not known."""
    if asked.operation.startswith("Describe"):
        return [Need(f"autoscaling:{asked.operation}", "*")]
    if asked.operation not in _OF_A_GROUP:
        return None
    groups = autoscaling_backends[asked.account][asked.region].autoscaling_groups
    name, instance = asked.parameters.get("AutoScalingGroupName"), asked.parameters.get("InstanceId")
    group = groups.get(name or "") or next(
        (each for each in groups.values() if any(state.instance_id == instance for state in each.instance_states)),
        None,
    )
    if group is None:
        resource = asked.arn(f"autoScalingGroup:*:autoScalingGroupName/{name or '*'}")
        return [_need(f"autoscaling:{asked.operation}", resource)]
    tags = {str(tag["Key"]): str(tag.get("Value", "")) for tag in group.tags}
    return [_need(f"autoscaling:{asked.operation}", group.arn, _tagged("autoscaling", tags))]


def _create_volume(asked: Asked) -> list[Need]:
    made = asked.arn("volume/*")
    tags = dict(_specified(asked, "volume"))
    encrypted = asked.parameters.get("Encrypted", "false").lower()
    found = _tagging(asked, "volume", made)
    key = asked.parameters.get("KmsKeyId")
    uses = ["CreateGrant", "DescribeKey", "GenerateDataKeyWithoutPlaintext"]
    for each in _given(asked, "SnapshotId"):
        found.append(_on(asked, each, "CreateVolume"))
        snapshot = ec2_backends[asked.account][asked.region].snapshots.get(each)
        if snapshot is not None and snapshot.encrypted:
            encrypted = "true"
            key = key or snapshot.kms_key_id
            uses.append("Decrypt")
    context = {**_requested(tags), "ec2:Encrypted": encrypted}
    return [_need("ec2:CreateVolume", made, context), *found, *_key_uses(asked, key, uses)]


def _volume_key(asked: Asked, uses: Sequence[str]) -> list[Need]:
    volume = ec2_backends[asked.account][asked.region].volumes.get(asked.parameters.get("VolumeId", ""))
    return _key_uses(asked, volume.kms_key_id if volume is not None and volume.encrypted else None, uses)


def _key_uses(asked: Asked, key_id: str | None, uses: Sequence[str]) -> list[Need]:
    """The uses of a customer's key through EC2; AWS's own keys ask nobody."""
    context = {"kms:GrantIsForAWSResource": "true", "kms:ViaService": f"ec2.{asked.region}.amazonaws.com"}
    found = [kms_need(use, key_id, asked.account, asked.region, context) for use in uses] if key_id else []
    return [need for need in found if need is not None]


def _need(action: str, resource: str, context: Mapping[str, str] | None = None) -> Need:
    return Need(action, resource, context=context or {}, complete=_COMPLETE)


def _on(asked: Asked, identifier: str, action: str, context: Mapping[str, str] | None = None) -> Need:
    """An action on something that is there, with its tags."""
    kind = _KINDS.get(identifier.partition("-")[0], "*")
    owner = "" if kind == "snapshot" else asked.account
    arn = f"arn:aws:ec2:{asked.region}:{owner}:{kind}/{identifier}"
    told = ec2_backends[asked.account][asked.region].describe_tags({"resource-id": [identifier]})
    tags = {str(tag["key"]): str(tag["value"]) for tag in told}
    own = {"ec2:InstanceID": identifier} if kind == "instance" else {}
    return _need(f"ec2:{action}", arn, {**_tagged("ec2", tags), **own, **(context or {})})


def _tagging(asked: Asked, kind: str, arn: str) -> list[Need]:
    """What is tagged while it is made needs the right to tag it, too."""
    tags = dict(_specified(asked, kind))
    made = {"ec2:CreateAction": asked.operation, **_requested(tags)}
    return [_need("ec2:CreateTags", arn, made)] if tags else []


def _specified(asked: Asked, kind: str) -> Iterator[tuple[str, str]]:
    for name, value in asked.parameters.items():
        found = re.fullmatch(r"(TagSpecification\.\d+)\.ResourceType", name)
        if found and value == kind:
            yield from _tags(asked.parameters, f"{found[1]}.Tag")


def _tags(parameters: Mapping[str, Any], above: str) -> Iterator[tuple[str, str]]:
    for name, value in parameters.items():
        if found := re.fullmatch(rf"({re.escape(above)}\.\d+)\.Key", name):
            yield value, parameters.get(f"{found[1]}.Value", "")


def _given(asked: Asked, name: str) -> list[str]:
    """A parameter, be it one value or a list."""
    listed = re.compile(rf"{name}(\.\d+)?")
    return [value for parameter, value in asked.parameters.items() if listed.fullmatch(parameter)]


def _requested(tags: Mapping[str, str]) -> dict[str, str]:
    return {f"aws:RequestTag/{key}": value for key, value in tags.items()}


def _tagged(service: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}:ResourceTag/{key}": value for prefix in ("aws", service) for key, value in tags.items()}
