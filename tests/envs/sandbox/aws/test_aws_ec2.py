"""Networks as the provider makes and reads them, and the deletions that AWS refuses."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-ec2")  # one AWS process for all of them


@pytest.fixture(scope="module")
def ec2(aws: Aws) -> Any:
    return aws.client("ec2")


@pytest.fixture(scope="module")
def network(ec2: Any) -> Network:
    return make_network(ec2)


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


def test_a_fresh_account_has_no_default_vpc(aws: Aws) -> None:
    fresh = aws.session.client("ec2", region_name="eu-west-1")
    assert fresh.describe_vpcs()["Vpcs"] == []
    assert fresh.describe_subnets()["Subnets"] == []
    assert fresh.describe_security_groups()["SecurityGroups"] == []
    with pytest.raises(ClientError, match="No default VPC for this user"):
        fresh.create_security_group(GroupName="x", Description="x")


def test_a_vpc_and_its_parts_are_read_back(ec2: Any) -> None:
    tags = [{"Key": "fleet", "Value": "test"}]
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"][
        "VpcId"
    ]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    told = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]
    assert (told["CidrBlock"], told["InstanceTenancy"], told["IsDefault"], told["Tags"]) == (
        "10.9.0.0/16",
        "default",
        False,
        tags,
    )
    assert (
        ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"] is True
    )
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]
    ec2.modify_subnet_attribute(SubnetId=subnet["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    told = ec2.describe_subnets(SubnetIds=[subnet["SubnetId"]])["Subnets"][0]
    assert (told["CidrBlock"], told["AvailabilityZone"], told["MapPublicIpOnLaunch"]) == (
        "10.9.1.0/24",
        "us-east-1b",
        True,
    )

    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=subnet["SubnetId"])["AssociationId"]
    told = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]
    assert {(each["DestinationCidrBlock"], each["GatewayId"]) for each in told["Routes"]} == {
        ("10.9.0.0/16", "local"),
        ("0.0.0.0/0", gateway),
    }
    assert told["Associations"][0]["SubnetId"] == subnet["SubnetId"]

    with pytest.raises(ClientError) as error:
        ec2.delete_vpc(VpcId=vpc)
    assert code(error) == "DependencyViolation"
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    with pytest.raises(ClientError) as error:
        ec2.delete_vpc(VpcId=vpc)
    assert code(error) == "DependencyViolation", "the gateway is still attached"
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_vpc(VpcId=vpc)
    assert ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["NetworkAcls"] == []


def test_security_group_rules_are_resources_of_their_own(ec2: Any, network: Network) -> None:
    group = ec2.create_security_group(GroupName="rules", Description="d", VpcId=network.vpc)["GroupId"]
    made = ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 9098,
                "ToPort": 9098,
                "UserIdGroupPairs": [{"GroupId": network.group, "Description": "clients"}],
            }
        ],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "a", "Value": "b"}]}],
    )["SecurityGroupRules"][0]
    rule = ec2.describe_security_group_rules(SecurityGroupRuleIds=[made["SecurityGroupRuleId"]])[
        "SecurityGroupRules"
    ][0]
    assert (rule["IsEgress"], rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == (False, "tcp", 9098, 9098)
    assert (rule["ReferencedGroupInfo"]["GroupId"], rule["Tags"]) == (network.group, [{"Key": "a", "Value": "b"}])

    with pytest.raises(ClientError) as error:
        ec2.delete_security_group(GroupId=network.group)
    assert code(error) == "DependencyViolation", "another group's rule names it"
    ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[made["SecurityGroupRuleId"]])
    ec2.delete_security_group(GroupId=group)
    default = ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [network.vpc]}, {"Name": "group-name", "Values": ["default"]}]
    )["SecurityGroups"][0]["GroupId"]
    with pytest.raises(ClientError) as error:
        ec2.delete_security_group(GroupId=default)
    assert code(error) == "CannotDelete"


def test_an_interface_endpoint_keeps_what_it_was_given(ec2: Any, network: Network) -> None:
    made = ec2.create_vpc_endpoint(
        VpcId=network.vpc,
        ServiceName="com.amazonaws.us-east-1.sts",
        VpcEndpointType="Interface",
        SubnetIds=network.subnets[:2],
        SecurityGroupIds=[network.group],
        PrivateDnsEnabled=True,
        PolicyDocument='{"Statement":[]}',
    )["VpcEndpoint"]["VpcEndpointId"]

    def told() -> dict[str, Any]:
        return ec2.describe_vpc_endpoints(VpcEndpointIds=[made])["VpcEndpoints"][0]

    assert (told()["State"], told()["PrivateDnsEnabled"], told()["IpAddressType"]) == ("available", True, "ipv4")
    assert (told()["SubnetIds"], told()["PolicyDocument"]) == (network.subnets[:2], '{"Statement":[]}')
    assert [each["GroupId"] for each in told()["Groups"]] == [network.group]
    interfaces = ec2.describe_network_interfaces(NetworkInterfaceIds=told()["NetworkInterfaceIds"])[
        "NetworkInterfaces"
    ]
    assert {each["SubnetId"] for each in interfaces} == set(network.subnets[:2])
    assert {each["InterfaceType"] for each in interfaces} == {"vpc_endpoint"}
    assert all([group["GroupId"] for group in each["Groups"]] == [network.group] for each in interfaces)
    for call, arguments in (
        (ec2.delete_subnet, {"SubnetId": network.subnets[0]}),
        (ec2.delete_security_group, {"GroupId": network.group}),
    ):
        with pytest.raises(ClientError) as error:
            call(**arguments)
        assert code(error) == "DependencyViolation"

    ec2.modify_vpc_endpoint(
        VpcEndpointId=made, AddSubnetIds=network.subnets[2:], PrivateDnsEnabled=False, ResetPolicy=True
    )
    assert told()["PrivateDnsEnabled"] is False
    assert len(told()["NetworkInterfaceIds"]) == 3
    assert '"Action": "*"' in told()["PolicyDocument"]
    ec2.modify_vpc_endpoint(VpcEndpointId=made, RemoveSubnetIds=network.subnets[:2])
    assert told()["SubnetIds"] == network.subnets[2:]
    assert len(told()["NetworkInterfaceIds"]) == 1

    ec2.delete_vpc_endpoints(VpcEndpointIds=[made])
    with pytest.raises(ClientError) as error:
        told()
    assert code(error) == "InvalidVpcEndpointId.NotFound"
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []


def test_a_gateway_endpoint_writes_its_routes(ec2: Any, network: Network) -> None:
    tables = [ec2.create_route_table(VpcId=network.vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
    made = ec2.create_vpc_endpoint(
        VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.s3", RouteTableIds=tables[:1]
    )["VpcEndpoint"]

    def routed(table: str) -> bool:
        routes = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"][0]["Routes"]
        return any(each.get("GatewayId") == made["VpcEndpointId"] for each in routes)

    assert (made["VpcEndpointType"], made["PrivateDnsEnabled"]) == ("Gateway", False)
    assert (routed(tables[0]), routed(tables[1])) == (True, False)
    ec2.modify_vpc_endpoint(
        VpcEndpointId=made["VpcEndpointId"], AddRouteTableIds=tables[1:], RemoveRouteTableIds=tables[:1]
    )
    assert (routed(tables[0]), routed(tables[1])) == (False, True)
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    assert not routed(tables[1])


def test_an_endpoint_that_cannot_be_is_refused(ec2: Any, network: Network) -> None:
    with pytest.raises(ClientError) as error:
        ec2.create_vpc_endpoint(VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.nothing")
    assert code(error) == "InvalidServiceName"
    with pytest.raises(ClientError, match="Endpoint type"):
        ec2.create_vpc_endpoint(VpcId=network.vpc, ServiceName="com.amazonaws.us-east-1.sts")
    plain = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    with pytest.raises(ClientError, match="Enabling private DNS requires both"):
        ec2.create_vpc_endpoint(
            VpcId=plain,
            ServiceName="com.amazonaws.us-east-1.sts",
            VpcEndpointType="Interface",
            PrivateDnsEnabled=True,
        )


@pytest.mark.parametrize("keeps", [False, True])
def test_an_interface_goes_with_its_instance_unless_the_launch_says_otherwise(ec2: Any, keeps: bool) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.8.1.0/24")["Subnet"]["SubnetId"]
    interface = {"DeviceIndex": 0, "SubnetId": subnet} | ({"DeleteOnTermination": False} if keeps else {})
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, NetworkInterfaces=[interface])["Instances"][0]

    for _again in range(2):
        ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 1})

    if keeps:
        with pytest.raises(ClientError, match="has dependencies"):
            ec2.delete_subnet(SubnetId=subnet)
        ec2.delete_network_interface(NetworkInterfaceId=instance["NetworkInterfaces"][0]["NetworkInterfaceId"])
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)
