"""What chrony says of a clock, read from what it prints."""

import pytest

from services import chrony

TOLD = (
    "A9FEA97B,169.254.169.123,4,1795674000.1,-0.000004200,0.0,0.000002,-2.1,0.0,0.02,0.000300,0.000050,16.1,Normal\n"
)


def test_the_bound_is_offset_dispersion_and_half_the_delay() -> None:
    found = chrony.parse(TOLD)
    assert found.source == "chrony, 169.254.169.123"
    assert found.offset_us == -4.2
    assert found.error_us == pytest.approx(4.2 + 50 + 150)


@pytest.mark.parametrize(
    "told",
    [
        TOLD.replace("Normal", "Not synchronised"),
        TOLD.replace("-0.000004200", "soon"),
        TOLD.rpartition(",")[0],
        "",
        "506 Cannot talk to daemon",
    ],
)
def test_what_cannot_be_relied_on_is_not_known(told: str) -> None:
    found = chrony.parse(told)
    assert (found.offset_us, found.error_us) == (None, None)
    assert found.source.startswith("not known: ")


def test_a_machine_without_chrony_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert chrony.check().source == "not known: there is no chronyc"
