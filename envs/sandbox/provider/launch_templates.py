"""Launch templates: what the instances of a group are."""

from typing import Any, Final

from envs.sandbox.provider.aws import Aws, find, ignoring
from envs.sandbox.provider.ec2 import TAGGING, specifications
from envs.sandbox.provider.resource import Args, AutoName, Resource
from envs.sandbox.provider.schema import block, boolean, integer, mapping, sequence, text, unordered
from envs.sandbox.provider.translate import answer, request, tag_list, tag_map

_DISK: Final = block(
    {
        "deleteOnTermination": text(),
        "encrypted": text(),
        "iops": integer(computed=True),
        "kmsKeyId": text(),
        "snapshotId": text(),
        "throughput": integer(computed=True),
        "volumeSize": integer(computed=True),
        "volumeType": text(computed=True),
    }
)
_DATA: Final = {
    "blockDeviceMappings": sequence(
        block({"deviceName": text(), "ebs": _DISK, "noDevice": text(), "virtualName": text()})
    ),
    "disableApiTermination": boolean(),
    "iamInstanceProfile": block({"arn": text(), "name": text()}),
    "imageId": text(),
    "instanceType": text(),
    "keyName": text(),
    "metadataOptions": block(
        {
            "httpEndpoint": text(computed=True),
            "httpPutResponseHopLimit": integer(computed=True),
            "httpTokens": text(computed=True),
            "instanceMetadataTags": text(computed=True),
        },
        computed=True,
    ),
    "networkInterfaces": sequence(
        block(
            {
                "associatePublicIpAddress": text(),
                "deleteOnTermination": text(),
                "description": text(),
                "deviceIndex": integer(),
                "networkInterfaceId": text(),
                "securityGroups": unordered(text(), api="Groups"),
                "subnetId": text(),
            }
        )
    ),
    "tagSpecifications": sequence(block({"resourceType": text(), "tags": mapping(text())})),
    "userData": text(),
    "vpcSecurityGroupIds": unordered(text(), api="SecurityGroupIds"),
}
"""What a version of the template says; the rest is the template's own."""
_FLAGS: Final = ("associatePublicIpAddress", "deleteOnTermination", "encrypted")
"""Booleans that the official provider takes as strings, to tell "false" from unset."""


def _data(args: Args) -> dict[str, Any]:
    wanted = request(_DATA, args)
    disks = [device.get("Ebs", {}) for device in wanted.get("BlockDeviceMappings", [])]
    for each in (*disks, *wanted.get("NetworkInterfaces", [])):
        for name in ("AssociatePublicIpAddress", "DeleteOnTermination", "Encrypted"):
            if name in each:
                each[name] = each[name] == "true"
    for each in wanted.get("TagSpecifications", []):
        each["Tags"] = tag_list(each.get("Tags"))
    return wanted


def _read_data(told: dict[str, Any]) -> Args:
    found = answer(_DATA, told)
    disks = [device.get("ebs") or {} for device in found.get("blockDeviceMappings", [])]
    for each in (*disks, *found.get("networkInterfaces", [])):
        each.update({name: str(each[name]).lower() for name in _FLAGS if name in each})
    for each, said in zip(found.get("tagSpecifications", []), told.get("TagSpecifications", []), strict=True):
        each["tags"] = tag_map(said.get("Tags"))
    return found


def _create(aws: Aws, args: Args) -> str:
    about = {"VersionDescription": args["description"]} if args.get("description") else {}
    wanted = {"LaunchTemplateName": args["name"], "LaunchTemplateData": _data(args), **about}
    made = aws.client("ec2").create_launch_template(**wanted, **specifications("launch-template", args))
    return made["LaunchTemplate"]["LaunchTemplateId"]


def _read(aws: Aws, identifier: str, _: Args) -> Args | None:
    ec2 = aws.client("ec2")
    found = find(
        lambda: ec2.describe_launch_templates(LaunchTemplateIds=[identifier])["LaunchTemplates"],
        "InvalidLaunchTemplateId.NotFound",
    )
    if not found:
        return None
    template = found[0]
    latest = template["LatestVersionNumber"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=identifier, Versions=[str(latest)])
    version = versions["LaunchTemplateVersions"][0]
    return {
        **_read_data(version["LaunchTemplateData"]),
        "name": template["LaunchTemplateName"],
        "description": version.get("VersionDescription"),
        "defaultVersion": template["DefaultVersionNumber"],
        "arn": aws.arn("ec2", f"launch-template/{identifier}"),
        "latestVersion": latest,
        "tagsAll": tag_map(template.get("Tags")),
    }


def _update(aws: Aws, identifier: str, _: Args, new: Args, changed: set[str]) -> None:
    ec2 = aws.client("ec2")
    if changed & {*_DATA, "description"}:
        # A template is changed by a new version of it.
        about = {"VersionDescription": new["description"]} if new.get("description") else {}
        made = ec2.create_launch_template_version(LaunchTemplateId=identifier, LaunchTemplateData=_data(new), **about)
        if new.get("updateDefaultVersion"):
            number = str(made["LaunchTemplateVersion"]["VersionNumber"])
            ec2.modify_launch_template(LaunchTemplateId=identifier, DefaultVersion=number)
    if "defaultVersion" in changed and new.get("defaultVersion"):
        ec2.modify_launch_template(LaunchTemplateId=identifier, DefaultVersion=str(new["defaultVersion"]))


def _delete(aws: Aws, identifier: str, _: Args) -> None:
    with ignoring("InvalidLaunchTemplateId.NotFound"):
        aws.client("ec2").delete_launch_template(LaunchTemplateId=identifier)


LAUNCH_TEMPLATE: Final = Resource(
    type_name="aws:ec2/launchTemplate:LaunchTemplate",
    inputs={
        **_DATA,
        "defaultVersion": integer(computed=True),
        "description": text(),
        "name": text(computed=True),
        "updateDefaultVersion": boolean(write_only=True),
    },
    outputs=("arn", "latestVersion"),
    replaces={"name": "internal/service/ec2/ec2_launch_template.go"},
    create=_create,
    read=_read,
    update=_update,
    delete=_delete,
    tagging=TAGGING,
    name=AutoName(longest=125),
    recomputed_by={"latestVersion": (*_DATA, "description"), "defaultVersion": ("updateDefaultVersion",)},
)

RESOURCES: Final = (LAUNCH_TEMPLATE,)
