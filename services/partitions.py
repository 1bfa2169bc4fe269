"""Where a key's messages go: Kafka's default partitioner for messages with a key."""

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_SHIFT = 24
_WORD = 0xFFFFFFFF


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
