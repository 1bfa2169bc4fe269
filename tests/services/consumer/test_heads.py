"""A batch read at once says what its messages say one by one, whatever is among them."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from services import contract
from services.consumer.head import Head, read_head
from services.consumer.heads import read_heads

numbers = st.integers(0, 10**10 - 1) | st.integers(0, 20)
times = st.integers(0, 10**16 - 1)
names = st.sampled_from(["car-00001", "car-00002", "truck", "Käfer", 'a "b"', "x" * 30])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message as the contract stamps it, as somebody else lays it out, or with a byte that went wrong."""
    producer = draw(st.sampled_from(["run-00", "run-01", "other-7"]))
    tail = contract.tail(draw(names), {"rpm": 1.5})
    if draw(st.booleans()):
        tail = tail.replace(b',"signals"', b'   ,"signals"')
    value = contract.stamp(
        contract.head(producer), tail, draw(numbers), draw(numbers), draw(times), draw(times), draw(times)
    )
    match draw(st.integers(0, 5)):
        case 0:
            value = json.dumps(json.loads(value), sort_keys=True, ensure_ascii=draw(st.booleans())).encode()
        case 1:
            at = draw(st.integers(0, len(value) - 1))
            value = value[:at] + bytes([draw(st.integers(0, 255))]) + value[at + 1 :]
        case 2:
            value = value[: draw(st.integers(0, len(value)))]
    return value


def singly(value: bytes) -> Head | str:
    """What the plain reading says."""
    try:
        return read_head(value)
    except contract.ContractError as error:
        return str(error)


@settings(max_examples=300)
@given(st.lists(messages(), max_size=12))
def test_a_batch_is_what_its_messages_are(values: list[bytes]) -> None:
    found, unreadable = read_heads(values)
    read: dict[int, Head | str] = {broken.place: broken.reason for broken in unreadable}
    for heads in found:
        rows = zip(
            heads.places.tolist(),
            heads.seqs.tolist(),
            heads.device_seqs.tolist(),
            heads.due_us.tolist(),
            heads.sent_us.tolist(),
            heads.devices.tolist(),
            strict=True,
        )
        for place, seq, device_seq, due_us, sent_us, device in rows:
            assert place not in read
            read[place] = (heads.producer, seq, device_seq, due_us, sent_us, device.decode())
        assert heads.places.tolist() == sorted(heads.places.tolist())
    assert [read[place] for place in range(len(values))] == [singly(value) for value in values]


def test_a_number_beyond_all_bounds_is_no_message_and_no_failure() -> None:
    value = contract.stamp(contract.head("run-00"), contract.tail("car", {}), 10**30, 0, 0, 0, 0)
    found, (broken,) = read_heads([value])
    assert (found, broken.place) == ([], 0)
    assert "64 bits" in broken.reason
