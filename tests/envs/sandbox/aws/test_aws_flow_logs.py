"""Flow logs need a role that their service may take, and that may write where they go."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import Network, make_network

pytestmark = pytest.mark.xdist_group("aws-flow-logs")  # one AWS process for all of them

GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:flows"
WRITES = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]


@pytest.fixture(scope="module")
def network(aws: Aws) -> Network:
    aws.client("logs").create_log_group(logGroupName="flows")
    return make_network(aws.client("ec2"))


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def role(aws: Aws, name: str, service: str = "vpc-flow-logs.amazonaws.com", actions: list[str] = WRITES) -> str:
    iam = aws.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]
    rights = {"Effect": "Allow", "Action": actions, "Resource": f"{GROUP}:*"}
    iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=policy(rights))
    return made["Arn"]


def create(aws: Aws, subject: str, role_arn: str | None, **changes: Any) -> dict[str, Any]:
    """The flow log as AWS tells it after it was made."""
    ec2 = aws.client("ec2")
    kind = "VPC" if subject.startswith("vpc-") else "Subnet"
    wanted = {"ResourceType": kind, "ResourceIds": [subject], "TrafficType": "ALL", "LogDestination": GROUP}
    wanted |= ({"DeliverLogsPermissionArn": role_arn} if role_arn else {}) | changes
    made = ec2.create_flow_logs(**wanted)
    return ec2.describe_flow_logs(FlowLogIds=made["FlowLogIds"])["FlowLogs"][0]


def test_a_flow_log_to_a_log_group(aws: Aws, network: Network) -> None:
    told = create(aws, network.vpc, role(aws, "writer"))
    assert (told["DeliverLogsStatus"], told["FlowLogStatus"]) == ("SUCCESS", "ACTIVE")
    assert (told["LogDestination"], told["LogGroupName"]) == (GROUP, "flows")
    assert (told["TrafficType"], told["MaxAggregationInterval"]) == ("ALL", 600)


def test_a_role_that_the_service_cannot_take_is_refused(aws: Aws, network: Network) -> None:
    arns = (role(aws, "other", service="ec2.amazonaws.com"), "arn:aws:iam::123456789012:role/none")
    for arn in arns:
        with pytest.raises(ClientError, match=r"InvalidParameter.*Unable to assume given IAM role") as error:
            create(aws, network.subnets[0], arn)
        assert arn in str(error.value)
    with pytest.raises(ClientError, match="DeliverLogsPermissionArn can't be empty"):
        create(aws, network.subnets[0], None)


@pytest.mark.parametrize("missing", WRITES)
def test_a_role_that_may_not_write_is_an_access_error(aws: Aws, network: Network, missing: str) -> None:
    name = missing.rpartition(":")[2]
    arn = role(aws, name, actions=[action for action in WRITES if action != missing])
    subject = aws.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    told = create(aws, subject, arn)
    assert (told["DeliverLogsStatus"], told["DeliverLogsErrorMessage"]) == ("FAILED", "Access error")


def test_a_log_group_that_is_not_there_is_an_access_error(aws: Aws, network: Network) -> None:
    told = create(aws, network.subnets[1], role(aws, "lost"), LogDestination=f"{GROUP}-gone")
    assert told["DeliverLogsStatus"] == "FAILED"


def test_a_bucket_takes_no_role(aws: Aws, network: Network) -> None:
    aws.client("s3").create_bucket(Bucket="flows")
    to_bucket = {"LogDestinationType": "s3", "LogDestination": "arn:aws:s3:::flows"}
    assert create(aws, network.subnets[2], None, **to_bucket)["DeliverLogsStatus"] == "SUCCESS"
    with pytest.raises(ClientError, match="DeliverLogsPermissionArn is not applicable for s3"):
        create(aws, network.subnets[1], role(aws, "bucket"), **to_bucket)
