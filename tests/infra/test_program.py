"""The whole program, declared without an engine: what exists, how it is set, and that it breaks no rule."""

import json
from typing import Any

import pytest
from declared import ACCOUNT, Declaration, declare

from envs.sandbox.aws.kafka_rules import ALLOWED_PROPERTIES
from infra import rules
from services import contract

WORLD = "ingress-traffic-from-world-443"


def policy(declaration: Declaration, type_: str, name: str) -> dict[str, dict[str, Any]]:
    document = json.loads(declaration.one(type_, name).properties["policy"])
    return {statement["Sid"]: statement for statement in document["Statement"]}


@pytest.mark.parametrize("name", ["dev", "staging", "prod", "sandbox"])
def test_every_environment_keeps_the_rules(name: str) -> None:
    found = [
        f"{each.name}: {rule}: {finding}"
        for each in declare(name).resources
        # What may be open to the world is judged with the load balancer around it: tests/infra/test_ingress.py.
        for rule, finding in rules.judge(each.type, each.properties, {443} if each.name == WORLD else ())
    ]
    assert found == []


def test_exports_are_what_tools_read(sandbox: Declaration) -> None:
    assert sorted(sandbox.outputs) == [
        "account",
        "alarm_topic",
        "archive_bucket",
        "archive_error_prefix",
        "archive_prefix",
        "dashboard",
        "delivery_stream",
        "file_system",
        "fleet",
        "flows",
        "functions",
        "kafka_cluster_arn",
        "management_address",
        "private_subnet_ids",
        "region",
        "simulators",
        "topics",
        "traffic_address",
        "vpc_id",
    ]


def test_everything_is_made_through_the_one_provider(sandbox: Declaration) -> None:
    assert {each.provider.rpartition("::")[0].rpartition("::")[2] for each in sandbox.resources} == {"aws"}


def test_three_zones_have_a_public_and_a_private_subnet(sandbox: Declaration) -> None:
    subnets = {each.name: each.properties for each in sandbox.all("Subnet")}
    assert len(subnets) == 6
    assert {props["availabilityZone"] for props in subnets.values()} == {f"eu-central-1{zone}" for zone in "abc"}
    assert not any(props["mapPublicIpOnLaunch"] for props in subnets.values())


def ways_out(declaration: Declaration) -> dict[str, str]:
    routes = [each.properties for each in declaration.all("Route")]
    assert {route["destinationCidrBlock"] for route in routes} == {"0.0.0.0/0"}
    return {route["routeTableId"]: route.get("gatewayId") or route["natGatewayId"] for route in routes}


def test_private_subnets_reach_the_internet_through_nat_only(sandbox: Declaration) -> None:
    private = {f"network-private-eu-central-1{zone}-id" for zone in "abc"}
    to = dict.fromkeys(private, "network-nat-eu-central-1a-id")
    assert ways_out(sandbox) == {"network-public-id": "network-internet-id", **to}
    tables = {
        each.properties["subnetId"]: each.properties["routeTableId"] for each in sandbox.all("RouteTableAssociation")
    }
    assert {table for subnet, table in tables.items() if "private" in subnet} == private
    gateway = sandbox.one("NatGateway")
    assert gateway.properties["subnetId"] == "network-public-eu-central-1a-id"
    assert gateway.properties["allocationId"] == "network-nat-eu-central-1a-id"


def test_each_zone_of_production_has_a_way_out_of_its_own(prod: Declaration) -> None:
    to = ways_out(prod)
    for zone in "abc":
        assert to[f"network-private-eu-central-1{zone}-id"] == f"network-nat-eu-central-1{zone}-id"
        gateway = prod.one("NatGateway", f"network-nat-eu-central-1{zone}").properties
        assert gateway["subnetId"] == f"network-public-eu-central-1{zone}-id"
    assert len(prod.all("Eip")) == 3


def test_all_traffic_is_logged_by_a_role_that_may_do_nothing_else(sandbox: Declaration) -> None:
    log = sandbox.one("FlowLog").properties
    assert (log["vpcId"], log["trafficType"]) == ("network-vpc-id", "ALL")
    assert log["logDestination"] == f"arn:aws:x:eu-central-1:{ACCOUNT}:network-flow-logs"
    rights = policy(sandbox, "RolePolicy", "network-flow-logs")
    assert rights["OwnLog"]["Resource"] == [f"{log['logDestination']}:*"]
    assert rights["FindLog"]["Action"] == ["logs:DescribeLogGroups"]
    trust = json.loads(sandbox.one("Role", "network-flow-logs").properties["assumeRolePolicy"])["Statement"][0]
    assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


@pytest.mark.parametrize("service", ["s3", "dynamodb"])
def test_what_has_a_gateway_endpoint_is_reached_from_every_subnet(sandbox: Declaration, service: str) -> None:
    tables = sandbox.one("VpcEndpoint", f"network-{service}").properties["routeTableIds"]
    assert sorted(tables) == sorted(f"{each.name}-id" for each in sandbox.all("RouteTable"))


def test_brokers_listen_to_clients_only(sandbox: Declaration) -> None:
    rules_in = [
        each.properties
        for each in sandbox.all("SecurityGroupIngressRule")
        if each.properties["securityGroupId"] == "streaming-brokers-id"
    ]
    (only,) = rules_in
    assert (only["fromPort"], only["toPort"], only["ipProtocol"]) == (9098, 9098, "tcp")
    assert only["referencedSecurityGroupId"] == "streaming-clients-id"


