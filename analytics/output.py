"""Writes the results where they belong, whole or not at all, on any file system that Hadoop knows."""

import csv
import io
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from analytics import hadoop
from analytics.errors import AnalysisError
from analytics.frames import as_text, frame


def address(text: str) -> str:
    """A place as Hadoop takes it: ``s3a://...`` and ``file://...`` as they are, a plain path made absolute."""
    return text.rstrip("/") if "://" in text else f"file://{Path(text).resolve()}"


class Output:
    """A context: tables are collected in a folder beside their place and moved there together by `publish`.

    On a local disk and HDFS that is one rename, so a reader sees the tables of the last whole run or of this one. On
    S3 a rename copies file by file; each file is still whole, and the caller's summary is written after all of them.
    When the context ends without `publish`, nothing remains.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        """Raises `AnalysisError` when ``root`` cannot be written, before any work is done."""
        self._spark = spark
        self.root = address(root)
        self._work = f"{self.root}/_writing-{uuid.uuid4().hex}"
        try:
            self._files: Any = hadoop.file_system(spark, self.root)
            self._files.setWriteChecksum(False)
            made = self._files.mkdirs(self._path(self._work))
        except Py4JJavaError as error:
            raise AnalysisError(f"{self.root}: cannot be written: {error.java_exception.getMessage()}") from error
        if not made:
            raise AnalysisError(f"{self.root}: cannot be written; choose another --output")

    def _path(self, name: str) -> Any:
        return hadoop.path(self._spark, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.delete(self._path(self._work), True)

    def add_table(self, name: str, rows: Sequence[Mapping[str, Any]], schema: StructType) -> None:
        """One table as ``tables/<name>.parquet`` and ``tables/<name>.csv``, a file each, rows in the given order."""
        folder = f"{self._work}/{name}-parquet"
        frame(self._spark, rows, schema).write.parquet(folder)
        written = [entry.getPath() for entry in self._files.listStatus(self._path(folder))]
        (part,) = (path for path in written if path.getName().startswith("part-"))
        self._files.mkdirs(self._path(f"{self._work}/tables"))
        self._move(part, self._path(f"{self._work}/tables/{name}.parquet"))
        self._put(f"{self._work}/tables/{name}.csv", _as_csv(rows, schema.names))

    def add_quarantine(self, refused: DataFrame) -> None:
        """The refused rows as JSON lines in ``quarantine/``."""
        refused.coalesce(1).write.json(f"{self._work}/quarantine")

    def publish(self) -> None:
        """Puts the tables and the quarantine in place of an earlier run's."""
        for name in ("quarantine", "tables"):
            new, final = self._path(f"{self._work}/{name}"), self._path(f"{self.root}/{name}")
            if self._files.exists(final):
                self._move(final, self._path(f"{self._work}/{name}-before"))
            if self._files.exists(new):
                self._move(new, final)

    def put(self, name: str, content: bytes) -> str:
        """One more file of the results, whole or absent; returns its whole name."""
        temporary, final = f"{self._work}/{name}", f"{self.root}/{name}"
        self._put(temporary, content)
        if self._files.exists(self._path(final)):
            self._files.delete(self._path(final), True)
        self._move(self._path(temporary), self._path(final))
        return final

    def _put(self, name: str, content: bytes) -> None:
        stream = self._files.create(self._path(name), True)
        try:
            stream.write(bytearray(content))
        finally:
            stream.close()

    def _move(self, source: Any, target: Any) -> None:
        if not self._files.rename(source, target):
            raise AnalysisError(f"{target.toString()}: cannot be put in place; is another analysis writing there?")


def _as_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([as_text(row[name]) for name in names] for row in rows)
    return text.getvalue().encode()
