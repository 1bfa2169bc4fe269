"""Made-up telemetry: repeatable, independent of how the fleet is split, and plausible."""

from itertools import pairwise
from pathlib import Path

import pytest

from services.simulator import replay
from services.simulator.source import GeneratedSource

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "data" / "obd"
FLEET = GeneratedSource(devices=7, seed=3, rows=400)


def test_the_same_seed_gives_the_same_fleet_and_another_seed_another() -> None:
    assert FLEET.drives() == FLEET.drives()
    other = FLEET.model_copy(update={"seed": 4}).drives()
    assert all(one.rows != another.rows for one, another in zip(FLEET.drives(), other, strict=True))


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_fleet_is_the_same_however_it_is_split(parts: int) -> None:
    split = [drive for part in range(parts) for drive in FLEET.drives(part, parts)]
    assert sorted(split, key=lambda drive: drive.device) == FLEET.drives()


def test_devices_differ() -> None:
    drives = FLEET.drives()
    assert len({drive.device for drive in drives}) == 7
    assert len({str(drive.rows) for drive in drives}) == 7


def test_signals_stay_within_what_a_car_can_do() -> None:
    limits = {
        "engine_rpm": (600, 7000),
        "vehicle_speed": (0, 160),
        "throttle": (0, 100),
        "engine_load": (0, 100),
        "coolant_temperature": (-10, 110),
        "fuel_tank": (0, 100),
        "control_module_voltage": (11, 15),
        "absolute_barometric_pressure": (80, 110),
    }
    for drive in FLEET.drives():
        for name, (low, high) in limits.items():
            values = [row[name] for row in drive.rows]
            assert low <= min(values), (drive.device, name)
            assert max(values) <= high, (drive.device, name)
        speed = [row["vehicle_speed"] for row in drive.rows]
        assert max(abs(b - a) for a, b in pairwise(speed)) < 15
        assert max(speed) > 15
        assert all(row["engine_rpm"] > 1200 for row in drive.rows if row["vehicle_speed"] > 60)
        assert [row["engine_run_tine"] for row in drive.rows] == list(map(float, range(400)))


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the public recordings are not at {RECORDINGS}")
def test_signals_are_those_of_the_recordings() -> None:
    recorded = replay.read([RECORDINGS / "drive10.csv"]).drives[0].rows[0]
    assert FLEET.drives()[0].rows[0].keys() == recorded.keys()
