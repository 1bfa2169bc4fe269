"""The ways in: a load balancer for traffic, open to the world, and one for management, open to whom it names.

A third one is a setting: the HTTP gateway over the internet, for named ranges, whose clients show a certificate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.network import ANYWHERE
from infra.sections import GATEWAY_PORT, MANAGEMENT_PORTS, ManagementClient, PublicClient
from infra.sections import Ingress as IngressSettings

_HEALTH_SECONDS: Final = 10
_HEALTH_COUNT: Final = 3

_LABELS: Final[Mapping[int, str]] = {19000: "client", 19080: "gateway"}
"""What Service Fabric calls its management ports (ClientConnectionEndpoint, HttpGatewayEndpoint)."""


@dataclass(frozen=True, kw_only=True)
class IngressArgs:
    """Where the balancers stand, and what must stand before them."""

    settings: IngressSettings
    vpc_id: pulumi.Input[str]
    vpc_cidr: str
    public_subnet_ids: Sequence[pulumi.Input[str]]
    private_subnet_ids: Sequence[pulumi.Input[str]]
    after: Sequence[pulumi.Resource]
    """What gives the VPC its way to the internet: a balancer that faces it cannot be made before, nor live longer."""
    protect: bool
    node_group_id: pulumi.Input[str] | None = None
    """Security group of the nodes behind; without it balancers may speak to the whole VPC on the nodes' ports."""


@dataclass(frozen=True, kw_only=True)
class _Balancer:
    """One of the two: its listeners' ports and the nodes' ports behind them, by a label for names."""

    role: str
    description: str
    internal: bool
    subnet_ids: Sequence[pulumi.Input[str]]
    ports: Mapping[str, tuple[int, int]]


