"""Keys go where Kafka's own clients put them."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs import toolchain
from envs.sandbox import broker_handler
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


_JAVA = """
import java.nio.charset.StandardCharsets;
import java.util.Scanner;
import org.apache.kafka.common.utils.Utils;

public class Hashes {
    public static void main(String[] arguments) {
        Scanner keys = new Scanner(System.in, StandardCharsets.UTF_8);
        StringBuilder hashes = new StringBuilder();
        while (keys.hasNextLine()) {
            hashes.append(Utils.murmur2(keys.nextLine().getBytes(StandardCharsets.UTF_8))).append('\\n');
        }
        System.out.print(hashes);
    }
}
"""


def test_a_hundred_thousand_keys_hash_as_kafkas_own_class_says(tmp_path: Path) -> None:
    tools = toolchain.find()
    source = tmp_path / "Hashes.java"
    source.write_text(_JAVA)
    jars = broker_handler.jars_path(tools)
    compiler = [tools.java, "-jar", tools.compiler_jar, "--release", "17", "-proc:none", "-d", tmp_path, "-cp", jars]
    subprocess.run([str(part) for part in [*compiler, source]], check=True, capture_output=True)
    random = np.random.default_rng(11)
    lengths = random.integers(1, 40, 100_000)
    letters = random.integers(33, 127, (100_000, 40), dtype=np.uint8)
    keys = [row[:length].tobytes() for row, length in zip(letters, lengths.tolist(), strict=True)]
    told = subprocess.run(
        [str(tools.java), "-Xmx256m", "-cp", f"{jars}:{tmp_path}", "Hashes"],
        input=b"\n".join(keys),
        check=True,
        capture_output=True,
    ).stdout
    java = np.asarray(told.split(), dtype=np.int64)
    for partitions in (1, 6, 97):
        found = partitions_of(np.asarray(keys, dtype=np.bytes_), partitions)
        assert (found == (java & 0x7FFFFFFF) % partitions).all()
    assert [murmur2(key) for key in keys[:1000]] == (java[:1000] % 2**32).tolist()


@given(
    st.lists(st.binary(min_size=1, max_size=20).map(lambda key: key.rstrip(b"\0") + b"x"), min_size=1),
    st.integers(1, 99),
)
def test_many_keys_at_once_are_what_each_is(keys: list[bytes], partitions: int) -> None:
    found = partitions_of(np.asarray(keys, dtype=np.bytes_), partitions)
    assert found.tolist() == [partition_of(key, partitions) for key in keys]
