"""Numbers as a person reads them: with a unit, and no more digits than they are worth."""

from datetime import UTC, datetime
from math import floor, isfinite, log10
from typing import Any, Final

MISSING: Final = "–"  # noqa: RUF001 (an en dash is what a reader expects of an empty cell)

_UNITS: Final = {
    "engine_run_tine": "s",
    "engine_run_time": "s",
    "engine_rpm": "rpm",
    "vehicle_speed": "km/h",
    "coolant_temperature": "°C",
    "intake_manifold_pressure": "kPa",
    "absolute_barometric_pressure": "kPa",
    "intake_air_temp": "°C",
    "timing_advance": "° before TDC",
    "catalyst_temperature_bank1_sensor1": "°C",
    "catalyst_temperature_bank1_sensor2": "°C",
    "control_module_voltage": "V",
    "fuel_air_commanded_equiv_ratio": "",
    "time_run_with_mil_on": "min",
    "time_since_trouble_codes_cleared": "min",
    "distance_traveled_with_mil_on": "km",
    "warm_ups_since_codes_cleared": "",
    **dict.fromkeys(
        (
            "throttle",
            "engine_load",
            "long_term_fuel_trim_bank_1",
            "short_term_fuel_trim_bank_1",
            "fuel_tank",
            "absolute_throttle_b",
            "pedal_d",
            "pedal_e",
            "commanded_throttle_actuator",
            "relative_throttle_position",
            "commanded_evaporative_purge",
        ),
        "%",
    ),
}
"""Units of the on-board diagnostics parameters (SAE J1979, service 01), which the recordings leave out."""


def unit(signal: str) -> str:
    """The unit of a known vehicle signal; empty for any other."""
    return _UNITS.get(signal.lower(), "")


def title(signal: str) -> str:
    """A signal's name for a heading: ``engine_rpm`` as ``Engine RPM``."""
    words = " ".join({"mil": "MIL", "rpm": "RPM"}.get(word, word) for word in signal.replace("_", " ").split())
    return words[:1].upper() + words[1:]


def count(value: Any) -> str:
    """A whole number with thousands set apart."""
    return MISSING if value is None else f"{round(value):,}"


def number(value: Any, digits: int = 4) -> str:
    """A number with ``digits`` significant digits and no exponent."""
    if value is None:
        return MISSING
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if not isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:,.{min(decimals, 9)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def milliseconds(value: Any) -> str:
    """A latency with its unit: three digits, seconds from ten thousand milliseconds on."""
    if value is None:
        return MISSING
    if abs(value) >= 10_000:
        return f"{number(value / 1000, 3)} s"
    return f"{number(value, 3)} ms"


def size(value: float | None) -> str:
    """Bytes in decimal units."""
    if value is None:
        return MISSING
    for name in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{number(value, 3)} {name}"
        value /= 1000
    return f"{number(value, 3)} TB"


def share(value: Any) -> str:
    """A part of one as a percentage; never rounded up to 100 %."""
    if value is None:
        return MISSING
    percent = 100 * value
    text = number(percent, 4)
    return f"{'99.99' if text == '100' and value < 1 else text} %"


def moment(text: Any) -> str:
    """An ISO 8601 time as ``2026-05-01 12:00:05 UTC``."""
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return MISSING if text is None else str(text)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
