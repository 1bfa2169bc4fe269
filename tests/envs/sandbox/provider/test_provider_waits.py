"""The provider waits where the official one waits, and remembers what exists when the wait ends badly."""

import base64
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from envs.sandbox.provider.aws import Aws, Clients
from envs.sandbox.provider.errors import NotReadyError, ProviderError
from envs.sandbox.provider.registry import TYPES

_ACCOUNT, _REGION = "123456789012", "eu-central-1"
_CLUSTER = f"arn:aws:kafka:{_REGION}:{_ACCOUNT}:cluster/kafka/1-1"


class _Stubbed(Clients):
    """Clients whose answers are said beforehand; requests and answers are checked against AWS's own models."""

    def __init__(self, **stubbers: Stubber) -> None:
        super().__init__(_REGION)
        self._clients = {service: stubber.client for service, stubber in stubbers.items()}


def _stubber(service: str) -> Stubber:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    stubber = Stubber(boto3.client(service, region_name=_REGION, endpoint_url="http://127.0.0.1:9", **keys))  # type: ignore[call-overload]
    stubber.activate()
    return stubber


def _aws(**stubbers: Stubber) -> Aws:
    return Aws(_ACCOUNT, _REGION, {}, _Stubbed(**stubbers))


def _group(*states: str) -> dict[str, Any]:
    instances = [
        {
            "InstanceId": f"i-{number}",
            "AvailabilityZone": f"{_REGION}a",
            "LifecycleState": state,
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": False,
        }
        for number, state in enumerate(states)
    ]
    about: dict[str, Any] = {
        "AutoScalingGroupName": "g",
        "AutoScalingGroupARN": "arn",
        "MinSize": 0,
        "MaxSize": 2,
        "DesiredCapacity": 2,
        "DefaultCooldown": 300,
        "AvailabilityZones": [f"{_REGION}a"],
        "HealthCheckType": "EC2",
        "CreatedTime": "2026-01-01T00:00:00Z",
        "Instances": instances,
    }
    return {"AutoScalingGroups": [about]}


_GROUP = {
    "name": "g",
    "minSize": 0,
    "maxSize": 2,
    "desiredCapacity": 2,
    "healthCheckGracePeriod": 300,
    "protectFromScaleIn": False,
    "waitForCapacityTimeout": "10m",
    "forceDelete": False,
    "ignoreFailedScalingActivities": True,
}


def test_a_group_waits_until_its_instances_are_in_service() -> None:
    autoscaling = _stubber("autoscaling")
    autoscaling.add_response("create_auto_scaling_group", {})
    for states in ((), ("Pending", "Pending"), ("InService", "Pending:Wait"), ("InService", "InService")):
        autoscaling.add_response("describe_auto_scaling_groups", _group(*states))
    autoscaling.add_response("describe_auto_scaling_groups", _group("InService", "InService"))
    identifier, state = TYPES["aws:autoscaling/group:Group"].create_it(_aws(autoscaling=autoscaling), _GROUP)
    autoscaling.assert_no_pending_responses()
    assert identifier == "g"
    assert state["desiredCapacity"] == 2


def test_a_launch_that_failed_ends_the_wait_with_its_reason() -> None:
    autoscaling = _stubber("autoscaling")
    autoscaling.add_response("create_auto_scaling_group", {})
    autoscaling.add_response("describe_auto_scaling_groups", _group())
    activity = {
        "ActivityId": "a-1",
        "AutoScalingGroupName": "g",
        "Cause": "a difference",
        "StartTime": "2026-01-01T00:00:00Z",
        "StatusCode": "Failed",
        "StatusMessage": "Interface: [eni-1] in use. Launching EC2 instance failed.",
    }
    autoscaling.add_response("describe_scaling_activities", {"Activities": [activity]})
    autoscaling.add_response("describe_auto_scaling_groups", _group())
    wanted = {**_GROUP, "ignoreFailedScalingActivities": False}
    with pytest.raises(NotReadyError, match=r"scaling activity \(a-1\): Failed: Interface: \[eni-1\] in use"):
        TYPES["aws:autoscaling/group:Group"].create_it(_aws(autoscaling=autoscaling), wanted)
    autoscaling.assert_no_pending_responses()


