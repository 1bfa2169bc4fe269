"""Elastic Load Balancing: network load balancers with interfaces of their own, and what AWS refuses of them.

Network Load Balancers guide: "Network Load Balancers" (subnets, internet gateway), "Update the security groups for
your Network Load Balancer", "Target groups", "Health checks"; ELB API Reference, errors of each operation.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from moto.ec2.exceptions import InvalidSubnetIdError
from moto.elbv2 import urls
from moto.elbv2.exceptions import (
    DuplicateListenerError,
    DuplicateLoadBalancerName,
    ELBClientError,
    SubnetNotFoundError,
    ValidationError,
)
from moto.elbv2.models import (
    AvailabilityZone,
    ELBv2Backend,
    FakeListener,
    FakeLoadBalancer,
    FakeTargetGroup,
    elbv2_backends,
)

from envs.sandbox.aws.host import Host

_NETWORK: Final = "network"
_NAME: Final = re.compile(r"(?!internal-)(?!-)[A-Za-z0-9-]{1,32}(?<!-)")
_SERVES: Final[Mapping[str, tuple[str, ...]]] = {
    "TCP": ("TCP", "TCP_UDP"),
    "TLS": ("TCP", "TLS"),
    "UDP": ("UDP", "TCP_UDP"),
    "TCP_UDP": ("TCP_UDP",),
}
"""Protocol of a network load balancer's listener -> of the target groups it can forward to ("Listeners")."""
_LIMITS: Final = {
    "healthCheckIntervalSeconds": (5, 300),
    "healthCheckTimeoutSeconds": (2, 120),
    "healthyThresholdCount": (2, 10),
    "unhealthyThresholdCount": (2, 10),
}
_CHECKS: Final = ("HTTP", "HTTPS", "TCP")
"""Protocols of health checks (CreateTargetGroup, HealthCheckProtocol)."""


