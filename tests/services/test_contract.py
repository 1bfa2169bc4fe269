"""The message codec, for any message and for any bytes."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import contract

producers = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)
times = st.integers(min_value=0, max_value=10**16 - 1)
sequences = st.integers(min_value=0, max_value=10**10 - 1)
devices = st.text(min_size=1, max_size=20)
signals = st.dictionaries(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False), max_size=8)
messages = st.builds(contract.Message, producers, sequences, sequences, times, times, times, devices, signals)


def stamped(message: contract.Message) -> bytes:
    """The message as a producer would send it."""
    return contract.stamp(
        contract.head(message.producer),
        contract.tail(message.device, message.signals),
        message.seq,
        message.device_seq,
        message.event_us,
        message.due_us,
        message.sent_us,
    )


@given(messages)
def test_what_was_stamped_is_what_is_parsed(message: contract.Message) -> None:
    assert contract.parse(stamped(message)) == message


@given(messages)
def test_a_message_is_one_line(message: contract.Message) -> None:
    assert b"\n" not in stamped(message)
    assert b"\r" not in stamped(message)


@given(messages, messages)
def test_the_head_has_a_fixed_width(one: contract.Message, other: contract.Message) -> None:
    """The stamps take the same room whatever they say, so that they can be written in place."""

    def width(message: contract.Message) -> int:
        value = stamped(message)
        return len(value) - len(contract.tail(message.device, message.signals)) - len(message.producer)

    assert width(one) == width(other)


@given(messages, st.integers(0, 1000), sequences, times, times, times, st.sampled_from([b"", b"\n", b" \r\n"]))
def test_the_archive_s_line_is_still_the_message(
    message: contract.Message, partition: int, offset: int, broker: int, arrival: int, gate: int, end: bytes
) -> None:
    line = contract.archived(stamped(message) + end, partition, offset, broker, arrival, gate)
    assert contract.parse(line) == message
    assert json.loads(line)["archive"] == {
        "partition": partition,
        "offset": offset,
        "broker_ms": broker,
        "arrival_ms": arrival,
        "gate_us": gate,
    }


@given(st.binary())
def test_any_bytes_are_a_message_or_a_contract_error(value: bytes) -> None:
    with contextlib.suppress(contract.ContractError):
        assert isinstance(contract.parse(value), contract.Message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    messages,
    st.sampled_from(["v", "producer", "seq", "device_seq", "event_us", "due_us", "sent_us", "device", "signals"]),
    json_values,
)
def test_any_value_in_any_field_is_a_message_or_a_contract_error(
    message: contract.Message, name: str, value: object
) -> None:
    fields = json.loads(stamped(message))
    fields[name] = value
    try:
        parsed = contract.parse(json.dumps(fields).encode())
    except contract.ContractError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right, each has its own check
    else:
        assert name == "v" or getattr(parsed, name) == value


@given(messages, st.data())
def test_a_message_that_was_cut_off_is_refused(message: contract.Message, data: st.DataObject) -> None:
    value = stamped(message)
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(contract.ContractError):
        contract.parse(value[:cut])


@pytest.mark.parametrize("producer", ["", 'a"b', "a\\b", "a\nb", "grün"])
def test_a_producer_s_name_that_json_would_escape_is_refused(producer: str) -> None:
    with pytest.raises(contract.ContractError, match="use letters"):
        contract.head(producer)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_signal_that_is_no_finite_number_is_refused(value: float) -> None:
    with pytest.raises(contract.ContractError, match="device 'car': a signal is not a finite number"):
        contract.tail("car", {"speed": value})


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(contract.ContractError):
        contract.parse(b"[" * 100_000)
