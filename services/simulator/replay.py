"""Recorded drives from CSV files: any file with a header, a row a report, a column a signal."""

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.errors import ServiceError
from services.simulator.drive import Drive

_DELIMITERS: Final = ",;\t|"
_UNITS: Final = re.compile(r"[(\[][^)\]]*[)\]]")
_MISSING: Final = frozenset({"", "nan"})


class ReplayError(ServiceError):
    """A recording that cannot be replayed: names the file, the line and the remedy."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a set of files holds. `notes` says in words what was left out, a line a file."""

    drives: list[Drive]
    notes: list[str] = field(default_factory=list)


def read(paths: Sequence[Path], device_column: str | None = None) -> Recording:
    """Reads recordings. A file is one device, named by the file's stem, unless `device_column` names the device.

    Column names become snake case without their units: ``ENGINE_RPM ()`` is ``engine_rpm``. A missing cell leaves
    its signal out of the row. Raises `ReplayError` for anything that would be guesswork.
    """
    if not paths:
        raise ReplayError("no recordings to replay: name at least one CSV file")
    rows_of: dict[str, list[dict[str, float]]] = {}
    file_of: dict[str, Path] = {}
    notes: list[str] = []
    for path in paths:
        for device, row in _File(path, device_column, notes):
            if device_column is None and file_of.setdefault(device, path) is not path:
                raise ReplayError(
                    f"{path} and {file_of[device]} would both be device {device!r}: rename one, "
                    "or name the column that holds the device (--device-column)"
                )
            rows_of.setdefault(device, []).append(row)
    return Recording([Drive(device, rows) for device, rows in rows_of.items()], notes)


def signal_names(header: Sequence[str]) -> list[str]:
    """Snake-case names without units; a name that comes again gets ``_2``, ``_3`` and so on behind it."""
    names: list[str] = []
    plain = [re.sub(r"\W+", "_", _UNITS.sub("", cell).strip().lower()).strip("_") for cell in header]
    for name in plain:
        unique, number = name, 1
        while unique in names or (number > 1 and unique in plain):
            number += 1
            unique = f"{name}_{number}"
        names.append(unique)
    return names


class _File:
    """One file, read row by row as ``(device, signals)``."""

    def __init__(self, path: Path, device_column: str | None, notes: list[str]) -> None:
        self._path = path
        self._device_column = device_column
        self._notes = notes
        self._text = self._decode()
        self._cut_off = not self._text.endswith(("\n", "\r"))
        first_line = self._text.lstrip("\r\n").partition("\n")[0]
        delimiter = max(_DELIMITERS, key=_UNITS.sub("", first_line).count)
        self._reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=delimiter, strict=True)

    def _decode(self) -> str:
        try:
            raw = self._path.read_bytes()
        except OSError as error:
            raise ReplayError(f"{self._path} cannot be read: {error.strerror}") from error
        if not raw.strip():
            raise ReplayError(f"{self._path} is empty: a recording has a header line and at least one row")
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ReplayError(
                f"{self._path}, line {line}: not UTF-8 text. A CSV file in another encoding can be "
                "converted with iconv; a binary file (a spreadsheet, an archive) must be exported as CSV first"
            ) from error
        if (at := text.find("\0")) >= 0:
            line = text.count("\n", 0, at) + 1
            raise ReplayError(f"{self._path}, line {line}: a binary file, not CSV. Export it as CSV in UTF-8")
        return text

    def __iter__(self) -> Iterator[tuple[str, dict[str, float]]]:
        rows = self._rows()
        header, _ = next(rows, ([], 0))
        names, device_at = self._columns(header)
        found = False
        for cells, line in rows:
            if (row := self._row(cells, line, len(names))) is not None:
                found = True
                yield self._report(row, line, header, names, device_at)
        if not found:
            raise self._error(self._reader.line_num, "a header and no row behind it: there is nothing to replay")

    def _rows(self) -> Iterator[tuple[list[str], int]]:
        """Rows that hold something, with their line in the file."""
        try:
            for cells in self._reader:
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    yield stripped, self._reader.line_num
        except csv.Error as error:
            raise self._error(self._reader.line_num, f"not CSV: {error}") from error

    def _columns(self, header: list[str]) -> tuple[list[str], int | None]:
        """Cuts a trailing empty column off `header`; returns the signals' names and where the device is."""
        line = self._reader.line_num
        if not header:
            raise self._error(line, "no header: the first line names the columns")
        for cell in header:
            if _is_number(cell):
                raise self._error(
                    line,
                    f"no header: the first line holds a value ({cell!r}). Put a line with the columns' names first",
                )
        if not header[-1]:
            header.pop()
        names = signal_names(header)
        for number, name in enumerate(names, 1):
            if not name.strip("_0123456789"):
                raise self._error(line, f"column {number} has no name ({header[number - 1]!r}): give it one")
        if self._device_column is None:
            return names, None
        wanted = self._device_column.strip()
        for at, (cell, name) in enumerate(zip(header, names, strict=True)):
            if wanted in (cell, name):
                return names, at
        raise self._error(line, f"no column {wanted!r} to take the device from. There are: {', '.join(header)}")

    def _row(self, cells: list[str], line: int, width: int) -> list[str] | None:
        """The row at the header's width; None for a last row that was cut off in the middle."""
        if len(cells) == width + 1 and not cells[-1]:
            return cells[:-1]
        if len(cells) == width:
            return cells
        if len(cells) < width and self._cut_off and line == self._last_line():
            self._notes.append(
                f"{self._path}, line {line}: the recording ends inside this row ({len(cells)} of {width} cells, "
                "no line end); the row is left out"
            )
            return None
        raise self._error(
            line,
            f"{len(cells)} cells where the header has {width}. Complete the row, or remove it; a cell that holds "
            "the separator itself must be quoted",
        )

    def _last_line(self) -> int:
        return sum(1 for _ in io.StringIO(self._text, newline=""))

    def _report(
        self, cells: list[str], line: int, header: list[str], names: list[str], device_at: int | None
    ) -> tuple[str, dict[str, float]]:
        device = self._path.stem if device_at is None else cells[device_at]
        if not device:
            raise self._error(line, f"no device in column {self._device_column!r}: every row needs one")
        signals: dict[str, float] = {}
        for at, cell in enumerate(cells):
            if at == device_at or cell.lower() in _MISSING:
                continue
            if not _is_number(cell):
                raise self._error(
                    line,
                    f"column {header[at]!r} holds {cell!r}, which is not a number. If this column names the device, "
                    f"pass --device-column {header[at]!r}; otherwise remove the column, or leave the cell empty",
                )
            signals[names[at]] = float(cell)
        return device, signals

    def _error(self, line: int, text: str) -> ReplayError:
        return ReplayError(f"{self._path}, line {max(line, 1)}: {text}")


def _is_number(cell: str) -> bool:
    """Whether a cell is a finite number as data files write one (Python alone would take ``1_000``)."""
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False
