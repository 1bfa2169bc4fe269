"""A small network in an emulated account: what clusters and endpoints stand in."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Network:
    """One VPC with three subnets, each in its own zone, and one security group."""

    vpc: str
    subnets: list[str]
    group: str


def make_network(ec2: Any, cidr: str = "10.0") -> Network:
    """Makes it with the given first two numbers of its addresses."""
    vpc = ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"{cidr}.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")[
            "Subnet"
        ]["SubnetId"]
        for number, zone in enumerate("abc")
    ]
    group = ec2.create_security_group(GroupName="brokers", Description="brokers", VpcId=vpc)["GroupId"]
    return Network(vpc, subnets, group)


def cluster_request(network: Network, **changes: Any) -> dict[str, Any]:
    """A CreateCluster request as the program makes it: TLS and IAM, three brokers."""
    request: dict[str, Any] = {
        "ClusterName": "fleet",
        "KafkaVersion": "3.9.x",
        "NumberOfBrokerNodes": 3,
        "BrokerNodeGroupInfo": {
            "InstanceType": "kafka.m7g.large",
            "ClientSubnets": network.subnets,
            "SecurityGroups": [network.group],
            "StorageInfo": {"EbsStorageInfo": {"VolumeSize": 100}},
        },
        "ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}},
        "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS", "InCluster": True}},
    }
    return request | changes


def vpc_connectivity(iam: bool = True) -> dict[str, Any]:
    """ConnectivityInfo that switches multi-VPC connectivity for IAM."""
    return {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": iam}}}}}
