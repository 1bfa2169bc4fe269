"""Reads the head of a message on the hot path: what measuring needs, without decoding the signals."""

import re
from typing import Final

from services import contract

_HEAD: Final = re.compile(
    rb'\{"v":%d,"producer":"([^"\\]+)","seq": *(\d+),"device_seq": *(\d+),"event_us": *\d+,'
    rb'"due_us": *(\d+),"sent_us": *(\d+),"device":"([^"\\]+)","signals":\{' % contract.VERSION
).match

Head = tuple[str, int, int, int, int, str]
"""producer, seq, device_seq, due_us, sent_us, device"""


def read_head(value: bytes) -> Head:
    """The head of a message as `contract.stamp` lays it out; anything else is parsed whole.

    Raises `ContractError` when it is no message. What stands behind a well-laid head is not looked at.
    """
    if (found := _HEAD(value)) is not None:
        producer, seq, device_seq, due_us, sent_us, device = found.groups()
        try:
            return producer.decode(), int(seq), int(device_seq), int(due_us), int(sent_us), device.decode()
        except UnicodeDecodeError as error:
            raise contract.ContractError(f"not JSON: {error}") from error
    message = contract.parse(value)
    return message.producer, message.seq, message.device_seq, message.due_us, message.sent_us, message.device
