"""Auto Scaling: launches that follow their template, may fail, say why, and are tried again.

Sources: Amazon EC2 Auto Scaling User Guide ("Troubleshoot Amazon EC2 Auto Scaling: EC2 instance launch failures",
"Required AWS KMS key policy for use with encrypted volumes", "Service-linked roles"), Auto Scaling API Reference.
moto launches from the template's default version only, everything into the first subnet, and knows no activities.
"""

import threading
import time
from collections import Counter
from typing import Any, Final

from moto.autoscaling import models, urls
from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import ASG_NAME_TAG, AutoScalingBackend, FakeAutoScalingGroup, InstanceState
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.utils import convert_tag_spec
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.moto_api._internal import mock_random

from envs.sandbox.aws import ec2_launch
from envs.sandbox.aws.host import Host

SERVICE: Final = "autoscaling.amazonaws.com"
_ROLE: Final = "AWSServiceRoleForAutoScaling"
_RETRY_S: Final = 1.0
"""AWS tries a failed launch again, the sooner the fewer failures there were."""
_REMEMBERED: Final = 100
"""AWS tells the activities of the last six weeks."""


class Group(FakeAutoScalingGroup):
    """A group that launches one instance after the other and remembers how each launch ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.activities: list[dict[str, Any]] = []
        self._failed_at: float | None = None
        super().__init__(*arguments, **options)

    def retry(self) -> None:
        """Tries again what failed, a moment later."""
        if self._failed_at is not None and time.monotonic() - self._failed_at > _RETRY_S:
            self._failed_at = None
            self.set_desired_capacity(self.desired_capacity)

    def replace_autoscaling_group_instances(self, count_needed: int, propagated_tags: dict[str, str]) -> None:
        if self.ec2_launch_template is None:
            super().replace_autoscaling_group_instances(count_needed, propagated_tags)
            return
        for _ in range(count_needed):
            started = utcnow()
            try:
                instance = self._launch(dict(propagated_tags))
            except ServiceException as error:
                self._failed_at = time.monotonic()
                self._remember(started, "", f"{error.message.rstrip('.')}. Launching EC2 instance failed.")
                return
            self.instance_states.append(
                InstanceState(instance, protected_from_scale_in=self.new_instances_protected_from_scale_in)
            )
            self._remember(started, instance.id)

    def _launch(self, tags: dict[str, str]) -> Any:
        assert self.ec2_launch_template is not None  # noqa: S101 (for the type checker: seen to by the caller)
        version = self.ec2_launch_template.get_version(self.launch_template_version)
        self._check_keys(version.data)
        zone, subnet = self._place()
        volume_tags = convert_tag_spec(version.data.get("TagSpecifications") or []).get("volume", {})
        reservation = self.ec2_backend.run_instances(
            version.image_id,
            1,
            version.user_data,
            [],
            instance_type=version.instance_type,
            is_instance_type_default=not version.instance_type,
            # A tag of the group wins over the template's.
            tags={"instance": {**version.instance_tags, **tags, ASG_NAME_TAG: self.name}, "volume": volume_tags},
            region_name=self.region,
            placement=zone,
            subnet_id=subnet,
            launch_template={"LaunchTemplateId": self.ec2_launch_template.id, "Version": str(version.number)},
            associate_public_ip=None,
        )
        instance: Any = reservation.instances[0]
        instance.autoscaling_group = self
        return instance

    def _place(self) -> tuple[str, str | None]:
        """The zone, and the subnet if the group has any, with the fewest of its instances."""
        if self.vpc_zone_identifier:
            used = Counter(state.instance.subnet_id for state in self.instance_states)
            subnets = [self.ec2_backend.get_subnet(each) for each in self.vpc_zone_identifier.split(",")]
            subnet = min(subnets, key=lambda each: used[each.id])
            return subnet.availability_zone, subnet.id
        zones = Counter(state.availability_zone for state in self.instance_states)
        return min(self.availability_zones, key=lambda each: zones[each]), None

    def _check_keys(self, data: dict[str, Any]) -> None:
        """Disks under a customer's key need a key policy or a grant that names the service-linked role."""
        kms = kms_backends[self.account_id][self.region]
        for each in data.get("BlockDeviceMappings") or []:
            if not (key_id := (each.get("Ebs") or {}).get("KmsKeyId")):
                continue
            key = kms.keys.get(kms.get_key_id(key_id))
            granted = key is not None and any(
                grant.grantee_principal == self.service_linked_role_arn and "CreateGrant" in grant.operations
                for grant in key.grants.values()
            )
            if key is None or not (granted or self.service_linked_role_arn in key.policy):
                raise EC2ClientError("Client.InternalError", "Client.InternalError: Client error on launch")

    def _remember(self, started: Any, instance_id: str, failure: str = "") -> None:
        there = len(self.instance_states)
        before = there if failure else there - 1
        activity = {
            "ActivityId": str(mock_random.uuid4()),
            "AutoScalingGroupName": self.name,
            "AutoScalingGroupARN": self.arn,
            "Description": f"Launching a new EC2 instance{f': {instance_id}' if instance_id else ''}",
            "Cause": f"At {started:%Y-%m-%dT%H:%M:%SZ} an instance was started in response to a difference between "
            f"desired and actual capacity, increasing the capacity from {before} to {before + 1}.",
            "StartTime": started,
            "EndTime": utcnow(),
            "StatusCode": "Failed" if failure else "Successful",
            "Progress": 100,
        }
        self.activities = [activity | ({"StatusMessage": failure} if failure else {}), *self.activities][:_REMEMBERED]


