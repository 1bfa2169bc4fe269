"""A client of the broker may do what its policies and the cluster's say, request by request, and nothing else."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3
from confluent_kafka import KafkaError, KafkaException, Producer

from envs.sandbox import processes
from tests.envs.sandbox.aws.broker_client import DATA, ERRORS, Client, config, produce
from tests.envs.sandbox.aws.broker_stage import Stage
from tests.envs.sandbox.aws.permission_stage import ACCOUNT, Role, Statement, allow, document, log_of

pytestmark = [
    pytest.mark.xdist_group("broker-rights"),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("inside"),
]


@pytest.fixture(scope="module")
def broker(stage: Stage) -> Stage:
    stage.create_topic(DATA, 1)
    produce(Producer(config(stage, stage.aws.session)))
    return stage


def role(stage: Stage, name: str, *statements: Statement) -> Role:
    return Role(stage.aws, name, *statements, service="lambda.amazonaws.com")


def rights(stage: Stage, *actions: str) -> Statement:
    """These, on everything that the cluster has."""
    parts = [stage.cluster.replace(":cluster/", f":{part}/") for part in ("topic", "group", "transactional-id")]
    wanted = [f"kafka-cluster:{action}" for action in ("Connect", *actions)]
    return allow(wanted, [stage.cluster, *(f"{part}/*" for part in parts)])


def producer(stage: Stage, role: Role) -> Producer:
    return Producer({**config(stage, role.session), "enable.idempotence": False})


def test_each_right_that_is_missing_fails_exactly_the_calls_that_need_it(broker: Stage) -> None:
    def refused(missing: str) -> dict[str, int]:
        statement = rights(broker, *(action for action in ERRORS if action != missing))
        return Client(config(broker, role(broker, f"no-{missing}", statement).session), missing).refused()

    with ThreadPoolExecutor(5) as pool:
        found = dict(zip([*ERRORS, "nothing"], pool.map(refused, [*ERRORS, "nothing"]), strict=True))
    calls = Client(config(broker, broker.aws.session), "").calls()
    assert found.pop("nothing") == {}
    for missing, error in ERRORS.items():
        expected = {name: error for name, (_, needed) in calls.items() if missing in needed}
        assert (missing, found[missing]) == (missing, expected)
        assert expected
        lack = f'"Action": "kafka-cluster:{missing}", "Resource": "arn:aws:kafka:us-east-1:{ACCOUNT}:'
        assert f'missing in a policy of arn:aws:iam::{ACCOUNT}:role/no-{missing}: {{"Effect": "Allow", {lack}' in (
            log_of(broker.aws)
        )


def test_who_may_only_connect_may_do_nothing_and_the_administrator_everything(broker: Stage) -> None:
    alone = Client(config(broker, role(broker, "alone", rights(broker)).session), "alone")
    assert alone.refused().keys() == alone.calls().keys()
    assert Client(config(broker, broker.aws.session), "administrator").refused() == {}


def test_a_policy_that_is_taken_away_stops_who_is_at_work(broker: Stage) -> None:
    writer = role(broker, "writer", rights(broker, "DescribeTopic", "WriteData"))
    working = producer(broker, writer)
    produce(working)
    writer.put(rights(broker, "DescribeTopic"))
    wait_until(lambda: outcome(working) == KafkaError.TOPIC_AUTHORIZATION_FAILED)
    writer.put(rights(broker, "DescribeTopic", "WriteData"))
    wait_until(lambda: outcome(working) is None)


def outcome(producer: Producer, topic: str = DATA) -> int | None:
    """The error of one message, if any."""
    try:
        produce(producer, topic)
    except KafkaException as error:
        return error.args[0].code()
    return None


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for something that must come; only a hang fails by time."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_cluster_s_policy_lets_in_and_keeps_out(broker: Stage) -> None:
    kafka, topic = broker.aws.client("kafka"), f"{broker.cluster.replace(':cluster/', ':topic/')}/{DATA}"
    guest, barred = role(broker, "guest"), role(broker, "barred", rights(broker, "DescribeTopic", "WriteData"))
    admitted = {"Principal": {"AWS": guest.arn}}
    kept_out = {**allow("kafka-cluster:WriteData", topic, Principal={"AWS": barred.arn}), "Effect": "Deny"}
    policy = document(
        allow("kafka-cluster:Connect", broker.cluster, **admitted),
        allow(["kafka-cluster:DescribeTopic", "kafka-cluster:WriteData"], topic, **admitted),
        kept_out,
    )
    kafka.put_cluster_policy(ClusterArn=broker.cluster, Policy=policy)
    try:
        produce(producer(broker, guest))
        assert outcome(producer(broker, barred)) == KafkaError.TOPIC_AUTHORIZATION_FAILED
    finally:
        kafka.delete_cluster_policy(ClusterArn=broker.cluster)
    assert f"it is forbidden by {json.dumps(kept_out)}" in log_of(broker.aws)


def ask(stage: Stage, principal: str, operation: str, kind: str, name: str, told: str = "true") -> tuple[int, str]:
    """What the broker asks: the status, and why not."""
    fields = {"principal": principal, "operation": operation, "kind": kind, "name": name, "told": told}
    url = f"{stage.aws.account.endpoint}/fleetstream/kafka/allowed"
    answer = urllib3.request("GET", url, fields=fields)
    return answer.status, answer.json().get("error", "")


def test_a_delivery_stream_may_keep_its_offsets_and_nobody_else_may_touch_them(broker: Stage) -> None:
    owner = Role(broker.aws, "stream", allow("kafka-cluster:DescribeGroup", "*"))
    other = Role(broker.aws, "other", allow("kafka-cluster:DescribeGroup", "*"))
    broker.aws.client("s3").create_bucket(Bucket="streamed")
    broker.aws.client("firehose").create_delivery_stream(
        DeliveryStreamName="streamed",
        DeliveryStreamType="MSKAsSource",
        MSKSourceConfiguration={
            "MSKClusterARN": broker.cluster,
            "TopicName": DATA,
            "AuthenticationConfiguration": {"RoleARN": owner.arn, "Connectivity": "PRIVATE"},
        },
        ExtendedS3DestinationConfiguration={"RoleARN": owner.arn, "BucketARN": "arn:aws:s3:::streamed"},
    )
    own = ("READ", "GROUP", "firehose-streamed")
    assert ask(broker, owner.session_arn, *own) == (200, "")
    for principal, question in (
        (owner.session_arn.replace("/firehose", "/me"), own),
        (other.session_arn, own),
        (owner.session_arn, ("READ", "GROUP", "firehose-another")),
        (owner.session_arn, ("READ", "GROUP", "streamed")),
        (owner.session_arn, ("DELETE", "GROUP", "firehose-streamed")),
        (owner.session_arn, ("READ", "TOPIC", DATA)),
    ):
        status, reason = ask(broker, principal, *question)
        assert (status, f"User: {principal} is not authorized to perform: " in reason) == (403, True)


def test_who_and_what_is_unknown_is_refused_by_name(broker: Stage) -> None:
    all_rights = role(broker, "unknowing", allow("*", "*"))
    status, reason = ask(broker, all_rights.session_arn, "ALTER_CONFIGS", "GROUP", "g")
    assert (status, "MSK has no IAM action for it" in reason) == (403, True)
    assert f"ALTER_CONFIGS GROUP g: {'MSK has no'}" in log_of(broker.aws)
    for gone in ("arn:aws:sts::1:assumed-role/gone/x", f"arn:aws:iam::{ACCOUNT}:user/gone", "CN=localhost"):
        assert ask(broker, gone, "READ", "TOPIC", DATA) == (403, f"{gone} does not exist any more.")
    odd = role(broker, "odd", allow("kafka-cluster:*", "*", Condition={"DateLessThan": {"aws:CurrentTime": "2099"}}))
    status, reason = ask(broker, odd.session_arn, "READ", "TOPIC", DATA)
    assert (status, "DateLessThan" in reason) == (403, True)
    url = f"{broker.aws.account.endpoint}/fleetstream/kafka/allowed"
    assert urllib3.request("GET", url, fields={"principal": "x"}).status == 400


def test_a_user_is_held_against_its_policies_while_it_has_a_key(broker: Stage) -> None:
    iam = broker.aws.client("iam")
    arn = iam.create_user(UserName="visitor", Path="/team/")["User"]["Arn"]
    question = (arn, "READ", "TOPIC", DATA)
    assert "does not exist" in ask(broker, *question)[1]
    key = iam.create_access_key(UserName="visitor")["AccessKey"]["AccessKeyId"]
    assert "kafka-cluster:ReadData" in ask(broker, *question)[1]
    iam.put_user_policy(UserName="visitor", PolicyName="read", PolicyDocument=document(rights(broker, "ReadData")))
    assert ask(broker, *question) == (200, "")
    iam.update_access_key(UserName="visitor", AccessKeyId=key, Status="Inactive")
    assert ask(broker, *question)[0] == 403


def test_what_is_only_left_out_of_a_list_is_not_told(broker: Stage) -> None:
    quiet = role(broker, "quiet")
    for told, times in (("false", 0), ("true", 1)):
        assert ask(broker, quiet.session_arn, "DESCRIBE", "TOPIC", DATA, told)[0] == 403
        assert log_of(broker.aws).count(f"User: {quiet.session_arn} is not authorized") == times


def test_while_the_aws_is_dead_who_is_at_work_goes_on_and_nobody_gets_more(broker: Stage) -> None:
    """Last in this file: there is no account afterwards."""
    broker.create_topic("never-asked", 1)
    worker = role(broker, "worker", rights(broker, "DescribeTopic", "WriteData"))
    working = producer(broker, worker)
    produce(working)
    processes.stop(broker.aws.state_dir, "aws")
    # Longer than a decision holds while it can be looked at again.
    end = time.monotonic() + 12
    while time.monotonic() < end:
        produce(working)
        time.sleep(0.1)
    assert outcome(working, "never-asked") == KafkaError.TOPIC_AUTHORIZATION_FAILED
