"""The fast reading of a message's head says what the contract's own reading says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services import contract
from services.consumer.head import read_head

producers = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
times = st.integers(0, 10**16 - 1)
numbers = st.integers(0, 10**10 - 1)
signals = st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False), max_size=4)


@given(producers, numbers, numbers, times, times, times, st.text(min_size=1, max_size=12), signals, st.booleans())
def test_the_head_is_what_parsing_gives(
    producer: str,
    seq: int,
    device_seq: int,
    event: int,
    due: int,
    sent: int,
    device: str,
    measured: dict[str, float],
    rewritten: bool,
) -> None:
    tail = contract.tail(device, measured)
    value = contract.stamp(contract.head(producer), tail, seq, device_seq, event, due, sent)
    if rewritten:
        # Laid out otherwise by somebody else, and a message all the same.
        value = json.dumps(json.loads(value), ensure_ascii=False, sort_keys=True).encode()
    message = contract.parse(value)
    assert read_head(value) == (
        message.producer,
        message.seq,
        message.device_seq,
        message.due_us,
        message.sent_us,
        message.device,
    )


@given(st.binary())
def test_any_bytes_have_a_head_or_are_refused(value: bytes) -> None:
    with pytest.raises(contract.ContractError):
        read_head(b"?" + value)


def test_a_head_that_is_not_text_is_refused() -> None:
    value = contract.stamp(contract.head("run-00"), contract.tail("x", {}), 0, 0, 0, 0, 0)
    with pytest.raises(contract.ContractError, match="not JSON"):
        read_head(value.replace(b'"device":"x"', b'"device":"\xff"'))