def test_hooks_are_there_before_the_first_instance() -> None:
    autoscaling = _stubber("autoscaling")
    hook = {"name": "drain", "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"}
    created = {
        "AutoScalingGroupName": "g",
        "MinSize": 0,
        "MaxSize": 0,
        "HealthCheckGracePeriod": 300,
        "NewInstancesProtectedFromScaleIn": False,
        "Tags": [],
    }
    put = {"LifecycleHookName": "drain", "LifecycleTransition": hook["lifecycleTransition"]}
    raised = {"MinSize": 0, "MaxSize": 2, "DesiredCapacity": 2}
    autoscaling.add_response("create_auto_scaling_group", {}, created)
    autoscaling.add_response("put_lifecycle_hook", {}, {"AutoScalingGroupName": "g", **put})
    autoscaling.add_response("update_auto_scaling_group", {}, {"AutoScalingGroupName": "g", **raised})
    for _ in range(2):
        autoscaling.add_response("describe_auto_scaling_groups", _group("InService", "InService"))
    wanted = {**_GROUP, "initialLifecycleHooks": [hook]}
    _, state = TYPES["aws:autoscaling/group:Group"].create_it(_aws(autoscaling=autoscaling), wanted)
    autoscaling.assert_no_pending_responses()
    assert state["initialLifecycleHooks"] == [hook]


def test_a_group_that_gets_no_instances_is_remembered() -> None:
    autoscaling = _stubber("autoscaling")
    autoscaling.add_response("create_auto_scaling_group", {})
    for _ in range(12):
        autoscaling.add_response("describe_auto_scaling_groups", _group("Pending"))
    wanted = {**_GROUP, "waitForCapacityTimeout": "0.5s"}
    with pytest.raises(NotReadyError, match=r"at least 2 healthy instances in service: not within 0\.5 s") as trouble:
        TYPES["aws:autoscaling/group:Group"].create_it(_aws(autoscaling=autoscaling), wanted)
    assert trouble.value.identifier == "g"
    assert trouble.value.state["arn"] == "arn"


def test_a_group_is_drained_before_it_is_deleted_and_awaited_until_it_is_gone() -> None:
    autoscaling = _stubber("autoscaling")
    none = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
    autoscaling.add_response("update_auto_scaling_group", {}, {"AutoScalingGroupName": "g", **none})
    protected = _group("InService", "Terminating:Wait")
    for instance in protected["AutoScalingGroups"][0]["Instances"]:
        instance["ProtectedFromScaleIn"] = True
    names = [each["InstanceId"] for each in protected["AutoScalingGroups"][0]["Instances"]]
    autoscaling.add_response("describe_auto_scaling_groups", protected)
    autoscaling.add_response(
        "set_instance_protection",
        {},
        {"AutoScalingGroupName": "g", "InstanceIds": names, "ProtectedFromScaleIn": False},
    )
    for states in (("InService", "Terminating:Wait"), ("Terminating",), ()):
        autoscaling.add_response("describe_auto_scaling_groups", _group(*states))
    autoscaling.add_response("delete_auto_scaling_group", {}, {"AutoScalingGroupName": "g", "ForceDelete": False})
    autoscaling.add_response("describe_auto_scaling_groups", _group())
    autoscaling.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": []})
    TYPES["aws:autoscaling/group:Group"].delete_it(_aws(autoscaling=autoscaling), "g", _GROUP)
    autoscaling.assert_no_pending_responses()


def _cluster(state: str, **more: Any) -> dict[str, Any]:
    return {"ClusterInfo": {"ClusterArn": _CLUSTER, "State": state, "CurrentVersion": "V1", **more}}


_SASL = {"sasl": {"iam": True}}
_WANTED_CLUSTER = {
    "clusterName": "kafka",
    "kafkaVersion": "3.8.x",
    "numberOfBrokerNodes": 3,
    "enhancedMonitoring": "DEFAULT",
    "brokerNodeGroupInfo": {
        "azDistribution": "DEFAULT",
        "clientSubnets": ["subnet-1"],
        "instanceType": "kafka.m5.large",
        "securityGroups": ["sg-1"],
        "connectivityInfo": {"vpcConnectivity": {"clientAuthentication": _SASL}},
    },
}


