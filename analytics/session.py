"""The Spark session: local settings when started as a plain program, the cluster's own when submitted."""

import glob
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from pyspark.sql import SparkSession

from analytics.errors import AnalysisError

JARS_VARIABLE = "FLEETSTREAM_SPARK_JARS"
"""Where the S3A jars are on this machine: a comma-separated list of files, directories or globs."""


def jars(value: str) -> list[str]:
    """The jar files that ``FLEETSTREAM_SPARK_JARS`` names. Raises `AnalysisError` for an entry that names none."""
    found: list[str] = []
    for entry in filter(None, (part.strip() for part in value.split(","))):
        pattern = f"{entry}/*.jar" if Path(entry).is_dir() else entry
        matches = sorted(path for path in glob.glob(pattern) if path.endswith(".jar"))  # noqa: PTH207 (absolute pattern)
        if not matches:
            raise AnalysisError(f"{JARS_VARIABLE}: no jar at {entry!r}; run `make install` or correct the variable")
        found += matches
    return found


def s3a_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Spark settings that let S3A use the endpoint and keys of the standard AWS variables.

    Without an endpoint and keys S3A talks to S3 itself with the SDK's default credentials. Hadoop's own provider for
    the variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN is in S3A's default list (Hadoop,
    "Hadoop-AWS module: Integration with Amazon Web Services", section Authentication), so keys are never copied
    into a setting.
    """
    settings: dict[str, str] = {}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        settings["spark.hadoop.fs.s3a.endpoint"] = endpoint
        settings["spark.hadoop.fs.s3a.path.style.access"] = "true"
        settings["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(endpoint.startswith("https:")).lower()
    if region := environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"):
        settings["spark.hadoop.fs.s3a.endpoint.region"] = region
    if not environment.get("AWS_ACCESS_KEY_ID"):
        settings["spark.hadoop.fs.s3a.aws.credentials.provider"] = (
            "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
        )
    return settings


def common_settings() -> dict[str, str]:
    """Settings that the results depend on, wherever the job runs."""
    return {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.files.ignoreCorruptFiles": "false",
        "spark.sql.files.ignoreMissingFiles": "false",
        # Percentiles keep one small buffer a group: hashing thousands of groups beats sorting the rows by group.
        "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "100000",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


def local_settings(environment: Mapping[str, str], cores: int) -> dict[str, str]:
    """Settings of a session inside one process on this machine."""
    scratch = tempfile.gettempdir()
    log4j = files("analytics") / "log4j2.properties"
    settings = {
        "spark.master": f"local[{cores}]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": (
            f'-Dlog4j2.configurationFile="{log4j}" -Djava.io.tmpdir="{scratch}" -XX:+UseParallelGC'
        ),
        "spark.local.dir": scratch,
        "spark.sql.shuffle.partitions": str(2 * cores),
        "spark.sql.files.openCostInBytes": str(256 * 1024),
    }
    if named := environment.get(JARS_VARIABLE):
        settings["spark.driver.extraClassPath"] = os.pathsep.join(jars(named))
    return settings


def session(name: str, cores: int | None = None) -> SparkSession:
    """The running session, or a new one named ``name``; ``cores`` limits a local one (default: all of this machine).

    ``spark-submit`` (EMR Serverless too) decides on master, memory and jars itself and sets PYSPARK_GATEWAY_PORT for
    the program it starts; then only what the results depend on is set here.
    """
    # Spark hands timestamps to Python in the process's own zone.
    os.environ["TZ"] = "UTC"
    time.tzset()
    settings = common_settings()
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        # The interpreter of Spark's Python workers is taken from here only; their default is whatever python3 is.
        os.environ["PYSPARK_PYTHON"] = sys.executable
        settings |= local_settings(os.environ, cores or os.cpu_count() or 1) | s3a_settings(os.environ)
    builder = SparkSession.builder.appName(name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