class BalancersBackend(ELBv2Backend):
    """moto's backend, with the rules that it leaves out.

    A load balancer's DNS name is an address of the loopback network that is its own, so that what stands behind it
    can really be reached there, at the ports of its listeners.
    """

    host: Host

    @property
    def _url_module(self) -> Any:
        return urls

    # Load balancers

    def create_load_balancer(
        self,
        name: str,
        security_groups: list[str],
        subnet_ids: list[str],
        subnet_mappings: list[dict[str, str]] | None = None,
        scheme: str | None = None,
        loadbalancer_type: str | None = None,
        ip_address_type: str = "ipv4",
        tags: list[dict[str, str]] | None = None,
    ) -> FakeLoadBalancer:
        if loadbalancer_type != _NETWORK:
            raise ELBClientError("NotImplemented", "the emulated AWS has load balancers of type network only")
        if not _NAME.fullmatch(name):
            raise ValidationError(
                f"The load balancer name '{name}' must have at most 32 characters, only letters, digits and hyphens, "
                "and must not begin with 'internal-' or begin or end with a hyphen"
            )
        if any(each.name == name for each in self.load_balancers.values()):
            raise DuplicateLoadBalancerName
        scheme = scheme or "internet-facing"
        zones = self._zones([*subnet_ids, *(each["SubnetId"] for each in subnet_mappings or [])])
        vpc_id = zones[0].vpc_id
        self._check_groups(security_groups, vpc_id)
        if scheme == "internet-facing" and not self.ec2_backend.describe_internet_gateways(
            filters={"attachment.vpc-id": [vpc_id]}
        ):
            raise ELBClientError("InvalidSubnet", f"VPC {vpc_id} has no internet gateway")
        made = super().create_load_balancer(
            name, security_groups, subnet_ids, subnet_mappings, scheme, loadbalancer_type, ip_address_type
        )
        # moto writes the ARN of an application load balancer.
        del self.load_balancers[made.arn]
        made.arn = made.arn.replace(":loadbalancer/app/", ":loadbalancer/net/")
        made.dns_name = self.host.loopback_address(name)
        made.attrs["dns_record.client_routing_policy"] = "any_availability_zone"
        self.load_balancers[made.arn] = made
        self.tagging_service.tag_resource(made.arn, tags)
        self._dress(made)
        return made

    def delete_load_balancer(self, arn: str) -> None:
        found = self.load_balancers.get(arn)
        if found and found.attrs["deletion_protection.enabled"] == "true":
            raise ELBClientError(
                "OperationNotPermitted",
                f"Load balancer '{arn}' cannot be deleted because deletion protection is enabled",
            )
        super().delete_load_balancer(arn)
        if found:
            for interface in self._interfaces(found):
                self._remove(interface)

    def set_security_groups(self, arn: str, sec_groups: list[str]) -> None:
        found = self.load_balancers.get(arn)
        if found and not found.security_groups:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                "You cannot set security groups on a Network Load Balancer which was created without any security "
                "groups.",
            )
        if found and not sec_groups:
            raise ELBClientError(
                "InvalidConfigurationRequest",
                "You cannot remove all security groups of a Network Load Balancer which was created with some",
            )
        super().set_security_groups(arn, sec_groups)
        self._dress(self.load_balancers[arn])

    def set_subnets(
        self, arn: str, subnets: list[str], subnet_mappings: list[dict[str, Any]]
    ) -> list[AvailabilityZone]:
        (found,) = self.describe_load_balancers([arn], None)
        found.subnets = self._zones([*subnets, *(each["SubnetId"] for each in subnet_mappings)])
        self._dress(found)
        return found.availability_zones

    def _zones(self, subnet_ids: list[str]) -> list[Any]:
        """The subnets, one a zone."""
        if not subnet_ids:
            raise ValidationError("At least one subnet must be specified")
        try:
            subnets = [self.ec2_backend.get_subnet(each) for each in subnet_ids]
        except InvalidSubnetIdError as error:
            raise SubnetNotFoundError from error
        if len({each.availability_zone for each in subnets}) < len(subnets):
            raise ELBClientError(
                "InvalidConfigurationRequest",
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            )
        return subnets

    def _check_groups(self, group_ids: list[str], vpc_id: str) -> None:
        for each in group_ids:
            found = self.ec2_backend.get_security_group_from_id(each)
            if found is None or found.vpc_id != vpc_id:
                raise ELBClientError("InvalidSecurityGroup", f"The security group '{each}' is not in VPC {vpc_id}")

    def _interfaces(self, balancer: FakeLoadBalancer) -> list[Any]:
        about = _about(balancer)
        return [each for each in self.ec2_backend.enis.values() if each.description == about]

    def _remove(self, interface: Any) -> None:
        del self.ec2_backend.enis[interface.id]
        interface.subnet.del_subnet_ip(interface.private_ip_address)

    def _dress(self, balancer: FakeLoadBalancer) -> None:
        """One interface in each subnet, with the balancer's security groups: they hold both as long as it lives."""
        had = {each.subnet.id: each for each in self._interfaces(balancer)}
        wanted = {subnet.id: subnet for subnet in balancer.subnets}
        for subnet_id in had.keys() - wanted.keys():
            self._remove(had.pop(subnet_id))
        for subnet_id in wanted.keys() - had.keys():
            had[subnet_id] = self.ec2_backend.create_network_interface(
                wanted[subnet_id], [], description=_about(balancer)
            )
        for interface in had.values():
            interface.interface_type = "network_load_balancer"
            interface.requester_managed = True
            interface.status = "in-use"
            interface._group_set = [
                self.ec2_backend.get_security_group_from_id(each) for each in balancer.security_groups
            ]

    # Target groups

    def create_target_group(self, name: str, **settings: Any) -> FakeTargetGroup:
        protocol, check = settings.get("protocol"), settings.get("healthcheck_protocol")
        _check_limits(
            settings.get("healthcheck_interval_seconds"),
            settings.get("healthcheck_timeout_seconds"),
            settings.get("healthy_threshold_count"),
            settings.get("unhealthy_threshold_count"),
        )
        _check_protocol(protocol, check)
        made = super().create_target_group(name, **settings)
        if made.target_type == "instance" and made.protocol in _SERVES:
            # What a network load balancer's group has unless it is told otherwise (TargetGroupAttribute).
            made.attributes |= {
                "deregistration_delay.connection_termination.enabled": "false",
                "preserve_client_ip.enabled": "true",
            }
        return made

    def modify_target_group(  # type: ignore[override] (moto's has ten arguments; these are all it is called with)
        self,
        arn: str,
        health_check_proto: str | None = None,
        health_check_port: str | None = None,
        health_check_path: str | None = None,
        health_check_interval: int | None = None,
        health_check_timeout: int | None = None,
        healthy_threshold_count: str | None = None,
        unhealthy_threshold_count: str | None = None,
        *rest: Any,
        **options: Any,
    ) -> FakeTargetGroup:
        (found,) = self.describe_target_groups(None, [arn], None)
        interval = health_check_interval or found.health_check_interval_seconds
        timeout = health_check_timeout or found.health_check_timeout_seconds
        _check_limits(interval, timeout, healthy_threshold_count, unhealthy_threshold_count)
        _check_protocol(found.protocol, health_check_proto)
        if int(timeout) > int(interval):
            raise ValidationError(
                f"Health check timeout '{timeout}' must be smaller than or equal to the interval '{interval}'"
            )
        return super().modify_target_group(
            arn,
            health_check_proto,
            health_check_port,
            health_check_path,
            health_check_interval,
            health_check_timeout,
            healthy_threshold_count,
            unhealthy_threshold_count,
            *rest,
            **options,
        )

    def describe_target_groups(
        self, load_balancer_arn: str | None, target_group_arns: list[str], names: list[str] | None
    ) -> Iterable[FakeTargetGroup]:
        # moto adds a balancer for each listener that forwards to the group, and never takes it away.
        for arn, group in self.target_groups.items():
            group.load_balancer_arns = sorted(self._used_by(arn))
        return super().describe_target_groups(load_balancer_arn, target_group_arns, names)

    # Listeners

    def create_listener(
        self,
        load_balancer_arn: str,
        protocol: str,
        port: str,
        ssl_policy: str,
        certificate: str | None,
        actions: list[dict[str, Any]],
        *rest: Any,
        **options: Any,
    ) -> FakeListener:
        self._check_listener(load_balancer_arn, None, port, protocol, actions)
        return super().create_listener(
            load_balancer_arn, protocol, port, ssl_policy, certificate, actions, *rest, **options
        )

    def modify_listener(
        self,
        arn: str,
        port: str | None = None,
        protocol: str | None = None,
        ssl_policy: str | None = None,
        certificates: list[dict[str, Any]] | None = None,
        actions: list[dict[str, Any]] | None = None,
    ) -> FakeListener:
        (found,) = self.describe_listeners(None, [arn])
        wanted = actions or [action.data for action in found.default_actions]
        self._check_listener(found.load_balancer_arn, arn, port, protocol or found.protocol, wanted)
        return super().modify_listener(arn, port, protocol, ssl_policy, certificates, actions or [])

    def _check_listener(
        self, balancer_arn: str, own_arn: str | None, port: Any, protocol: str, actions: list[dict[str, Any]]
    ) -> None:
        balancer = self.load_balancers.get(balancer_arn)
        if balancer is None:
            # moto says what is wrong.
            return
        if any(str(each.port) == str(port) for each in balancer.listeners.values() if each.arn != own_arn):
            raise DuplicateListenerError
        for group_arn in (arn for action in actions for arn in self._get_target_group_arns_from(action)):
            group = self.target_groups.get(group_arn)
            if group and protocol in _SERVES and group.protocol not in _SERVES[protocol]:
                raise ELBClientError(
                    "IncompatibleProtocols",
                    f"The listener and its associated target group '{group_arn}' have incompatible protocols: "
                    f"'{protocol}' and '{group.protocol}'",
                )
            if self._used_by(group_arn) - {balancer_arn}:
                raise ELBClientError(
                    "TargetGroupAssociationLimit",
                    f"The following target groups cannot be associated with more than one load balancer: {group_arn}",
                )

    def _used_by(self, group_arn: str) -> set[str]:
        """The load balancers with a listener that forwards to a target group."""
        return {
            balancer.arn
            for balancer in self.load_balancers.values()
            for listener in balancer.listeners.values()
            for action in listener.default_actions
            if group_arn in self._get_target_group_arns_from(action.data)
        }


def _about(balancer: FakeLoadBalancer) -> str:
    """How the interfaces of a load balancer are described: ``ELB net/<name>/<id>``."""
    return f"ELB {balancer.arn.partition(':loadbalancer/')[2]}"


def _check_limits(*values: Any) -> None:
    for (name, (least, most)), value in zip(_LIMITS.items(), values, strict=True):
        if value is not None and not least <= int(value) <= most:
            raise ValidationError(
                f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must "
                f"have value between {least} and {most}"
            )


def _check_protocol(protocol: str | None, check: str | None) -> None:
    if check is not None and (check not in _CHECKS or (check == "TCP" and protocol in ("HTTP", "HTTPS"))):
        raise ELBClientError(
            "InvalidConfigurationRequest",
            f"Health check protocol '{check}' is not supported for target groups with the {protocol} protocol",
        )


def install(host: Host) -> None:
    """Puts this backend in the place of moto's."""
    BalancersBackend.host = host
    elbv2_backends.backend = BalancersBackend
