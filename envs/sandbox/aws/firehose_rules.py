"""What Firehose refuses of an S3 destination: prefixes, hints, processors, and what they point at.

Sources: Amazon Data Firehose Developer Guide ("Understand custom prefixes for Amazon S3 objects", "Transform source
data in Amazon Data Firehose"), Firehose API Reference (ExtendedS3DestinationConfiguration, BufferingHints, Processor,
ProcessorParameter).
"""

import re
import zoneinfo
from collections.abc import Mapping
from typing import Any, Final

from moto.firehose.exceptions import InvalidArgumentException

_EXPRESSION: Final = re.compile(r"!\{([^{}:]*):([^{}]*)\}")
_TIME_LETTERS: Final = frozenset("GuyDMLdQqYwWeEFahKkHmsSAnNVzOXxZ")
_EXTENSION: Final = re.compile(r"\.[0-9a-z!\-_.*'()]+")
_RANGES: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "Lambda": {
        "BufferSizeInMBs": (0.2, 3),
        "BufferIntervalInSeconds": (0, 900),
        "NumberOfRetries": (0, 300),
    },
}
_REQUIRED: Final = {"Lambda": ("LambdaArn",), "AppendDelimiterToRecord": ()}
LAMBDA_DEFAULTS: Final = {"BufferSizeInMBs": "1", "BufferIntervalInSeconds": "60", "NumberOfRetries": "3"}
"""What Firehose tells of a Lambda processor when nobody set it (`flattenProcessingConfiguration` of the official
provider's internal/service/firehose/delivery_stream.go leaves these out again)."""


def check_destination(s3: Mapping[str, Any]) -> None:
    """Everything about an ExtendedS3 destination that needs no look at other services."""
    check_prefixes(s3)
    hints = s3.get("BufferingHints") or {}
    _in_range("BufferingHints.SizeInMBs", hints.get("SizeInMBs", 5), 1, 128)
    _in_range("BufferingHints.IntervalInSeconds", hints.get("IntervalInSeconds", 300), 0, 900)
    if s3.get("CompressionFormat", "UNCOMPRESSED") not in ("UNCOMPRESSED", "GZIP", "ZIP", "Snappy", "HADOOP_SNAPPY"):
        raise InvalidArgumentException(f"CompressionFormat {s3['CompressionFormat']!r} is not known.")
    if (extension := s3.get("FileExtension")) and not _EXTENSION.fullmatch(extension):
        raise InvalidArgumentException(
            f"FileExtension {extension!r} must begin with a dot: lower-case letters, digits."
        )
    if (zone := s3.get("CustomTimeZone")) and zone not in zoneinfo.available_timezones():
        raise InvalidArgumentException(f"CustomTimeZone {zone!r} is not known.")
    for processor in processors(s3):
        _check_processor(processor)


def processors(s3: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The processors of a destination, whether they are enabled or not."""
    return list((s3.get("ProcessingConfiguration") or {}).get("Processors") or [])


def parameters(processor: Mapping[str, Any]) -> dict[str, str]:
    """A processor's parameters by name."""
    return {each["ParameterName"]: each["ParameterValue"] for each in processor.get("Parameters") or []}


def check_prefixes(s3: Mapping[str, Any]) -> None:
    """The rules of Prefix and ErrorOutputPrefix, and of the two together."""
    prefix, error_prefix = s3.get("Prefix") or "", s3.get("ErrorOutputPrefix") or ""
    dynamic = bool((s3.get("DynamicPartitioningConfiguration") or {}).get("Enabled"))
    expressions = _expressions("Prefix", prefix, dynamic)
    error_expressions = _expressions("ErrorOutputPrefix", error_prefix, dynamic=False)
    if ("firehose", "error-output-type") in expressions:
        raise InvalidArgumentException("Prefix cannot contain !{firehose:error-output-type}.")
    if expressions and not error_prefix:
        raise InvalidArgumentException("ErrorOutputPrefix cannot be null or empty when Prefix contains expressions.")
    if error_expressions and ("firehose", "error-output-type") not in error_expressions:
        raise InvalidArgumentException(
            "ErrorOutputPrefix with expressions must contain at least one !{firehose:error-output-type}."
        )


def _expressions(name: str, prefix: str, dynamic: bool) -> list[tuple[str, str]]:
    found = _EXPRESSION.findall(prefix)
    if "!{" in _EXPRESSION.sub("", prefix):
        raise InvalidArgumentException(f"{name} {prefix!r}: !{{ can only begin an expression !{{namespace:value}}.")
    for namespace, value in found:
        if namespace == "timestamp":
            unquoted = re.sub(r"'[^']*'", "", value)
            unknown = {letter for letter in unquoted if letter.isalpha()} - _TIME_LETTERS
            if not value or "'" in unquoted or unknown:
                raise InvalidArgumentException(f"{name}: {value!r} is not a pattern of Java's DateTimeFormatter.")
        elif namespace == "firehose":
            if value not in ("error-output-type", "random-string"):
                raise InvalidArgumentException(f"{name}: !{{firehose:{value}}} is not known.")
        elif namespace in ("partitionKeyFromQuery", "partitionKeyFromLambda"):
            if not dynamic:
                raise InvalidArgumentException(f"{name}: !{{{namespace}:}} needs dynamic partitioning to be enabled.")
        else:
            raise InvalidArgumentException(f"{name}: the namespace {namespace!r} is not known.")
    return found


def _check_processor(processor: Mapping[str, Any]) -> None:
    kind, given = processor["Type"], parameters(processor)
    for name in _REQUIRED.get(kind, ()):
        if not given.get(name):
            raise InvalidArgumentException(f"Processor {kind} needs the parameter {name}.")
    for name, (low, high) in _RANGES.get(kind, {}).items():
        if name in given:
            try:
                value = float(given[name])
            except ValueError:
                raise InvalidArgumentException(f"Processor {kind}: {name} {given[name]!r} is not a number.") from None
            _in_range(f"Processor {kind}: {name}", value, low, high)


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise InvalidArgumentException(f"{name} is {value:g}, it must be from {low:g} to {high:g}.")