class Ingress(pulumi.ComponentResource):
    """Network load balancers with a security group each; Auto Scaling groups register the nodes behind them."""

    traffic_dns_name: pulumi.Output[str]
    management_dns_name: pulumi.Output[str]
    traffic_target_group_arns: list[pulumi.Output[str]]
    """For `target_group_arns` of the Auto Scaling groups that serve traffic."""
    management_target_group_arns: list[pulumi.Output[str]]
    """... and of those that answer for the cluster."""
    traffic_group_id: pulumi.Output[str]
    """Security group of the traffic balancer: nodes let it in on the traffic ports' targets."""
    management_group_id: pulumi.Output[str]
    """Security group of the management balancer: nodes let it in on the management ports."""
    public_dns_name: pulumi.Output[str] | None = None
    """The HTTP gateway's address on the internet."""
    public_group_id: pulumi.Output[str] | None = None

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetstream:ingress:Ingress", name, None, opts)
        self._name = name
        self._args = args
        self._groups: dict[str, pulumi.Output[str]] = {}
        traffic = _Balancer(
            role="traffic",
            description="Traffic of the services",
            internal=False,
            subnet_ids=args.public_subnet_ids,
            ports={f"traffic-{each.port}": (each.port, each.target_port) for each in args.settings.traffic},
        )
        management = _Balancer(
            role="management",
            description="Management of the cluster",
            internal=True,
            subnet_ids=args.private_subnet_ids,
            ports={_LABELS[port]: (port, port) for port in MANAGEMENT_PORTS},
        )
        self.traffic_group_id, self.traffic_dns_name, self.traffic_target_group_arns = self._balancer(traffic)
        self.management_group_id, self.management_dns_name, self.management_target_group_arns = self._balancer(
            management
        )
        self._admit_world(traffic)
        self._admit_clients(management, args.settings.management_clients, args.settings.management_clients_max)
        if args.settings.public_management:
            self._public_management(args.settings.public_management)
        self.register_outputs(
            {"traffic_dns_name": self.traffic_dns_name, "management_dns_name": self.management_dns_name}
        )

    def _child(self, depends_on: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on))

    def _balancer(self, about: _Balancer) -> tuple[pulumi.Output[str], pulumi.Output[str], list[pulumi.Output[str]]]:
        name = f"{self._name}-{about.role}"
        group = aws.ec2.SecurityGroup(
            name,
            description=about.description,
            vpc_id=self._args.vpc_id,
            tags={"Name": name},
            opts=self._child(),
        )
        self._groups[about.role] = group.id
        for port in sorted({target for _, target in about.ports.values()}):
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-to-nodes-{port}",
                security_group_id=group.id,
                description="Traffic and health checks",
                referenced_security_group_id=self._args.node_group_id,
                cidr_ipv4=self._args.vpc_cidr if self._args.node_group_id is None else None,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=self._child(),
            )
        balancer = aws.lb.LoadBalancer(
            name,
            load_balancer_type="network",
            internal=about.internal,
            subnets=about.subnet_ids,
            # From the beginning: a network load balancer made without a group can never get one.
            security_groups=[group.id],
            enable_cross_zone_load_balancing=self._args.settings.cross_zone,
            enable_deletion_protection=self._args.protect,
            tags={"Name": name},
            opts=self._child(self._args.after),
        )
        arns = [
            self._listener(label, balancer, *ports, keeps_addresses=not about.internal)
            for label, ports in about.ports.items()
        ]
        return group.id, balancer.dns_name, arns

    def _listener(
        self, label: str, balancer: aws.lb.LoadBalancer, port: int, target_port: int, *, keeps_addresses: bool
    ) -> pulumi.Output[str]:
        name = f"{self._name}-{label}"
        targets = aws.lb.TargetGroup(
            name,
            vpc_id=self._args.vpc_id,
            target_type="instance",
            port=target_port,
            protocol="TCP",
            # A node that manages its cluster through the balancer may be sent to itself, and that connection times
            # out while clients keep their addresses (Network Load Balancers guide, "Troubleshoot").
            preserve_client_ip=str(keeps_addresses).lower(),
            # X.509 guards the management ports, the HTTP gateway included: only a connection can be tried.
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                protocol="TCP",
                interval=_HEALTH_SECONDS,
                healthy_threshold=_HEALTH_COUNT,
                unhealthy_threshold=_HEALTH_COUNT,
            ),
            tags={"Name": name},
            opts=self._child(),
        )
        aws.lb.Listener(
            name,
            load_balancer_arn=balancer.arn,
            port=port,
            protocol="TCP",
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=targets.arn)],
            opts=self._child(),
        )
        return targets.arn

    def _admit_world(self, about: _Balancer) -> None:
        """The only thing of the platform that is open to the world."""
        for port, _ in about.ports.values():
            aws.vpc.SecurityGroupIngressRule(
                f"{self._name}-{about.role}-from-world-{port}",
                security_group_id=self.traffic_group_id,
                description="The services, from anywhere",
                cidr_ipv4=ANYWHERE,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=self._child(),
            )

    def _public_management(self, clients: Sequence[PublicClient]) -> None:
        """The HTTP gateway alone: sfctl needs no more, and a second port would take as many rules again."""
        about = _Balancer(
            role="public",
            description="Management of the cluster over the internet",
            internal=False,
            subnet_ids=self._args.public_subnet_ids,
            ports={f"public-{_LABELS[GATEWAY_PORT]}": (GATEWAY_PORT, GATEWAY_PORT)},
        )
        self.public_group_id, self.public_dns_name, arns = self._balancer(about)
        self.management_target_group_arns += arns
        self._admit_clients(about, clients, len(clients))

    def _admit_clients(
        self, about: _Balancer, admitted: Sequence[ManagementClient | PublicClient], most: int
    ) -> None:
        """One list of addresses, whose size is fixed: each rule counts with it in the group's quota."""
        name = f"{self._name}-{about.role}"
        clients = aws.ec2.ManagedPrefixList(
            f"{name}-clients",
            address_family="IPv4",
            max_entries=most,
            entries=[
                aws.ec2.ManagedPrefixListEntryArgs(cidr=each.cidr, description=each.description) for each in admitted
            ],
            tags={"Name": f"{name}-clients"},
            opts=self._child(),
        )
        for label, (port, _) in about.ports.items():
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-from-clients-{label}",
                security_group_id=self._groups[about.role],
                description=f"Service Fabric {_LABELS[port]}, X.509",
                prefix_list_id=clients.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                opts=self._child(),
            )
