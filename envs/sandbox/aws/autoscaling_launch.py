"""One launch of a group: what its template says, where it is placed, and what EC2 or KMS refuse.

Sources: Amazon EC2 Auto Scaling User Guide ("Required AWS KMS key policy for use with encrypted volumes",
"Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures"). moto launches from the default version of a
template only, and everything into the first subnet.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from moto.autoscaling.models import ASG_NAME_TAG, FakeAutoScalingGroup
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance
from moto.ec2.utils import convert_tag_spec
from moto.kms.models import kms_backends


def launch(group: FakeAutoScalingGroup, present: Sequence[Instance]) -> tuple[Instance, str]:
    """A new machine and the version of the template it was made from; `present` are those that it comes to.

    Raises moto's exceptions with EC2's reason.
    """
    assert group.ec2_launch_template is not None  # noqa: S101 (for the type checker: a group without is refused)
    version: Any = group.ec2_launch_template.get_version(group.launch_template_version)
    _check_keys(group, version.data)
    zone, subnet = _place(group, present)
    volume_tags = convert_tag_spec(version.data.get("TagSpecifications") or []).get("volume", {})
    # A tag of the group wins over the template's.
    tags = {**version.instance_tags, **group.get_propagated_tags(), ASG_NAME_TAG: group.name}
    reservation = group.ec2_backend.run_instances(
        version.image_id,
        1,
        version.user_data,
        [],
        instance_type=version.instance_type,
        is_instance_type_default=not version.instance_type,
        tags={"instance": tags, "volume": volume_tags},
        region_name=group.region,
        placement=zone,
        subnet_id=subnet,
        launch_template={"LaunchTemplateId": group.ec2_launch_template.id, "Version": str(version.number)},
        associate_public_ip=None,
    )
    machine: Any = reservation.instances[0]
    machine.autoscaling_group = group
    return machine, str(version.number)


def _place(group: FakeAutoScalingGroup, present: Sequence[Instance]) -> tuple[str, str | None]:
    """The zone, and the subnet if the group has any, with the fewest of its instances."""
    if group.vpc_zone_identifier:
        used = Counter(machine.subnet_id for machine in present)
        subnets = [group.ec2_backend.get_subnet(each) for each in group.vpc_zone_identifier.split(",")]
        subnet = min(subnets, key=lambda each: used[each.id])
        return subnet.availability_zone, subnet.id
    zones = Counter(machine.availability_zone for machine in present)
    return min(group.availability_zones, key=lambda each: zones[each]), None


def _check_keys(group: FakeAutoScalingGroup, data: dict[str, Any]) -> None:
    """Disks under a customer's key need a key policy or a grant that names the service-linked role."""
    kms = kms_backends[group.account_id][group.region]
    for each in data.get("BlockDeviceMappings") or []:
        if not (key_id := (each.get("Ebs") or {}).get("KmsKeyId")):
            continue
        key = kms.keys.get(kms.get_key_id(key_id))
        granted = key is not None and any(
            grant.grantee_principal == group.service_linked_role_arn and "CreateGrant" in grant.operations
            for grant in key.grants.values()
        )
        if key is None or not (granted or group.service_linked_role_arn in key.policy):
            raise EC2ClientError("Client.InternalError", "Client.InternalError: Client error on launch")
