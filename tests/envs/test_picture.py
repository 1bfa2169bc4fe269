"""The picture of a state: what belongs where, and which arrows say something."""

from typing import Any

from envs.picture import mermaid


def resource(type_: str, name: str, parent: str = "", **more: Any) -> dict[str, Any]:
    return {"urn": urn(type_, name), "type": type_, "parent": parent, "custom": not type_.startswith("f"), **more}


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:x::y::{type_}::{name}"


NETWORK, DISKS, NODES = (urn(f"fleetstream:{name}:X", name) for name in ("network", "disks", "fleet-nodes"))
VPC, DISK = urn("aws:ec2/vpc:Vpc", "vpc"), urn("aws:ebs/volume:Volume", "disk")


def test_resources_stand_in_their_outermost_component_and_arrows_lead_to_what_is_needed() -> None:
    state = [
        resource("fleetstream:network:X", "network"),
        resource("aws:ec2/vpc:Vpc", "vpc", NETWORK),
        resource("aws:ec2/subnet:Subnet", "a", NETWORK, dependencies=[VPC]),
        resource("aws:ec2/subnet:Subnet", "b", NETWORK, propertyDependencies={"vpcId": [VPC]}),
        resource("fleetstream:disks:X", "disks", NETWORK),
        resource("fleetstream:fleet-nodes:X", "fleet-nodes"),
        resource(
            "aws:ec2/instance:Instance", "i", NODES, dependencies=[VPC], propertyDependencies={"subnetId": None}
        ),
        resource("pulumi:providers:aws", "default"),
    ]
    assert mermaid(state) == (
        "flowchart LR\n"
        '    fleet_nodes["<b>fleet-nodes</b><br/>ec2 Instance"]\n'
        '    network["<b>network</b><br/>2 ec2 Subnet<br/>ec2 Vpc"]\n'
        "    fleet_nodes --> network\n"
    )


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    state = [
        resource("fleetstream:network:X", "network"),
        resource("aws:ec2/vpc:Vpc", "vpc", NETWORK),
        resource("fleetstream:disks:X", "disks"),
        resource("aws:ebs/volume:Volume", "disk", DISKS, dependencies=[VPC]),
        resource("fleetstream:fleet-nodes:X", "fleet-nodes"),
        resource("aws:ec2/instance:Instance", "i", NODES, dependencies=[VPC, DISK]),
    ]
    arrows = [line.strip() for line in mermaid(state).splitlines() if "-->" in line]
    assert arrows == ["disks --> network", "fleet_nodes --> disks"]
