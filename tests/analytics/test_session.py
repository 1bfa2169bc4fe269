"""Settings follow the standard variables, and a wrong one is named."""

from pathlib import Path

import pytest

from analytics import session
from analytics.errors import AnalysisError


def test_an_endpoint_and_keys_are_used_as_the_variables_say() -> None:
    found = session.s3a_settings(
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:4000", "AWS_ACCESS_KEY_ID": "key", "AWS_REGION": "eu-central-1"}
    )
    assert found == {
        "spark.hadoop.fs.s3a.endpoint": "http://127.0.0.1:4000",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.endpoint.region": "eu-central-1",
    }
    assert not any("key" in value for value in found.values())


def test_without_them_s3_itself_and_the_default_credentials_are_used() -> None:
    assert session.s3a_settings({}) == {
        "spark.hadoop.fs.s3a.aws.credentials.provider": (
            "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
        )
    }


def test_jars_from_folders_globs_and_files(tmp_path: Path) -> None:
    for name in ("a.jar", "b.jar", "readme.txt"):
        (tmp_path / name).write_text("")
    assert session.jars(str(tmp_path)) == [f"{tmp_path}/a.jar", f"{tmp_path}/b.jar"]
    assert session.jars(f"{tmp_path}/*") == session.jars(str(tmp_path))
    assert session.jars(f"{tmp_path}/b.jar, {tmp_path}/a.jar,") == [f"{tmp_path}/b.jar", f"{tmp_path}/a.jar"]


def test_a_place_without_jars_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"FLEETSTREAM_SPARK_JARS: no jar at '.*/none'; run `make install`"):
        session.jars(f"{tmp_path}/none")
