"""The AWS process itself: how it starts and ends, and what it says to calls that it does not know."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3
from botocore.exceptions import ClientError

from envs.sandbox import account, processes
from tests.envs.sandbox.aws.emulated import Aws, running

pytestmark = pytest.mark.xdist_group("aws-server")  # one AWS process for all of them


def launch(state_dir: Path, port: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "envs.sandbox.aws", "--state-dir", str(state_dir), "--port", str(port)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_taken_port_is_one_line_that_names_it(tmp_path: Path) -> None:
    settings = account.create(tmp_path, "us-east-1")
    with socket.create_server(("127.0.0.1", settings.aws_port)):
        out, err = launch(tmp_path, settings.aws_port).communicate(timeout=120)
    assert err.splitlines()[-1].startswith(
        f"error: port {settings.aws_port} of 127.0.0.1 is taken by another process"
    )
    assert "Traceback" not in out + err


def test_a_missing_sandbox_is_one_line(tmp_path: Path) -> None:
    process = launch(tmp_path, 1)
    assert process.communicate(timeout=120)[1].startswith("error: no sandbox in")
    assert process.returncode == 1


def test_sigterm_ends_it_in_order_and_requests_leave_no_line(tmp_path: Path) -> None:
    with running(tmp_path) as aws:
        aws.client("ec2").describe_vpcs()
        record = processes.find(tmp_path, "aws")
        assert record is not None
        process = psutil.Process(record.pid)
        assert {each.laddr.ip for each in process.net_connections() if each.status == psutil.CONN_LISTEN} == {
            "127.0.0.1"
        }
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        log = (tmp_path / "logs" / "aws.log").read_text()
        assert len(log.splitlines()) == 1, log
        assert f"answers on {aws.account.endpoint}" in log


@pytest.mark.parametrize(
    ("service", "call", "said"),
    [
        ("kafka", lambda c: c.list_nodes(ClusterArn="arn:x"), "ListNodes of kafka"),
        ("ec2", lambda c: c.describe_ipams(), "DescribeIpams of ec2"),
        (
            "sqs",
            lambda c: c.list_message_move_tasks(SourceArn="arn:aws:sqs:us-east-1:1:x"),
            "ListMessageMoveTasks of sqs",
        ),
        ("lambda", lambda c: c.list_capacity_providers(), "ListCapacityProviders of lambda"),
        ("rolesanywhere", lambda c: c.list_crls(), "ListCrls of rolesanywhere"),
        ("detective", lambda c: c.list_graphs(), "ListGraphs of detective"),
    ],
)
def test_an_unknown_call_is_named(aws: Aws, service: str, call: Any, said: str) -> None:
    with pytest.raises(ClientError) as error:
        call(aws.client(service))
    assert error.value.response["Error"]["Code"] == "NotImplemented"
    assert error.value.response["Error"]["Message"] == f"the emulated AWS does not implement {said}"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_what_is_not_there_is_still_a_service_s_own_answer(aws: Aws) -> None:
    s3 = aws.client("s3")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket="not-there-at-all", Key="x")
    assert error.value.response["Error"]["Code"] == "404"
    with pytest.raises(aws.client("lambda").exceptions.ClientError, match="Function not found"):
        aws.client("lambda").get_function(FunctionName="nope")


def test_moto_s_reset_leaves_an_empty_account_with_the_extensions(aws: Aws) -> None:
    kafka, s3 = aws.client("kafka"), aws.client("s3")
    kafka.create_configuration(Name="c", ServerProperties=b"")
    s3.create_bucket(Bucket="to-be-reset")
    assert urllib3.request("POST", f"{aws.account.endpoint}/moto-api/reset", timeout=30).status == 200
    assert kafka.list_configurations()["Configurations"] == []
    assert s3.list_buckets()["Buckets"] == []
    assert aws.client("ec2").describe_vpcs()["Vpcs"] == []
    s3.create_bucket(Bucket="made-anew")
    assert s3.get_public_access_block(Bucket="made-anew")["PublicAccessBlockConfiguration"]["BlockPublicAcls"] is True
