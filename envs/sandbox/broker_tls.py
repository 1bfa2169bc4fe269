"""The broker's certificates: an authority of the sandbox's own, and the one key pair it ever vouches for."""

import contextlib
import os
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID: Final = timedelta(days=365)
BROKER: Final = "localhost"
"""The common name of the broker's certificate."""
RENEW_BEFORE: Final = timedelta(days=10)
"""Certificates with less time left than this are made anew when a broker starts."""


def authority(folder: Path) -> Path:
    """The certificate that clients check the broker against (PEM)."""
    return folder / "ca.pem"


def key_store(folder: Path) -> Path:
    """The broker's key and certificate, as Kafka reads a PEM key store."""
    return folder / "broker.pem"


def ensure(folder: Path) -> None:
    """Makes the certificates, unless there are some that still hold for a while.

    The authority's key is forgotten at once: nobody can sign another certificate that this sandbox trusts.
    """
    if _hold(folder, datetime.now(UTC)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, broker_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, broker_name = _name("fleetstream sandbox authority"), _name(BROKER)
    authority_certificate = (
        _builder(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )
    certificate = (
        _builder(broker_name, authority_name, broker_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        # The broker is its own only peer: it also shows this certificate as a client of its internal listeners.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(BROKER), x509.IPAddress(IPv4Address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, SHA256())
    )
    key = broker_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(key_store(folder), key + certificate.public_bytes(Encoding.PEM), 0o600)
    _write(authority(folder), authority_certificate.public_bytes(Encoding.PEM), 0o644)


def _hold(folder: Path, now: datetime) -> bool:
    with contextlib.suppress(FileNotFoundError, ValueError, InvalidSignature):
        trusted = x509.load_pem_x509_certificate(authority(folder).read_bytes())
        shown = x509.load_pem_x509_certificates(key_store(folder).read_bytes())[0]
        shown.verify_directly_issued_by(trusted)
        return shown.not_valid_after_utc - now > RENEW_BEFORE
    return False


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.touch(mode=mode)
    scratch.write_bytes(content)
    scratch.replace(path)
