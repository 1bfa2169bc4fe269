"""Telemetry without recordings: plausible drives with the signals of an OBD-II logger, repeatable by seed."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.simulator.drive import Drive
from services.simulator.stamps import digits

_Series = NDArray[np.float64]

IDLE_RPM: Final = 800.0
GEARS_RPM_PER_KMH: Final = (110.0, 62.0, 42.0, 32.0, 26.0)
"""Engine speed per road speed of a small car's five gears."""
SHIFT_UP_KMH: Final = (18.0, 34.0, 52.0, 75.0)

_NAME: Final = b"car-"
_NAME_DIGITS: Final = 5
_RAMP_KMH_PER_S: Final = 7.0
_WARM_COOLANT_C: Final = 88.0
_LEG_SECONDS: Final = (8, 45)


def drives(devices: int, seed: int, rows: int, part: int = 0, parts: int = 1, first: int = 0) -> list[Drive]:
    """`devices` drives of `rows` seconds each, ``car-00000`` and on; of these, every `parts`-th from number `part`.

    A device's drive depends on the seed and its number alone, so the fleet is the same however it is split; `first`
    is the number that it begins with, where several hosts have a share each.
    """
    numbers = np.arange(first + part, first + devices, parts, dtype=np.int64)
    return [
        Drive(name.decode(), _drive(seed, number, rows))
        for name, number in zip(names(numbers, first + devices).tolist(), numbers.tolist(), strict=True)
    ]


def names(numbers: NDArray[np.int64], devices: int) -> NDArray[np.bytes_]:
    """The names of devices by their number, of a fleet of so many: ``car-00000`` and on, all of one length."""
    width = max(_NAME_DIGITS, len(str(devices - 1)))
    made = np.empty((len(numbers), len(_NAME) + width), dtype=np.uint8)
    made[:, : len(_NAME)] = np.frombuffer(_NAME, np.uint8)
    made[:, len(_NAME) :] = digits(numbers, width)
    return made.view(f"S{made.shape[1]}")[:, 0]


def _drive(seed: int, number: int, rows: int) -> list[dict[str, float]]:
    """One drive, a row a second, under the names that the public OBD-II recordings use."""
    random = np.random.default_rng([seed, number])
    seconds = np.arange(rows, dtype=np.float64)
    speed = _speed(random, rows)
    acceleration = np.diff(speed, prepend=speed[0])
    gear = np.searchsorted(SHIFT_UP_KMH, speed)
    rpm = np.maximum(IDLE_RPM, speed * np.array(GEARS_RPM_PER_KMH)[gear]) + random.normal(0, 12, rows)
    load = np.clip(22 + 0.28 * speed + 9 * acceleration + random.normal(0, 2, rows), 0, 100)
    throttle = np.clip(15 + 0.45 * np.maximum(load - 22, 0) + random.normal(0, 0.4, rows), 12, 95)
    ambient = random.uniform(12, 34)
    start = random.uniform(ambient, _WARM_COOLANT_C)
    coolant = _WARM_COOLANT_C - (_WARM_COOLANT_C - start) * np.exp(-seconds / 240) + random.normal(0, 0.3, rows)
    fuel = random.uniform(20, 95) - np.cumsum(load) / 40_000
    pressure = random.uniform(98, 102)
    columns: dict[str, tuple[_Series, int]] = {
        "engine_run_tine": (seconds, 0),
        "engine_rpm": (rpm, 1),
        "vehicle_speed": (speed, 0),
        "throttle": (throttle, 3),
        "engine_load": (load, 3),
        "coolant_temperature": (coolant, 0),
        "long_term_fuel_trim_bank_1": (np.full(rows, random.uniform(-6, 2)), 2),
        "short_term_fuel_trim_bank_1": (random.normal(0, 2, rows), 2),
        "intake_manifold_pressure": (np.clip(pressure * (0.25 + 0.0075 * load), 18, pressure), 0),
        "fuel_tank": (np.clip(fuel, 0, 100), 3),
        "absolute_throttle_b": (throttle + 32, 3),
        "pedal_d": (np.clip(throttle, 16, 90), 3),
        "pedal_e": (np.clip(throttle + 15.7, 31.7, 95), 3),
        "commanded_throttle_actuator": (throttle, 3),
        "fuel_air_commanded_equiv_ratio": (np.where(load > 0, 1.0, 0.0) + random.normal(0, 0.004, rows), 3),
        "absolute_barometric_pressure": (np.full(rows, pressure), 0),
        "relative_throttle_position": (np.maximum(throttle - 15, 0), 3),
        "intake_air_temp": (ambient + 8 * np.exp(-speed / 30) + random.normal(0, 0.3, rows), 0),
        "timing_advance": (np.clip(8 + 0.006 * (rpm - IDLE_RPM) - 0.08 * load, -10, 45), 1),
        "catalyst_temperature_bank1_sensor1": (350 + 2.2 * load + random.normal(0, 4, rows), 1),
        "catalyst_temperature_bank1_sensor2": (280 + 1.6 * load + random.normal(0, 4, rows), 1),
        "control_module_voltage": (13.9 - 0.004 * load + random.normal(0, 0.05, rows), 3),
        "commanded_evaporative_purge": (np.clip(0.4 * (speed - 10), 0, 30), 3),
        "time_run_with_mil_on": (np.zeros(rows), 0),
        "time_since_trouble_codes_cleared": (random.integers(0, 10_000) + seconds // 60, 0),
        "distance_traveled_with_mil_on": (np.zeros(rows), 0),
        "warm_ups_since_codes_cleared": (np.full(rows, float(random.integers(0, 256))), 0),
    }
    # Adding zero turns a rounded -0.0 into 0.0.
    rounded = [(np.round(series, digits) + 0.0).tolist() for series, digits in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*rounded, strict=True)]


def _speed(random: np.random.Generator, rows: int) -> _Series:
    """Road speed in km/h: standing, town and open road in turns, never changing faster than a car does."""
    wanted = np.empty(rows)
    at = 0
    while at < rows:
        length = int(random.integers(*_LEG_SECONDS))
        wanted[at : at + length] = random.choice(
            [0.0, random.uniform(15, 60), random.uniform(60, 120)], p=[0.3, 0.5, 0.2]
        )
        at += length
    speed = np.empty(rows)
    current = 0.0
    for second, goal in enumerate(wanted):
        current += float(np.clip(goal - current, -_RAMP_KMH_PER_S, _RAMP_KMH_PER_S * (1 - current / 200)))
        speed[second] = max(0.0, current + (random.normal(0, 0.6) if current > 5 else 0.0))
    return speed
