"""Recordings: what is read as what, and what is refused with which words."""

from pathlib import Path

import pytest

from services import contract
from services.simulator.fleet import payload
from services.simulator.replay import Recording, ReplayError, read, signal_names

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "data" / "obd"


def recorded(tmp_path: Path, text: str | bytes, name: str = "car.csv", column: str | None = None) -> Recording:
    """The recording in a file of this content."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read([path], column)


def test_a_file_is_a_device_and_a_row_a_report(tmp_path: Path) -> None:
    made = recorded(tmp_path, "ENGINE_RPM (),VEHICLE_SPEED (km/h)\r\n 853.5, 0\r\n 900, 12.25\r\n", "drive10.csv")
    (drive,) = made.drives
    assert drive.device == "drive10"
    assert drive.rows == [{"engine_rpm": 853.5, "vehicle_speed": 0.0}, {"engine_rpm": 900.0, "vehicle_speed": 12.25}]
    assert made.notes == []
    assert payload(drive.rows[0]) == b'"signals":{"engine_rpm":853.5,"vehicle_speed":0.0}}'


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["ENGINE_RPM ()", "Fuel Tank [%]", "Intake-Air  Temp (°C)"], ["engine_rpm", "fuel_tank", "intake_air_temp"]),
        (["Speed (km/h)", "speed (mph)", "SPEED"], ["speed", "speed_2", "speed_3"]),
        (["a", "a", "a_2"], ["a", "a_3", "a_2"]),
    ],
)
def test_names_are_snake_case_without_units_and_unique(header: list[str], names: list[str]) -> None:
    assert signal_names(header) == names


@pytest.mark.parametrize(
    "text", ["a,b,\n1,2,\n", "a,b\n1,2,\n", "a,b,\n1,2\n", "\n\na,b\n\n1,2\n , \n", "﻿a,b\n1,2\n"]
)
def test_a_trailing_empty_column_blank_lines_and_a_byte_order_mark_are_nothing(tmp_path: Path, text: str) -> None:
    assert recorded(tmp_path, text).drives[0].rows == [{"a": 1.0, "b": 2.0}]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    text = f"a (x, y){separator}b\n1{separator}2\n" if separator != "," else '"a (x, y)",b\n1,2\n'
    assert recorded(tmp_path, text).drives[0].rows == [{"a": 1.0, "b": 2.0}]


@pytest.mark.parametrize("missing", ["", " ", "NaN", '""'])
def test_a_missing_cell_leaves_its_signal_out(tmp_path: Path, missing: str) -> None:
    assert recorded(tmp_path, f"a,b,c\n1,{missing},3\n").drives[0].rows == [{"a": 1.0, "c": 3.0}]


@pytest.mark.parametrize("column", ["Vehicle (plate)", "vehicle"])
def test_the_device_from_a_column(tmp_path: Path, column: str) -> None:
    made = recorded(tmp_path, "Vehicle (plate),a\nX-1,1\nY-2,2\nX-1,3\n", column=column)
    assert [(drive.device, drive.rows) for drive in made.drives] == [
        ("X-1", [{"a": 1.0}, {"a": 3.0}]),
        ("Y-2", [{"a": 2.0}]),
    ]


def test_a_recording_that_was_cut_off_loses_its_last_row_only_and_says_so(tmp_path: Path) -> None:
    made = recorded(tmp_path, "a,b,c\n1,2,3\n4,5")
    assert made.drives[0].rows == [{"a": 1.0, "b": 2.0, "c": 3.0}]
    (note,) = made.notes
    assert "car.csv, line 3" in note
    assert "2 of 3 cells" in note


@pytest.mark.parametrize(
    ("text", "line", "remedy"),
    [
        ("", None, "is empty"),
        ("\n \n", None, "is empty"),
        (b"PK\x03\x04\x00\x00", 1, "Export it as CSV"),
        (b"a,b\n1,\xff\xfe\n", 2, "iconv"),
        (b"\x1f\x8b\x08\x08rest", 1, "binary file"),
        ("1,2\n3,4\n", 1, "Put a line with the columns' names first"),
        ("car,1.5\ncar,2.5\n", 1, "'1.5'"),
        ("a,b\n", 1, "no row behind it"),
        ("a,,b\n1,2,3\n", 1, "column 2 has no name"),
        ("a,(km)\n1,2\n", 1, "column 2 has no name ('(km)')"),
        ("a,b\n1,2\n3\n4,5\n", 3, "1 cells where the header has 2"),
        ("a,b\n1,2\n3,4,5\n", 3, "3 cells where the header has 2"),
        ("a,b\n1,2\n3\n", 3, "Complete the row"),
        ("a,Model\n1,Corolla\n", 2, "--device-column 'Model'"),
        ("a,b\n1,2\n3,inf\n", 3, "'inf', which is not a number"),
        ("a,b\n1,1_000\n", 2, "not a number"),
        ('a,b\n1,"2\n', 2, "not CSV"),
    ],
)
def test_what_cannot_be_read_is_refused_with_file_line_and_remedy(
    tmp_path: Path, text: str | bytes, line: int | None, remedy: str
) -> None:
    with pytest.raises(ReplayError) as caught:
        recorded(tmp_path, text)
    assert str(tmp_path / "car.csv") in str(caught.value)
    assert line is None or f"line {line}:" in str(caught.value)
    assert remedy in str(caught.value)


def test_an_unknown_device_column_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"no column 'vin' to take the device from\. There are: a, b"):
        recorded(tmp_path, "a,b\n1,2\n", column="vin")


def test_a_row_without_its_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="line 3: no device in column 'car'"):
        recorded(tmp_path, "car,a\nx,1\n,2\n", column="car")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "car.csv", tmp_path / "two" / "car.csv"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("a\n1\n")
    with pytest.raises(ReplayError, match="would both be device 'car': rename one"):
        read(paths)


@pytest.mark.parametrize("name", ["nothing.csv", "."])
def test_a_file_that_is_not_there_or_no_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReplayError, match="cannot be read"):
        read([tmp_path / name])


def test_no_files_at_all_are_refused() -> None:
    with pytest.raises(ReplayError, match="name at least one CSV file"):
        read([])


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the public recordings are not at {RECORDINGS}")
def test_the_public_recordings_are_read_whole() -> None:
    paths = sorted(RECORDINGS.glob("*.csv"))
    made = read(paths)
    lines = {path.stem: len(path.read_text().splitlines()) for path in paths}
    left_out = sum("is left out" in note for note in made.notes)
    assert {drive.device for drive in made.drives} == lines.keys()
    assert sum(len(drive.rows) for drive in made.drives) == sum(lines.values()) - len(paths) - left_out
    for drive in made.drives:
        assert "engine_rpm" in drive.rows[0]
        assert all(len(row) == 27 for row in drive.rows)
        parsed = contract.parse(
            contract.stamp(contract.head("run-00"), contract.tail(drive.device, drive.rows[-1]), 0, 0, 0, 0, 0)
        )
        assert parsed.signals == drive.rows[-1]
