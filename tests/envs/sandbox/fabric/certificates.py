"""Certificates as a cluster with X.509 security has them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True)
class Authority:
    """Issues certificates; `path` is its own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def path(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def thumbprint(self) -> str:
        return self.certificate.fingerprint(SHA1()).hex()  # noqa: S303 (what Windows calls a thumbprint)

    def issue(self, common_name: str, address: str = "") -> Path:
        """Certificate and key in one file, for a server at an address when one is given."""
        key = ec.generate_private_key(ec.SECP256R1())
        # Clients that compare names look here, not at the common name.
        names = [x509.DNSName(common_name), *([x509.IPAddress(ip_address(address))] if address else [])]
        certificate = (
            _builder(common_name, self.certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, SHA256())
        )
        path = self.folder / f"{common_name}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        return path


def authority(folder: Path) -> Authority:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    common_name = f"authority-{folder.name}"
    name = _name(common_name)
    certificate = (
        _builder(common_name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    found = Authority(folder, key, certificate)
    found.path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return found


def _builder(common_name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