def test_a_cluster_is_created_then_awaited_then_opened_to_other_vpcs() -> None:
    kafka = _stubber("kafka")
    nodes = {
        "BrokerAZDistribution": "DEFAULT",
        "ClientSubnets": ["subnet-1"],
        "InstanceType": "kafka.m5.large",
        "SecurityGroups": ["sg-1"],
        "ConnectivityInfo": {},
    }
    created = {"ClusterName": "kafka", "KafkaVersion": "3.8.x", "NumberOfBrokerNodes": 3}
    created |= {"EnhancedMonitoring": "DEFAULT", "BrokerNodeGroupInfo": nodes}
    kafka.add_response("create_cluster", {"ClusterArn": _CLUSTER}, created)
    for state in ("CREATING", "CREATING", "ACTIVE", "ACTIVE"):
        kafka.add_response("describe_cluster", _cluster(state))
    iam = {"VpcConnectivity": {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}}
    opened = {"ClusterArn": _CLUSTER, "CurrentVersion": "V1", "ConnectivityInfo": iam}
    kafka.add_response("update_connectivity", {"ClusterOperationArn": "op"}, opened)
    for state in ("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"):
        kafka.add_response("describe_cluster_operation", {"ClusterOperationInfo": {"OperationState": state}})
    kafka.add_response("describe_cluster", _cluster("ACTIVE", BrokerNodeGroupInfo={**nodes, "ConnectivityInfo": iam}))
    kafka.add_response("get_bootstrap_brokers", {"BootstrapBrokerStringSaslIam": "b-2:9098,b-1:9098"})
    _, state = TYPES["aws:msk/cluster:Cluster"].create_it(_aws(kafka=kafka), _WANTED_CLUSTER)
    kafka.assert_no_pending_responses()
    assert state["bootstrapBrokersSaslIam"] == "b-1:9098,b-2:9098"
    assert state["bootstrapBrokersTls"] == ""
    assert state["brokerNodeGroupInfo"]["connectivityInfo"]["vpcConnectivity"]["clientAuthentication"] == _SASL


def test_a_cluster_that_fails_says_why_and_is_remembered() -> None:
    kafka = _stubber("kafka")
    kafka.add_response("create_cluster", {"ClusterArn": _CLUSTER})
    for _ in range(2):
        kafka.add_response("describe_cluster", _cluster("FAILED", StateInfo={"Message": "no capacity"}))
    with pytest.raises(NotReadyError, match="failed: no capacity") as trouble:
        TYPES["aws:msk/cluster:Cluster"].create_it(_aws(kafka=kafka), _WANTED_CLUSTER)
    assert trouble.value.identifier == _CLUSTER


def _topic(status: str, configs: str, partitions: int = 3) -> dict[str, Any]:
    return {
        "TopicArn": "topic-arn",
        "TopicName": "telemetry",
        "Status": status,
        "PartitionCount": partitions,
        "ReplicationFactor": 3,
        "Configs": base64.b64encode(configs.encode()).decode(),
    }


_TOPIC = {
    "clusterArn": _CLUSTER,
    "name": "telemetry",
    "partitionCount": 3,
    "replicationFactor": 3,
    "configs": '{"retention.ms": 3600000}',
}
_WHERE = {"ClusterArn": _CLUSTER, "TopicName": "telemetry"}


def test_a_topic_is_awaited_and_only_its_own_settings_count() -> None:
    kafka = _stubber("kafka")
    encoded = base64.b64encode(_TOPIC["configs"].encode()).decode()  # type: ignore[union-attr]
    wanted = {**_WHERE, "PartitionCount": 3, "ReplicationFactor": 3, "Configs": encoded}
    kafka.add_response("create_topic", {"TopicArn": "topic-arn"}, wanted)
    actual = '{"retention.ms": "3600000", "cleanup.policy": "delete"}'
    for status in ("CREATING", "ACTIVE", "ACTIVE"):
        kafka.add_response("describe_topic", _topic(status, actual), _WHERE)
    kind = TYPES["aws:msk/topic:Topic"]
    identifier, state = kind.create_it(_aws(kafka=kafka), _TOPIC)
    assert identifier == f"{_CLUSTER},telemetry"
    assert state["configsActual"] == actual
    assert kind.diff(state, _TOPIC) == []


