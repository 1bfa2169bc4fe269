"""Keys go where Kafka's own clients put them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.partitions import murmur2, partition_of, partitions_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_javas(key: bytes, signed: int) -> None:
    # Cases and values: Apache Kafka, clients, `UtilsTest.testMurmur2`.
    assert murmur2(key) == signed % 2**32


def test_a_partition_is_never_negative() -> None:
    assert {partition_of(str(number).encode(), 6) for number in range(200)} == set(range(6))


@given(
    st.lists(st.binary(min_size=1, max_size=20).map(lambda key: key.rstrip(b"\0") + b"x"), min_size=1),
    st.integers(1, 99),
)
def test_many_keys_at_once_are_what_each_is(keys: list[bytes], partitions: int) -> None:
    found = partitions_of(np.asarray(keys, dtype=np.bytes_), partitions)
    assert found.tolist() == [partition_of(key, partitions) for key in keys]
