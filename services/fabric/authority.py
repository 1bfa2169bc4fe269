"""A private authority, and the two certificates it issues before its key is forgotten: the nodes' and the client's.

Service Fabric knows certificates by common name and issuer; nobody else has to trust this authority. A team that has
certificates of its own puts them into the secrets beforehand, and none is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services.fabric.credentials import Credentials
from services.fabric.errors import FabricServiceError

_BITS: Final = 2048
_YEARS: Final = 5
_DAY: Final = timedelta(days=1)


def node_name(cluster: str) -> str:
    """The common name of the nodes' certificate."""
    return f"{cluster}-node"


def client_name(cluster: str) -> str:
    """The common name of the administrating client's certificate."""
    return f"{cluster}-client"


def authority_name(cluster: str) -> str:
    """The common name of the authority that is made for a cluster."""
    return f"{cluster}-authority"


@dataclass(frozen=True)
class Issued:
    """The nodes' certificate with its key, as PFX without a password, and who the administrating client is."""

    nodes: bytes
    client: Credentials


def issue(cluster: str, now: datetime | None = None) -> Issued:
    """Makes an authority and both certificates. Nothing can be issued afterwards: its key is not kept."""
    start = now or datetime.now(UTC)
    key, name = _key(), _name(authority_name(cluster))
    authority = (
        _builder(name, name, key, start)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    nodes, nodes_key = _leaf(node_name(cluster), name, key, start)
    client, client_key = _leaf(client_name(cluster), name, key, start)
    pfx = pkcs12.serialize_key_and_certificates(
        node_name(cluster).encode(), nodes_key, nodes, [authority], serialization.NoEncryption()
    )
    return Issued(
        pfx,
        Credentials(
            certificate=_pem(client),
            key=client_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            authority=_pem(authority),
            server_name=node_name(cluster),
            client_name=client_name(cluster),
        ),
    )


@dataclass(frozen=True)
class Facts:
    """What a certificate says of itself."""

    name: str
    issuer: str
    thumbprint: str
    """SHA-1 in upper-case hexadecimal digits, as Windows and Service Fabric write it."""
    ends: datetime


def facts(certificate: x509.Certificate) -> Facts:
    """What counts of a certificate here."""
    return Facts(
        _common_name(certificate.subject),
        _common_name(certificate.issuer),
        certificate.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - Service Fabric names issuers by it
        certificate.not_valid_after_utc,
    )


def read_pem(text: str, where: str) -> x509.Certificate:
    """The first certificate of a PEM text. Raises `FabricServiceError`."""
    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError as error:
        raise FabricServiceError(f"{where} holds no certificate as PEM ({error}): correct the secret") from error


def read_pfx(content: bytes, where: str) -> tuple[x509.Certificate, Sequence[x509.Certificate]]:
    """The certificate of a PFX, and those of its issuers that it brings along. Raises `FabricServiceError`."""
    try:
        found = pkcs12.load_pkcs12(content, None)
    except ValueError as error:
        raise FabricServiceError(f"{where} holds no PFX without a password ({error}): correct the secret") from error
    if found.cert is None or found.key is None:
        raise FabricServiceError(f"{where} holds a PFX without certificate or key: correct the secret")
    return found.cert.certificate, [each.certificate for each in found.additional_certs]


def issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _leaf(
    name: str, issuer: x509.Name, issuer_key: rsa.RSAPrivateKey, start: datetime
) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    key = _key()
    uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        _builder(_name(name), issuer, key, start)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        # A node is server and client of its neighbours with the same certificate.
        .add_extension(uses, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, start: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Machines' clocks differ a little.
        .not_valid_before(start - _DAY)
        .not_valid_after(start + _YEARS * 365 * _DAY)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key() -> rsa.RSAPrivateKey:
    # RSA: the kind of key that every version of Service Fabric takes.
    return rsa.generate_private_key(public_exponent=65537, key_size=_BITS)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
