"""Hadoop's file systems through Spark's JVM: one way to list and write local folders and S3 alike."""

from typing import Any

from pyspark.sql import SparkSession


def path(spark: SparkSession, name: str) -> Any:
    """A Hadoop path."""
    jvm: Any = spark.sparkContext._jvm
    return jvm.org.apache.hadoop.fs.Path(name)


def file_system(spark: SparkSession, name: str) -> Any:
    """The file system that ``name`` lies on. Raises `Py4JJavaError` when its scheme or address is not usable."""
    context: Any = spark.sparkContext._jsc
    return path(spark, name).getFileSystem(context.hadoopConfiguration())
