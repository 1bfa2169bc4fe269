"""The Kafka client factory, without a broker (with one: tests/envs/sandbox/test_broker.py)."""

import base64
import pickle
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.stub import Stubber

from services import kafka
from services.errors import ServiceError

ARN = "arn:aws:kafka:eu-west-1:123456789012:cluster/fleet/0f6e9d5c-0000-0000-0000-000000000000-1"


def signed_query(token: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()).query)


def test_a_configuration_signs_in_with_iam_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIADEFAULT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.delenv(kafka.CA_VARIABLE, raising=False)

    config = pickle.loads(pickle.dumps(kafka.client_config("b-1:9098,b-2:9098", "eu-west-1")))  # noqa: S301
    token, expires = config["oauth_cb"]("")

    assert config["bootstrap.servers"] == "b-1:9098,b-2:9098"
    assert (config["security.protocol"], config["sasl.mechanisms"]) == ("SASL_SSL", "OAUTHBEARER")
    assert "ssl.ca.location" not in config
    assert signed_query(token)["X-Amz-Credential"][0].startswith("AKIADEFAULT/")
    assert 0 < expires - time.time() <= 900


def test_the_authority_comes_from_the_variable_or_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kafka.CA_VARIABLE, "/sandbox/ca.pem")
    assert kafka.client_config("b:1", "eu-west-1")["ssl.ca.location"] == "/sandbox/ca.pem"
    assert kafka.client_config("b:1", "eu-west-1", ca="/own.pem")["ssl.ca.location"] == "/own.pem"


def test_a_session_signs_as_its_role() -> None:
    session = boto3.Session("ASIAROLE", "secret", "session-token", region_name="eu-west-1")
    token, _ = kafka.client_config("b:1", "eu-west-1", session=session)["oauth_cb"]("")
    assert signed_query(token)["X-Amz-Credential"][0].startswith("ASIAROLE/")
    assert signed_query(token)["X-Amz-Security-Token"] == ["session-token"]


def test_without_credentials_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ServiceError, match="set AWS_PROFILE or AWS_ACCESS_KEY_ID"):
        kafka.client_config("b:1", "eu-west-1")["oauth_cb"]("")


class OneClient(boto3.Session):
    """A session whose only client is stubbed; notes for which region it was asked."""

    def __init__(self, **answer: str) -> None:
        super().__init__("AKIA", "secret", region_name="us-east-1")
        self.msk = boto3.client("kafka", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
        self.stub = Stubber(self.msk)
        self.stub.add_response("get_bootstrap_brokers", answer, {"ClusterArn": ARN})
        self.stub.activate()
        self.regions: list[str | None] = []

    def client(self, service_name: Any, region_name: Any = None, *args: Any, **kwargs: Any) -> Any:
        self.regions.append(region_name)
        return self.msk


def test_bootstrap_servers_are_those_for_iam_in_the_clusters_region() -> None:
    session = OneClient(BootstrapBrokerStringSaslIam="b-1:9098", BootstrapBrokerStringTls="b-1:9094")
    assert kafka.bootstrap_servers(ARN, session) == "b-1:9098"
    assert session.regions == ["eu-west-1"]


def test_a_cluster_without_iam_is_refused_with_what_it_offers() -> None:
    with pytest.raises(ServiceError, match=r"offers no SASL/IAM, only BootstrapBrokerStringTls: .*sasl\.iam"):
        kafka.bootstrap_servers(ARN, OneClient(BootstrapBrokerStringTls="b-1:9094"))
    with pytest.raises(ServiceError, match=r"only nothing yet: wait until it is ACTIVE"):
        kafka.bootstrap_servers(ARN, OneClient())


def test_brokers_that_do_not_answer_are_named() -> None:
    session = boto3.Session("AKIA", "secret", region_name="eu-west-1")
    config = {**kafka.client_config("localhost:9", "eu-west-1", ca=None, session=session), "log_level": 0}
    with pytest.raises(ServiceError, match=r"Kafka at localhost:9 cannot be used: .*[Cc]onnect"):
        kafka.admin(config, timeout_s=1)