def test_nobody_gets_by_with_the_default_group(sandbox: Declaration) -> None:
    group = sandbox.one("DefaultSecurityGroup").properties
    assert group["ingress"] == group["egress"] == []


@pytest.mark.parametrize("name", ["sandbox", "prod"])
def test_brokers_take_only_properties_that_msk_lets_one_set(name: str, request: pytest.FixtureRequest) -> None:
    lines = request.getfixturevalue(name).one("Configuration").properties["serverProperties"].splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert set(properties) <= ALLOWED_PROPERTIES
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["unclean.leader.election.enable"] == "false"
    assert properties["allow.everyone.if.no.acl.found"] == "false"
    assert int(properties["min.insync.replicas"]) < int(properties["default.replication.factor"])


def test_the_cluster_lets_delivery_streams_of_this_account_connect(sandbox: Declaration) -> None:
    cluster = sandbox.one("Cluster").properties
    vpc = cluster["brokerNodeGroupInfo"]["connectivityInfo"]["vpcConnectivity"]["clientAuthentication"]
    assert vpc["sasl"]["iam"] is True
    statement = policy(sandbox, "ClusterPolicy", "streaming-delivery")["DeliveryStreams"]
    assert statement["Principal"] == {"Service": "firehose.amazonaws.com"}
    assert statement["Action"] == ["kafka:CreateVpcConnection"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_topics_have_the_contracts_names(sandbox: Declaration) -> None:
    topics = {each.properties["name"]: each.properties for each in sandbox.all("msk/topic:Topic")}
    assert set(topics) == {contract.TELEMETRY_TOPIC, contract.CANARY_TOPIC}
    for topic in topics.values():
        assert topic["replicationFactor"] == 3
        assert json.loads(topic["configs"])["message.timestamp.type"] == "LogAppendTime"


def test_the_archive_has_the_contracts_layout(sandbox: Declaration) -> None:
    stream = sandbox.one("FirehoseDeliveryStream").properties
    s3 = stream["extendedS3Configuration"]
    hour = "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH}/"
    assert s3["prefix"] == contract.ARCHIVE_PREFIX + hour
    assert s3["errorOutputPrefix"] == contract.DEAD_LETTER_PREFIX + "!{firehose:error-output-type}/" + hour
    assert s3["compressionFormat"] == "GZIP"
    assert s3["customTimeZone"] == "UTC"


def test_the_archive_starts_with_the_first_record(sandbox: Declaration) -> None:
    source = sandbox.one("FirehoseDeliveryStream").properties["mskSourceConfiguration"]
    assert source["readFromTimestamp"] == "1970-01-01T00:00:00Z"
    assert source["authenticationConfiguration"]["connectivity"] == "PRIVATE"
    assert source["topicName"] == contract.TELEMETRY_TOPIC


def processors(declaration: Declaration) -> list[tuple[str, dict[str, str]]]:
    s3 = declaration.one("FirehoseDeliveryStream").properties["extendedS3Configuration"]
    return [
        (each["type"], {one["parameterName"]: one["parameterValue"] for one in each["parameters"]})
        for each in s3["processingConfiguration"]["processors"]
    ]


def test_records_pass_the_gate_and_end_in_a_line_feed(sandbox: Declaration) -> None:
    (gate, parameters), delimiter = processors(sandbox)
    assert gate == "Lambda"
    assert parameters["LambdaArn"].endswith(":$LATEST")
    assert parameters["BufferIntervalInSeconds"] == "1"
    assert delimiter == ("AppendDelimiterToRecord", {"Delimiter": "\\n"})


def test_what_is_aws_default_is_left_out(prod: Declaration) -> None:
    (_, parameters), _ = processors(prod)
    assert set(parameters) == {"LambdaArn"}


def test_the_stream_may_do_what_it_needs_on_what_it_needs(sandbox: Declaration) -> None:
    rights = policy(sandbox, "RolePolicy", "archive-rights")
    assert all("*" not in action for statement in rights.values() for action in statement["Action"])
    (group,) = rights["FollowOffsets"]["Resource"]
    assert group.endswith(":group/streaming-cluster/abc-1/*")
    objects = rights["WriteObjects"]["Resource"]
    assert [arn.rpartition(":")[2] for arn in objects] == [
        "archive-bucket/telemetry/*",
        "archive-bucket/dead-letter/*",
    ]


def test_the_gate_may_write_its_own_log_and_dead_letters_only(sandbox: Declaration) -> None:
    rights = policy(sandbox, "RolePolicy", "archive-gate-rights")
    assert {sid: statement["Resource"] for sid, statement in rights.items()} == {
        "OwnLog": [f"arn:aws:x:eu-central-1:{ACCOUNT}:archive-gate-log:*"],
        "OwnDeadLetters": [f"arn:aws:x:eu-central-1:{ACCOUNT}:archive-gate-dead-letters"],
    }


def test_the_function_is_what_was_packaged_for(sandbox: Declaration) -> None:
    function = sandbox.one("Function", "archive-gate-function").properties
    assert (function["runtime"], function["architectures"]) == ("python3.11", ["x86_64"])
    assert function["handler"] == "services.ingestion.archive_gate.handler.handle"
    assert sandbox.one("LogGroup", "archive-gate-log").properties["name"] == f"/aws/lambda/{function['name']}"


def test_a_bucket_of_the_sandbox_goes_with_what_is_in_it_and_productions_does_not(
    sandbox: Declaration, prod: Declaration
) -> None:
    assert sandbox.one("Bucket", "archive-bucket").properties["forceDestroy"] is True
    assert prod.one("Bucket", "archive-bucket").properties["forceDestroy"] is False