def test_partitions_and_settings_of_a_topic_are_changed_one_by_one() -> None:
    kafka = _stubber("kafka")
    new = {**_TOPIC, "partitionCount": 6, "configs": '{"retention.ms": 60000}'}
    configs = base64.b64encode(new["configs"].encode()).decode()  # type: ignore[union-attr]
    kafka.add_response("update_topic", {}, {**_WHERE, "Configs": configs})
    kafka.add_response("describe_topic", _topic("ACTIVE", new["configs"]), _WHERE)  # type: ignore[arg-type]
    kafka.add_response("update_topic", {}, {**_WHERE, "PartitionCount": 6})
    for status in ("UPDATING", "ACTIVE", "ACTIVE"):
        kafka.add_response("describe_topic", _topic(status, new["configs"], 6), _WHERE)  # type: ignore[arg-type]
    state = TYPES["aws:msk/topic:Topic"].update_it(_aws(kafka=kafka), "t", _TOPIC, new)
    kafka.assert_no_pending_responses()
    assert state["partitionCount"] == 6


def test_a_topic_that_is_gone_reads_as_gone_and_an_import_has_everything() -> None:
    kafka = _stubber("kafka")
    kafka.add_client_error("describe_topic", "NotFoundException")
    kafka.add_response("describe_topic", _topic("ACTIVE", '{"retention.ms": "1"}'), _WHERE)
    kind, aws = TYPES["aws:msk/topic:Topic"], _aws(kafka=kafka)
    assert kind.state(aws, "t", _TOPIC) is None
    imported = kind.state(aws, f"{_CLUSTER},telemetry", {})
    assert imported is not None
    assert imported[1]["configs"] == '{"retention.ms": "1"}'
    assert imported[1]["name"] == "telemetry"


def test_custom_timeouts_shorten_a_wait() -> None:
    with pytest.raises(ProviderError, match=r"it: not within 0\.3 s"):
        _aws().within(0.3).wait("it", lambda: None, minutes=10)


def test_the_engines_cancel_ends_a_wait() -> None:
    aws = _aws()
    timer = threading.Timer(0.3, aws.cancelled.set)
    timer.start()
    with pytest.raises(ProviderError, match="it: cancelled"):
        aws.wait("it", lambda: None, minutes=10)
    timer.join()


@pytest.mark.parametrize("duration", ["soon", "", "10"])
def test_a_capacity_timeout_that_is_no_duration_is_refused(duration: str) -> None:
    autoscaling = _stubber("autoscaling")
    autoscaling.add_response("create_auto_scaling_group", {})
    autoscaling.add_response("describe_auto_scaling_groups", _group())
    create: Callable[..., Any] = TYPES["aws:autoscaling/group:Group"].create_it
    with pytest.raises(NotReadyError, match="must be a duration such as 10m"):
        create(_aws(autoscaling=autoscaling), {**_GROUP, "waitForCapacityTimeout": duration})


def test_a_deletion_waits_until_nothing_depends_on_it() -> None:
    ec2 = _stubber("ec2")
    for _ in range(2):
        ec2.add_client_error("delete_subnet", "DependencyViolation", "it has dependencies")
    ec2.add_response("delete_subnet", {})
    ec2.add_client_error("describe_subnets", "InvalidSubnetID.NotFound")
    TYPES["aws:ec2/subnet:Subnet"].delete_it(_aws(ec2=ec2), "subnet-1", {})
    ec2.assert_no_pending_responses()


def test_a_deletion_that_stays_refused_says_why_and_another_refusal_is_told_at_once() -> None:
    ec2 = _stubber("ec2")
    for _ in range(12):
        ec2.add_client_error("delete_subnet", "DependencyViolation", "it has dependencies")
    with pytest.raises(ProviderError, match=r"not within 0\.5 s; DeleteSubnet: DependencyViolation: it has depend"):
        TYPES["aws:ec2/subnet:Subnet"].delete_it(_aws(ec2=ec2).within(0.5), "subnet-1", {})
    denied = _stubber("ec2")
    denied.add_client_error("delete_subnet", "UnauthorizedOperation", "not you")
    with pytest.raises(ClientError, match="not you"):
        TYPES["aws:ec2/subnet:Subnet"].delete_it(_aws(ec2=denied), "subnet-1", {})
