"""Settings of the load balancers, and who may come in by them."""

import ipaddress
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from infra.sections.common import PRIVATE, Section, wrong

GATEWAY_PORT: Final = 19080
MANAGEMENT_PORTS: Final = (19000, GATEWAY_PORT)
"""Service Fabric's client connections and HTTP gateway (standalone cluster configuration, nodeTypes)."""

NEVER_OPEN: Final = (22, 135, 139, 445, 3389, 5985, 5986, *MANAGEMENT_PORTS)
"""SSH, RPC, SMB, RDP, WinRM and Service Fabric: no load balancer offers them to the world."""

LISTENERS: Final = 50
RULES_PER_GROUP: Final = 60
"""Quotas of Elastic Load Balancing ("Quotas for your Network Load Balancers") and of security groups ("Amazon VPC
quotas"), in which a rule with a prefix list counts as many times as the list may have entries."""


class TrafficPort(Section):
    """One port that the services are reached at."""

    port: int = Field(ge=1, le=65535, description="where the world connects, 1 to 65535")
    target_port: int = Field(ge=1, le=65535, description="where the nodes listen, 1 to 65535")

    @field_validator("port")
    @classmethod
    def _port(cls, value: int) -> int:
        if value in NEVER_OPEN:
            raise wrong(f"{value} is for administration and never open to the world: use another port")
        return value


def _range(value: str) -> ipaddress.IPv4Network:
    try:
        block = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise wrong(f"{value!r} is no IPv4 range ({error}): write one such as 10.20.0.0/16") from error
    if block.prefixlen < 8:
        raise wrong(f"{value} is wider than a /8: name the networks that need it")
    return block


class ManagementClient(Section):
    """Who may reach the cluster's management ports."""

    cidr: str = Field(description="a private IPv4 range, such as 10.20.0.0/16")
    description: str = Field(min_length=1, max_length=255, description="who that is")

    @field_validator("cidr")
    @classmethod
    def _cidr(cls, value: str) -> str:
        block = _range(value)
        if not any(block.subnet_of(private) for private in PRIVATE):
            raise wrong(f"{value} is not private: choose it within {', '.join(map(str, PRIVATE))}")
        return value


class PublicClient(Section):
    """Who may reach the cluster's HTTP gateway over the internet, with a client certificate."""

    cidr: str = Field(description="a public IPv4 range, such as 20.37.158.0/23")
    description: str = Field(min_length=1, max_length=255, description="who that is")

    @field_validator("cidr")
    @classmethod
    def _cidr(cls, value: str) -> str:
        block = _range(value)
        if not block.is_global:
            raise wrong(f"{value} is not on the internet: name it in management_clients instead")
        return value


class Ingress(Section):
    """The load balancers: one for traffic, one for management."""

    traffic: tuple[TrafficPort, ...] = Field(
        default=(TrafficPort(port=443, target_port=8443),),
        description="ports of the services, such as {port: 443, target_port: 8443}",
    )
    management_clients_max: int = Field(
        default=10,
        ge=1,
        # One rule is the function's that removes workers.
        le=(RULES_PER_GROUP - 1) // len(MANAGEMENT_PORTS),
        description="entries set aside for management_clients, 1 to 29",
    )
    management_clients: tuple[ManagementClient, ...] = Field(
        default=(), description="who may reach the management ports, such as {cidr: 10.20.0.0/16, description: us}"
    )
    public_management: tuple[PublicClient, ...] = Field(
        default=(),
        description="who may reach the HTTP gateway over the internet, such as {cidr: 20.37.158.0/23, description: "
        "hosted agents}; none: it has no way in from there",
    )
    cross_zone: bool = Field(
        default=False, description="true: nodes of all zones share the load evenly, at the price of traffic between"
    )

    @field_validator("traffic")
    @classmethod
    def _traffic(cls, value: tuple[TrafficPort, ...]) -> tuple[TrafficPort, ...]:
        ports = [each.port for each in value]
        if not 1 <= len(ports) <= LISTENERS:
            raise wrong(f"{len(ports)} ports: a network load balancer has 1 to {LISTENERS} listeners")
        if repeated := {port for port in ports if ports.count(port) > 1}:
            raise wrong(f"{', '.join(map(str, sorted(repeated)))} is named twice: name each port once")
        return value

    @field_validator("management_clients")
    @classmethod
    def _management_clients(
        cls, value: tuple[ManagementClient, ...], info: ValidationInfo
    ) -> tuple[ManagementClient, ...]:
        ranges = [each.cidr for each in value]
        if repeated := {cidr for cidr in ranges if ranges.count(cidr) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each range once")
        most = info.data.get("management_clients_max")
        if most is not None and len(value) > most:
            raise wrong(f"{len(value)} ranges do not fit into {most}: raise management_clients_max")
        return value

    @field_validator("public_management")
    @classmethod
    def _public_management(cls, value: tuple[PublicClient, ...]) -> tuple[PublicClient, ...]:
        ranges = [each.cidr for each in value]
        if repeated := {cidr for cidr in ranges if ranges.count(cidr) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each range once")
        if len(value) > RULES_PER_GROUP:
            raise wrong(
                f"{len(value)} ranges: a security group takes {RULES_PER_GROUP} rules, and a list counts as many "
                "as it has entries: use an agent inside the VPC, or have the quota raised and the ranges joined"
            )
        return value
