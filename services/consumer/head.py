"""Reads the head of a message on the hot path: what measuring needs, without decoding the signals."""

import re
from typing import Final

from services import contract

LAYOUT: Final = re.compile(
    rb'\{"v":%d,"producer":"(?P<producer>[^"\\]+)","seq":(?P<seq> *\d+),"device_seq":(?P<device_seq> *\d+),'
    rb'"event_us":(?P<event_us> *\d+),"due_us":(?P<due_us> *\d+),"sent_us":(?P<sent_us> *\d+),'
    rb'"device":"(?P<device>[^"\\]+)" *,"signals":\{' % contract.VERSION
).match
"""Matches the head of a message as `contract.stamp` lays it out."""

Head = tuple[str, int, int, int, int, str]
"""producer, seq, device_seq, due_us, sent_us, device"""


def read_head(value: bytes) -> Head:
    """The head of a message as `contract.stamp` lays it out; anything else is parsed whole.

    Raises `ContractError` when it is no message. What stands behind a well-laid head is not looked at.
    """
    if (found := LAYOUT(value)) is not None:
        producer, seq, device_seq, _, due_us, sent_us, device = found.groups()
        try:
            return producer.decode(), int(seq), int(device_seq), int(due_us), int(sent_us), device.decode()
        except UnicodeDecodeError as error:
            raise contract.ContractError(f"not JSON: {error}") from error
    message = contract.parse(value)
    return message.producer, message.seq, message.device_seq, message.due_us, message.sent_us, message.device
