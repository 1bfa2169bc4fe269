"""What an installation shows, and whom its Java trusts."""

import datetime
import io
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fake_machine import Lines, Machine
from rich.console import Console

from envs.toolchain import jars, trust
from envs.toolchain.bootstrap import cache_dir
from envs.toolchain.installer import Installer
from envs.toolchain.progress import PlainReport, TerminalReport, megabytes, report_on


def test_a_log_gets_plain_lines_now_and_then() -> None:
    out = io.StringIO()
    console = Console(file=out)
    with report_on(console) as chosen:
        assert isinstance(chosen, PlainReport)
    with PlainReport(console, interval=0) as report, report.step("Pulumi 3") as step:
        step.update("12 of 48 packages compiled", 12, 48)
        step.update("linking")
    begun, counted, said = out.getvalue().splitlines()
    assert begun == "Pulumi 3 ..."
    assert counted == "Pulumi 3: 12 of 48 packages compiled (25 %), 0 s"
    assert said == "Pulumi 3: linking, 0 s"


def test_a_log_is_not_flooded() -> None:
    out = io.StringIO()
    with PlainReport(Console(file=out), interval=3600) as report, report.step("Pulumi 3") as step:
        for number in range(1000):
            step.update(f"{number} modules fetched")
    assert out.getvalue() == "Pulumi 3 ...\n"


def test_a_terminal_gets_a_bar_and_the_lines_stay() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    with report_on(console) as report:
        assert isinstance(report, TerminalReport)
        with report.step("Pulumi 3") as step:
            step.update("12 of 48 packages compiled", 12, 48)
            while "12 of 48 packages compiled" not in out.getvalue():  # It is drawn by a thread of its own.
                time.sleep(0.02)
        report.line("Pulumi 3: installed, [134 MB]")
    assert "Pulumi 3: installed, [134 MB]" in out.getvalue()


@pytest.mark.parametrize(("size", "shown"), [(3_400_000, "3.4 MB"), (45_000_000, "45 MB"), (0, "0.0 MB")])
def test_sizes_are_for_people(size: int, shown: str) -> None:
    assert megabytes(size) == shown


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> x509.Certificate:
    """The only certificate authority that this machine trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the network's own authority")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return certificate


def test_a_java_runtime_is_told_whom_the_machine_trusts(tmp_path: Path, authority: x509.Certificate) -> None:
    store, kind = trust.options(tmp_path)
    assert kind == "-Djavax.net.ssl.trustStoreType=PKCS12"
    path = Path(store.removeprefix("-Djavax.net.ssl.trustStore="))
    assert authority.public_bytes(serialization.Encoding.DER) in path.read_bytes()


def test_only_the_runtime_from_the_wheel_is_told(machine: Machine, lines: Lines, authority: x509.Certificate) -> None:
    arguments = 'for argument; do echo "$argument" >> "$EVENTS"; done; exit 1'
    for home, told in ((machine.root / "jdk", False), (cache_dir() / "java-21", True)):
        java = machine.java("21.0.8", home, otherwise=arguments)
        with pytest.raises(jars.ToolchainError):
            jars.COMPILER.ensure(Installer(lines), java)
        assert any(line.startswith("-Djavax.net.ssl.trustStore=") for line in machine.happened()) is told
