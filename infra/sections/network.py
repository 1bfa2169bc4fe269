"""Settings of the VPC."""

import ipaddress
from typing import Final, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from infra.sections.common import PRIVATE, Section, wrong

ZONES: Final = 3
"""Availability zones that brokers are spread over: MSK takes two or three, and three survive the loss of one."""

Nat = Literal["none", "one", "per_zone"]
"""NAT gateways: what private subnets reach the internet through."""

InterfaceEndpoint = Literal[
    "kafka",
    "sts",
    "ssm",
    "ssmmessages",
    "ec2messages",
    "secretsmanager",
    "logs",
    "monitoring",
    "lambda",
    "sqs",
    "autoscaling",
    "ec2",
    "kms",
]
"""AWS APIs that the platform calls (AWS PrivateLink Guide, "AWS services that integrate with AWS PrivateLink")."""


NEEDED_INSIDE: Final[tuple[InterfaceEndpoint, ...]] = ("autoscaling", "ec2", "secretsmanager", "sqs")
"""APIs that functions inside the VPC call: through an endpoint, or else through NAT."""


class Network(Section):
    """The VPC."""

    cidr: str = Field(description="the VPC's IPv4 range, private, from /16 to /22, such as 10.20.0.0/16")
    zones: tuple[str, ...] = Field(
        description="three to six availability zones by name, such as eu-central-1a; add new ones at the end"
    )
    nat: Nat = Field(
        default="one",
        description="how private subnets reach the internet: none, one gateway for all, or per_zone, which survives "
        "the loss of a zone",
    )
    interface_endpoints: tuple[InterfaceEndpoint, ...] = Field(
        default=("kafka", "sts"),
        description="AWS APIs that private subnets reach without the internet, each for a price a zone and hour: "
        f"{', '.join(get_args(InterfaceEndpoint))}",
    )

    @field_validator("cidr")
    @classmethod
    def _cidr(cls, value: str) -> str:
        try:
            block = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise wrong(f"{value!r} is no IPv4 range ({error}): write one such as 10.20.0.0/16") from error
        if not any(block.subnet_of(private) for private in PRIVATE):
            raise wrong(f"{value} is not private: choose it within {', '.join(map(str, PRIVATE))}")
        if not 16 <= block.prefixlen <= 22:
            raise wrong(
                f"/{block.prefixlen} does not fit: AWS takes at most a /16, and public and private subnets in three "
                "zones or more need at least a /22"
            )
        return value

    @field_validator("zones")
    @classmethod
    def _zones(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        region = (info.context or {}).get("region")
        if not ZONES <= len(value) <= 6:
            raise wrong(f"{len(value)} zones: name three to six")
        if repeated := {zone for zone in value if value.count(zone) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each zone once")
        if region and (foreign := [zone for zone in value if not zone.startswith(region)]):
            raise wrong(f"{', '.join(foreign)} is not in aws:region {region}: name zones of that region")
        return value

    @field_validator("interface_endpoints")
    @classmethod
    def _interface_endpoints(
        cls, value: tuple[InterfaceEndpoint, ...], info: ValidationInfo
    ) -> tuple[InterfaceEndpoint, ...]:
        if repeated := {service for service in value if value.count(service) > 1}:
            raise wrong(f"{', '.join(sorted(repeated))} is named twice: name each API once")
        if info.data.get("nat") == "none" and (missing := [each for each in NEEDED_INSIDE if each not in value]):
            raise wrong(f"without NAT nothing inside reaches {', '.join(missing)}: name them too")
        return value
