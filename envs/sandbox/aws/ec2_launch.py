"""What a launch takes from its template, and what EC2 refuses of it; moto takes tags, disks and user data only.

Sources: EC2 API Reference (RunInstances, RequestLaunchTemplateData, error codes), EC2 User Guide ("Use a Systems
Manager parameter instead of an AMI ID", "Network interfaces").
"""

from collections.abc import Mapping
from typing import Any, Final

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.utils import filter_iam_instance_profiles
from moto.ssm.models import ssm_backends

MAX_USER_DATA: Final = 16 * 1024
"""Bytes before they are encoded (EC2 User Guide, "Run commands when you launch an EC2 instance with user data")."""
_RESOLVE: Final = "resolve:ssm:"
_ROOT_GIB: Final = 8

Options = dict[str, Any]


def template_data(backend: EC2Backend, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the version of the launch template says that a launch names; nothing when it names none."""
    named = options.get("launch_template")
    return backend._get_template_from_args(named).data if named else {}


def complete(backend: EC2Backend, image_id: str, count: int, options: Options) -> tuple[str, Options]:
    """The image and the options of a launch with all that its template says. Raises EC2's refusals."""
    data = template_data(backend, options)
    image = resolve_image(backend, image_id or data.get("ImageId") or "")
    interfaces = options.get("nics") or data.get("NetworkInterfaces") or []
    _check_interfaces(backend, interfaces, count, options)
    check_template({**data, "NetworkInterfaces": interfaces})
    profile(backend, data)
    found: Options = {
        **options,
        "nics": interfaces,
        "metadata_options": {**(data.get("MetadataOptions") or {}), **(options.get("metadata_options") or {})},
    }
    if "block_device_mappings" not in options and data.get("BlockDeviceMappings"):
        found["block_device_mappings"] = _disks(backend, image, data["BlockDeviceMappings"])
    return image, found


def resolve_image(backend: EC2Backend, image_id: str) -> str:
    """The id of an image that may be given by a public parameter; the image must exist."""
    if image_id.startswith(_RESOLVE):
        name = image_id.removeprefix(_RESOLVE)
        parameter = ssm_backends[backend.account_id][backend.region_name].get_parameter(name)
        if parameter is None:
            raise EC2ClientError("InvalidParameterValue", f"The SSM parameter {name} could not be found.")
        image_id = str(parameter.value)
    if image_id and image_id not in backend.amis:
        raise EC2ClientError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    return image_id


def check_template(data: Mapping[str, Any]) -> None:
    """What a template cannot say at once."""
    if data.get("NetworkInterfaces") and data.get("SecurityGroupIds"):
        raise EC2ClientError(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level security groups may not be specified on the same request",
        )


def profile(backend: EC2Backend, data: Mapping[str, Any]) -> dict[str, str]:
    """The template's instance profile by name or ARN; it must exist."""
    named: dict[str, str] = data.get("IamInstanceProfile") or {}
    name, arn = named.get("Name"), named.get("Arn")
    if not name and not arn:
        return {}
    try:
        filter_iam_instance_profiles(backend.account_id, backend.partition, arn, name)
    except ServiceException as error:
        kind = "arn" if arn else "name"
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ({arn or name}) for parameter iamInstanceProfile.{kind} is invalid. "
            f"Invalid IAM Instance Profile {'ARN' if arn else 'name'}",
        ) from error
    return {"iam_instance_profile_arn": arn} if arn else {"iam_instance_profile_name": name or ""}


def _check_interfaces(
    backend: EC2Backend, interfaces: list[dict[str, Any]], count: int, options: Mapping[str, Any]
) -> None:
    for each in interfaces:
        if not (identifier := each.get("NetworkInterfaceId")):
            continue
        if options.get("subnet_id"):
            raise EC2ClientError(
                "InvalidParameterCombination",
                "Network interfaces and an instance-level subnet ID may not be specified on the same request",
            )
        if count > 1 or str(each.get("DeleteOnTermination")).lower() == "true":
            raise EC2ClientError(
                "InvalidParameterCombination",
                f"The existing network interface {identifier} is for one instance, which cannot delete it",
            )
        interface = backend.get_network_interface(identifier)
        if interface.status == "in-use":
            raise EC2ClientError("InvalidNetworkInterface.InUse", f"Interface: [{identifier}] in use.")
        zone = options.get("placement")
        if zone and zone != interface.availability_zone:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({zone}) for parameter availabilityZone is invalid. Subnet '{interface.subnet_id}' is in the "
                f"availability zone {interface.availability_zone}",
            )


def _disks(backend: EC2Backend, image_id: str, named: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The disks that a template names, and the image's root when it is not among them."""
    image = backend.amis.get(image_id)
    root = (image and image.root_device_name) or "/dev/sda1"
    if any(each["DeviceName"] == root for each in named):
        return named
    return [{"DeviceName": root, "Ebs": {"VolumeSize": _ROOT_GIB, "DeleteOnTermination": True}}, *named]