class GroupsBackend(AutoScalingBackend):
    """moto's backend, with the checks of a template and the second attempts that it leaves out."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._lock = threading.RLock()

    @property
    def _url_module(self) -> Any:
        return urls

    def create_auto_scaling_group(self, *arguments: Any, **options: Any) -> FakeAutoScalingGroup:
        if options["name"] in self.autoscaling_groups:
            raise AutoscalingClientError("AlreadyExists", "AutoScalingGroup by this name already exists")
        self._check_template(options.get("launch_template"))
        self._make_role()
        with self._lock:
            return super().create_auto_scaling_group(*arguments, **options)

    def update_auto_scaling_group(self, *arguments: Any, **options: Any) -> FakeAutoScalingGroup:
        self._check_template(options.get("launch_template"))
        with self._lock:
            return super().update_auto_scaling_group(*arguments, **options)

    def describe_auto_scaling_groups(self, names: list[str], filters: Any = None) -> list[FakeAutoScalingGroup]:
        found = super().describe_auto_scaling_groups(names, filters)
        with self._lock:
            for group in found:
                if isinstance(group, Group):
                    group.retry()
        return found

    def notify_terminate_instances(self, instance_ids: list[str]) -> None:
        with self._lock:
            super().notify_terminate_instances(instance_ids)
            for name, group in self.autoscaling_groups.items():
                if all(arn in self.elbv2_backend.target_groups for arn in group.target_group_arns):
                    self.update_attached_target_groups(name)

    def update_attached_target_groups(self, group_name: str) -> None:
        super().update_attached_target_groups(group_name)
        # moto registers what comes, and keeps what a smaller capacity ended.
        ended = [instance.id for instance in self.ec2_backend.all_instances() if instance.state == "terminated"]
        self.elbv2_backend.notify_terminate_instances(ended)

    def _check_template(self, named: dict[str, Any] | None) -> None:
        """A group is refused for what EC2 would refuse of a trial launch."""
        if not named:
            return
        backend: Any = self.ec2_backend
        data = ec2_launch.template_data(backend, {"launch_template": named})
        try:
            ec2_launch.resolve_image(backend, data.get("ImageId") or "")
            ec2_launch.check_template(data)
            ec2_launch.profile(backend, data)
        except EC2ClientError as error:
            raise ValidationError(
                f"You must use a valid fully-formed launch template. {error.message} (Service: AmazonEC2; "
                f"Error Code: {error.code})"
            ) from error

    def _make_role(self) -> None:
        """The first group of an account makes the service-linked role."""
        iam = iam_backends[self.account_id][self.partition]
        if all(role.name != _ROLE for role in iam.roles.values()):
            iam.create_service_linked_role(SERVICE, "Default Service-Linked Role", "")


class _Response(AutoScalingResponse):
    """moto's responses, with the activities."""

    def describe_scaling_activities(self) -> ActionResult:
        name = self._get_param("AutoScalingGroupName")
        if name and name not in self.autoscaling_backend.autoscaling_groups:
            raise ValidationError(f"Group {name} not found")
        wanted = self._get_param("ActivityIds", [])
        activities = [
            activity
            for group in self.autoscaling_backend.autoscaling_groups.values()
            for activity in (group.activities if isinstance(group, Group) and name in (None, group.name) else [])
            if not wanted or activity["ActivityId"] in wanted
        ]
        return ActionResult({"Activities": activities})

    def delete_auto_scaling_group(self) -> ActionResult:
        group = self.autoscaling_backend.autoscaling_groups.get(self._get_param("AutoScalingGroupName"))
        if group is not None and group.instance_states and not self._get_bool_param("ForceDelete", False):
            raise AutoscalingClientError(
                "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances still in the group."
            )
        return super().delete_auto_scaling_group()


def install(_host: Host) -> None:
    """Puts this backend, its groups and its responses in the place of moto's."""
    models.autoscaling_backends.backend = GroupsBackend
    models.FakeAutoScalingGroup = Group  # type: ignore[misc]
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)
