"""Where a key's messages go: Kafka's default partitioner for messages with a key."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_SHIFT: Final = 24
_WORD: Final = 0xFFFFFFFF
_AT_ONCE: Final = 100_000


def murmur2(data: bytes) -> int:
    """The hash of a key, unsigned 32 bits (Apache Kafka, clients, `Utils.murmur2`)."""
    value = (_SEED ^ len(data)) & _WORD
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _WORD
        part = (part ^ part >> _SHIFT) * _FACTOR & _WORD
        value = (value * _FACTOR & _WORD) ^ part
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * _FACTOR & _WORD
    value = (value ^ value >> 13) * _FACTOR & _WORD
    return value ^ value >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key (`BuiltInPartitioner.partitionForKey`; librdkafka's ``murmur2_random``)."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(keys: NDArray[np.bytes_], partitions: int) -> NDArray[np.int32]:
    """The partition of each of these keys: `partition_of` for millions at once."""
    lengths = np.char.str_len(keys)
    found = np.empty(len(keys), dtype=np.int32)
    for length in np.unique(lengths).tolist():
        alike = np.flatnonzero(lengths == length)
        for start in range(0, len(alike), _AT_ONCE):
            chosen = alike[start : start + _AT_ONCE]
            letters = keys[chosen].view(np.uint8).reshape(len(chosen), keys.dtype.itemsize)[:, :length]
            found[chosen] = (_murmur2(letters) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
    return found


def _murmur2(letters: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """`murmur2` of each row; numbers of 32 bits wrap around by themselves."""
    length = letters.shape[1]
    whole = length // 4 * 4
    factor = np.uint32(_FACTOR)
    value = np.full(len(letters), (_SEED ^ length) & _WORD, dtype=np.uint32)
    for at in range(0, whole, 4):
        part = np.ascontiguousarray(letters[:, at : at + 4]).view("<u4")[:, 0] * factor
        part = (part ^ part >> np.uint32(_SHIFT)) * factor
        value = value * factor ^ part
    if length > whole:
        rest = np.zeros((len(letters), 4), dtype=np.uint8)
        rest[:, : length - whole] = letters[:, whole:]
        value = (value ^ rest.view("<u4")[:, 0]) * factor
    value = (value ^ value >> np.uint32(13)) * factor
    return value ^ value >> np.uint32(15)
