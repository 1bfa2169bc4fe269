"""EC2: no default VPC, VPC endpoints that keep what they were given, and deletions that AWS refuses.

A program that relies on a default VPC, on an endpoint service that does not exist, or on an order of deletion that
AWS does not allow, fails here as it does there (VPC User Guide, "Delete your VPC"; AWS PrivateLink Guide, "Access an
AWS service using an interface VPC endpoint"; EC2 API Reference, error codes).
"""

import base64
import json
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2 import urls
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError, InvalidVpcEndPointIdError
from moto.ec2.models import ec2_backends, vpcs
from moto.ec2.models.launch_templates import LaunchTemplateVersion
from moto.ec2.models.vpcs import VPC, VPCEndPoint
from moto.ec2.utils import parse_user_data

from envs.sandbox.aws import ec2_launch, ec2_storage
from envs.sandbox.aws.ec2_machines import MachineResponses, Machines
from envs.sandbox.aws.ec2_storage import Storage, StorageResponses
from envs.sandbox.aws.flow_logs import FlowLogs
from envs.sandbox.aws.host import Host
from envs.sandbox.aws.nat import NatGateways
from envs.sandbox.aws.prefix_lists import PrefixLists


class Ec2Backend(Machines, Storage, NatGateways, FlowLogs, PrefixLists):
    """moto's backend, with the rules that it leaves out."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._ready = False
        super().__init__(region_name, account_id)
        self._ready = True
        for image in self.amis.values():
            # The public images' snapshots belong to whom the images belong.
            image.ebs_snapshot.owner_id = image.owner_id

    @property
    def _url_module(self) -> Any:
        return urls

    def create_default_vpc(self) -> VPC:
        if not self._ready:
            return None  # type: ignore[return-value] (moto makes one with every backend)
        self.default_vpc = super().create_default_vpc()
        return self.default_vpc

    def create_security_group(
        self, name: str, description: str, vpc_id: str | None = None, *arguments: Any, **options: Any
    ) -> Any:
        if vpc_id is None and self.default_vpc is None:
            raise EC2ClientError("VPCIdNotSpecified", "No default VPC for this user")
        return super().create_security_group(name, description, vpc_id, *arguments, **options)

    # Endpoints

    def create_vpc_endpoint(
        self,
        vpc_id: str,
        service_name: str,
        endpoint_type: str | None,
        *arguments: Any,
        subnet_ids: list[str] | None = None,
        security_group_ids: list[str] | None = None,
        private_dns_enabled: bool | None = None,
        **options: Any,
    ) -> VPCEndPoint:
        endpoint_type = endpoint_type or "Gateway"
        interface = endpoint_type == "Interface"
        vpc = self.get_vpc(vpc_id)
        self._check_service(service_name, endpoint_type)
        if interface:
            self._check_private_dns(vpc, private_dns_enabled)
            security_group_ids = security_group_ids or [self._default_group(vpc_id)]
        made = super().create_vpc_endpoint(
            vpc_id,
            service_name,
            endpoint_type,
            *arguments,
            subnet_ids=subnet_ids,
            security_group_ids=security_group_ids if interface else [],
            private_dns_enabled=bool(private_dns_enabled) if interface else False,
            **options,
        )
        made.ip_address_type = "ipv4"  # type: ignore[attr-defined]
        made.requester_managed = False  # type: ignore[attr-defined]
        if interface:
            made.dns_options = {"DnsRecordIpType": "ipv4"}  # type: ignore[attr-defined]
            self._dress_interfaces(made)
        return made

    def modify_endpoint(self, endpoint_id: str, change: dict[str, Any]) -> None:
        """ModifyVpcEndpoint with the fields of its request; interfaces and routes follow."""
        found = self.describe_vpc_endpoints([endpoint_id])[0]
        private_dns = change.get("PrivateDnsEnabled")
        if private_dns is not None:
            self._check_private_dns(self.get_vpc(found.vpc_id), private_dns)
            found.private_dns_enabled = private_dns
        if change.get("ResetPolicy"):
            found.policy_document = json.dumps(VPCEndPoint.DEFAULT_POLICY)
        for subnet in change.get("AddSubnetIds", []):
            if subnet not in found.subnet_ids:
                found.network_interface_ids.append(self.create_network_interface(subnet, []).id)
        for subnet in change.get("RemoveSubnetIds", []):
            for interface in [each for each in found.network_interface_ids if self.enis[each].subnet.id == subnet]:
                found.network_interface_ids.remove(interface)
                del self.enis[interface]
        for table in change.get("AddRouteTableIds", []):
            self.create_route(
                table, None, gateway_id=found.id, destination_prefix_list_id=found.destination_prefix_list_id
            )
        for table in change.get("RemoveRouteTableIds", []):
            self.delete_route(table, found.destination_prefix_list_id or "")
        found.modify(
            change.get("PolicyDocument"),
            change.get("AddSubnetIds"),
            change.get("RemoveSubnetIds"),
            change.get("AddRouteTableIds"),
            change.get("RemoveRouteTableIds"),
            change.get("AddSecurityGroupIds"),
            change.get("RemoveSecurityGroupIds"),
        )
        if found.vpc_endpoint_type == "Interface":
            self._dress_interfaces(found)

    def delete_vpc_endpoints(self, vpce_ids: list[str] | None = None) -> None:
        for endpoint_id in vpce_ids or []:
            if endpoint_id not in self.vpc_end_points:
                raise InvalidVpcEndPointIdError(endpoint_id)
        super().delete_vpc_endpoints(vpce_ids)
        # On AWS a deleted endpoint is shown for a while; moto would show it for ever.
        for endpoint_id in vpce_ids or []:
            del self.vpc_end_points[endpoint_id]

    # Deletions

    def delete_subnet(self, subnet_id: str) -> Any:
        if any(interface.subnet.id == subnet_id for interface in self.enis.values()):
            raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return super().delete_subnet(subnet_id)

    def delete_security_group(self, name: str | None = None, group_id: str | None = None) -> None:
        if group_id is not None and self._group_in_use(group_id):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        super().delete_security_group(name, group_id)

    def delete_vpc(self, vpc_id: str) -> VPC:
        gateways = self.describe_internet_gateways(filters={"attachment.vpc-id": [vpc_id]})
        endpoints = [each for each in self.vpc_end_points.values() if each.vpc_id == vpc_id]
        groups = [each for each in self.groups.get(vpc_id, {}).values() if not each.is_default]
        if gateways or endpoints or groups:
            raise DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        deleted = super().delete_vpc(vpc_id)
        for acl in [each.id for each in self.network_acls.values() if each.vpc_id == vpc_id]:
            del self.network_acls[acl]
        self.groups.pop(vpc_id, None)
        return deleted

    def _group_in_use(self, group_id: str) -> bool:
        if any(group.id == group_id for interface in self.enis.values() for group in interface.group_set):
            return True
        return any(
            (rule.source_group or {}).get("GroupId") == group_id
            for groups in self.groups.values()
            for group in groups.values()
            if group.id != group_id
            for rule in (*group.ingress_rules, *group.egress_rules)
        )

    def _check_service(self, name: str, kind: str) -> None:
        offered = self.describe_vpc_endpoint_services(
            service_names=[], filters=[], max_results=1000, next_token=None, region=self.region_name
        )
        kinds = {
            each["ServiceName"]: [entry["ServiceType"] for entry in each["ServiceType"]]
            for each in offered["servicesDetails"]
        }
        if name not in offered["serviceNames"]:
            raise EC2ClientError("InvalidServiceName", f"The Vpc Endpoint Service '{name}' does not exist")
        if kind == "Gateway" and not name.endswith((".s3", ".dynamodb")):
            raise EC2ClientError(
                "InvalidParameter",
                f"Endpoint type (Gateway) does not match available service types ({kinds.get(name)}).",
            )

    @staticmethod
    def _check_private_dns(vpc: VPC, wanted: bool | None) -> None:
        if wanted and not (vpc.enable_dns_support and vpc.enable_dns_hostnames):
            raise EC2ClientError(
                "InvalidParameter",
                "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to "
                f"true for {vpc.id}",
            )

    def _default_group(self, vpc_id: str) -> str:
        return next(group.id for group in self.groups[vpc_id].values() if group.is_default)

    def _dress_interfaces(self, endpoint: VPCEndPoint) -> None:
        """The interfaces of an endpoint carry its security groups, and say whose they are."""
        for interface_id in endpoint.network_interface_ids:
            interface = self.enis[interface_id]
            interface.description = f"VPC Endpoint Interface {endpoint.id}"
            interface.interface_type = "vpc_endpoint"
            interface._group_set = [self.get_security_group_from_id(each) for each in endpoint.security_group_ids]


class _Response(MachineResponses, StorageResponses):
    """moto's responses, with the parameters that they do not read."""

    def modify_vpc_endpoint(self) -> ActionResult:
        backend = self.ec2_backend
        assert isinstance(backend, Ec2Backend)  # noqa: S101 (for the type checker; `install` sees to it)
        backend.modify_endpoint(self._get_param("VpcEndpointId"), dict(self.params))
        return ActionResult({"Return": True})

    def create_launch_template(self) -> ActionResult:
        self._check_user_data()
        result = super().create_launch_template()
        made = self.ec2_backend.get_launch_template(result.result["LaunchTemplate"]["LaunchTemplateId"])  # type: ignore[index]
        self._settle(made.default_version())
        return result

    def create_launch_template_version(self) -> ActionResult:
        self._check_user_data()
        result = super().create_launch_template_version()
        told = result.result["LaunchTemplateVersion"]  # type: ignore[index]
        self._settle(
            self.ec2_backend.get_launch_template(told["LaunchTemplateId"]).get_version(told["VersionNumber"])
        )
        return result

    def _check_user_data(self) -> None:
        data = parse_user_data(self._get_param("LaunchTemplateData.UserData"))
        if data is not None and len(base64.b64decode(data.as_bytes())) > ec2_launch.MAX_USER_DATA:
            raise EC2ClientError("InvalidParameterValue", f"User data is limited to {ec2_launch.MAX_USER_DATA} bytes")

    def _settle(self, version: LaunchTemplateVersion) -> None:
        """moto mixes the template's own tags into its data, and takes encoded user data for text."""
        data = version.data
        if isinstance(data.get("UserData"), str):
            data["UserData"] = parse_user_data(data["UserData"])
        data["TagSpecifications"] = [
            each for each in data.get("TagSpecifications", []) if each["ResourceType"] != "launch-template"
        ]

    def describe_launch_templates(self) -> ActionResult:
        for template in self.ec2_backend.launch_templates.values():
            # moto tells the tags of the day it was made.
            template.tags = template.get_tags()
        return super().describe_launch_templates()

    def modify_managed_prefix_list(self) -> ActionResult:
        backend = self.ec2_backend
        assert isinstance(backend, PrefixLists)  # noqa: S101 (for the type checker; `install` sees to it)
        found = backend.modify_managed_prefix_list(
            add_entry=self._get_param("AddEntries", []),
            remove_entry=self._get_param("RemoveEntries", []),
            prefix_list_id=self._get_param("PrefixListId"),
            current_version=self._get_param("CurrentVersion"),
            prefix_list_name=self._get_param("PrefixListName"),
            max_entries=self._get_param("MaxEntries"),
        )
        return ActionResult({"PrefixList": found})

    def delete_security_group(self) -> ActionResult:
        group = self.ec2_backend.get_security_group_from_id(self._get_param("GroupId") or "")
        if group is not None and group.is_default:
            raise EC2ClientError(
                "CannotDelete", f"the specified group: {group.id!r} name: 'default' cannot be deleted by a user"
            )
        return super().delete_security_group()


def install(host: Host) -> None:
    """Puts this backend and its responses in the place of moto's."""
    Ec2Backend.host = host
    ec2_storage.install()
    ec2_backends.backend = Ec2Backend
    # moto does not know that MSK's API has an endpoint ("AWS services that integrate with AWS PrivateLink").
    if "kafka" not in vpcs.AWS_ENDPOINT_SERVICES:
        vpcs.AWS_ENDPOINT_SERVICES.append("kafka")
    urls.url_paths = dict.fromkeys(urls.url_paths, _Response.dispatch)
