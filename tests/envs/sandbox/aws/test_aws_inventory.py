"""The inventory: empty for a fresh account, complete for a used one, empty again."""

import json

import pytest

from envs.sandbox.aws.inventory import inventory
from tests.envs.sandbox.aws.emulated import Aws
from tests.envs.sandbox.aws.network import make_network

pytestmark = pytest.mark.xdist_group("aws-inventory")  # one AWS process for all of them


def test_everything_is_listed_until_it_is_gone(aws: Aws) -> None:
    assert inventory(aws.session) == []

    ec2, iam, s3 = aws.client("ec2"), aws.client("iam"), aws.client("s3")
    network = make_network(ec2)
    endpoint = ec2.create_vpc_endpoint(
        VpcId=network.vpc,
        ServiceName="com.amazonaws.us-east-1.sts",
        VpcEndpointType="Interface",
        SubnetIds=network.subnets[:1],
    )["VpcEndpoint"]
    template = ec2.create_launch_template(LaunchTemplateName="nodes", LaunchTemplateData={"InstanceType": "m5.large"})
    s3.create_bucket(Bucket="the-archive")
    aws.client("sqs").create_queue(QueueName="dead")
    aws.client("logs").create_log_group(logGroupName="/fleet")
    aws.client("events").put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    aws.client("secretsmanager").create_secret(Name="password", SecretString="x")
    aws.client("ssm").put_parameter(Name="/fleet/size", Value="3", Type="String")
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="late",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        Threshold=1,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    aws.client("kafka").create_configuration(Name="fleet", ServerProperties=b"")

    listed = inventory(aws.session)
    assert listed == sorted(listed)
    assert {entry.rsplit(" ", 1)[0] for entry in listed} == {
        "cloudwatch alarm",
        "ec2 launch-template",
        "ec2 network-interface",
        "ec2 security-group",
        "ec2 subnet",
        "ec2 vpc",
        "ec2 vpc-endpoint",
        "events rule",
        "iam role",
        "kafka configuration",
        "logs log-group",
        "s3 bucket",
        "secretsmanager secret",
        "sqs queue",
        "ssm parameter",
    }
    assert "s3 bucket the-archive" in listed
    assert f"ec2 vpc {network.vpc}" in listed

    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])
    ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplate"]["LaunchTemplateId"])
    ec2.delete_security_group(GroupId=network.group)
    for subnet in network.subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=network.vpc)
    s3.delete_bucket(Bucket="the-archive")
    sqs = aws.client("sqs")
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="dead")["QueueUrl"])
    aws.client("logs").delete_log_group(logGroupName="/fleet")
    aws.client("events").delete_rule(Name="hourly")
    aws.client("secretsmanager").delete_secret(SecretId="password", ForceDeleteWithoutRecovery=True)
    aws.client("ssm").delete_parameter(Name="/fleet/size")
    aws.client("cloudwatch").delete_alarms(AlarmNames=["late"])
    iam.delete_role(RoleName="nodes")
    kafka = aws.client("kafka")
    kafka.delete_configuration(Arn=kafka.list_configurations()["Configurations"][0]["Arn"])
    assert inventory(aws.session) == []
