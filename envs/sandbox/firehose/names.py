"""Names of the objects a stream writes: prefix expressions and suffix. Pure.

Rules: Firehose Developer Guide, "Understand custom prefixes for Amazon S3 objects" and "Configure Amazon S3 object
name format". Times are those of the oldest record in the object. Of Java's DateTimeFormatter the numeric fields that
make up dates and times are evaluated; any other letter is refused when the stream starts, not when it delivers.
"""

import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from envs.sandbox.firehose.errors import StreamError

MAX_PREFIX: Final = 512
"""Characters an evaluated prefix may have."""

_EXPRESSION: Final = re.compile(r"!\{([^{}:]*):([^{}]*)\}")
_PATTERN: Final = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|([^A-Za-z'])")
_HOURLY: Final = "!{timestamp:yyyy/MM/dd/HH/}"
_ERROR_TYPE: Final = "firehose:error-output-type"


@dataclass(frozen=True, kw_only=True)
class Names:
    """Makes the keys of one stream version. Raises `StreamError` for a prefix that cannot be evaluated."""

    stream: str
    version: str
    prefix: str
    error_prefix: str
    extension: str = ""
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        if f"!{{{_ERROR_TYPE}}}" in self.prefix:
            raise StreamError(f"Prefix of {self.stream} cannot contain !{{{_ERROR_TYPE}}}")
        if "!{" in self.prefix and not self.error_prefix:
            raise StreamError(f"{self.stream}: ErrorOutputPrefix cannot be null when Prefix contains expressions")
        if "!{" in self.error_prefix and f"!{{{_ERROR_TYPE}}}" not in self.error_prefix:
            raise StreamError(f"ErrorOutputPrefix of {self.stream} must contain !{{{_ERROR_TYPE}}}")
        self.record_key(0)
        self.error_key(0, "processing-failed")

    def record_key(self, oldest_ms: int) -> str:
        """A new key for an object of records. `oldest_ms`: arrival of its oldest record, since the epoch."""
        expression = self.prefix if "!{timestamp:" in self.prefix else self.prefix + _HOURLY
        return self._key(expression, oldest_ms, None)

    def error_key(self, oldest_ms: int, error_type: str) -> str:
        """A new key for an object of records that failed, e.g. with `error_type` ``processing-failed``."""
        expression = self.error_prefix
        if "!{" not in expression:
            # Without an expression the type and the hour follow what was given, or else the records' own prefix.
            expression = f"{expression or self.prefix}!{{{_ERROR_TYPE}}}/{_HOURLY}"
        return self._key(expression, oldest_ms, error_type)

    def _key(self, expression: str, oldest_ms: int, error_type: str | None) -> str:
        moment = datetime.fromtimestamp(oldest_ms / 1000, self.zone)
        prefix = evaluate(expression, moment, error_type)
        if len(prefix) > MAX_PREFIX:
            raise StreamError(f"{self.stream}: the prefix {prefix[:60]}... exceeds {MAX_PREFIX} characters")
        return f"{prefix}{self.stream}-{self.version}-{moment:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}{self.extension}"


def evaluate(expression: str, moment: datetime, error_type: str | None) -> str:
    """The prefix that an expression stands for at a moment. Raises `StreamError` for one that is not valid."""

    def value(match: re.Match[str]) -> str:
        namespace, name = match.groups()
        if namespace == "timestamp":
            return format_java(name, moment)
        if match.group(0) == f"!{{{_ERROR_TYPE}}}" and error_type is not None:
            return error_type
        if (namespace, name) == ("firehose", "random-string"):
            return secrets.token_hex(6)[:11]
        raise StreamError(f"prefix {expression!r}: {match.group(0)} is not executed here")

    text = _EXPRESSION.sub(value, expression)
    if "!{" in _EXPRESSION.sub("", expression):
        raise StreamError(f"prefix {expression!r}: !{{ can only appear in !{{namespace:value}} expressions")
    return text


def format_java(pattern: str, moment: datetime) -> str:
    """A moment in a pattern of Java's DateTimeFormatter (its numeric date and time fields)."""
    return "".join(_fields(pattern, moment))


def _fields(pattern: str, moment: datetime) -> Iterator[str]:
    position = 0
    while position < len(pattern):
        match = _PATTERN.match(pattern, position)
        if match is None:
            raise StreamError(f"timestamp pattern {pattern!r}: a quote is not closed")
        quoted, letter, literal = match.groups()
        if letter:
            yield _field(letter, len(match.group(0)), pattern, moment)
        elif literal:
            yield literal
        else:
            yield quoted.replace("''", "'") or "'"
        position = match.end()


def _field(letter: str, width: int, pattern: str, moment: datetime) -> str:
    if letter in "yu":
        return f"{moment.year % 100:02d}" if width == 2 else f"{moment.year:0{width}d}"
    if letter == "S":
        return f"{moment.microsecond:06d}".ljust(width, "0")[:width]
    numbers = {
        "M": moment.month,
        "d": moment.day,
        "D": moment.timetuple().tm_yday,
        "H": moment.hour,
        "m": moment.minute,
        "s": moment.second,
    }
    if letter not in numbers or width > (3 if letter == "D" else 2):
        hint = ": Y is the year of weeks, write yyyy" if letter == "Y" else ""
        raise StreamError(f"timestamp pattern {pattern!r}: {letter * width} is not executed here{hint}")
    return f"{numbers[letter]:0{width}d}"
