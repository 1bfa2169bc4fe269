"""Who may use the gateway of a cluster with certificates: administrators, and clients that may only read.

As Service Fabric judges: by the certificate's common name and, where the configuration says so, by its issuer
("X.509 certificate-based authentication in Service Fabric clusters"); host names mean nothing.
"""

from enum import Enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509.oid import NameOID

from envs.sandbox.fabric.configuration import Configuration


class Role(Enum):
    """What a client may do."""

    NONE = "none"
    READER = "reader"
    ADMINISTRATOR = "administrator"


def role(certificate: bytes | None, authorities: list[x509.Certificate], configuration: Configuration) -> Role:
    """The role of a client by its certificate (DER), which the handshake found to be of one of the authorities."""
    if certificate is None:
        return Role.NONE
    shown = x509.load_der_x509_certificate(certificate)
    names = {str(name.value) for name in shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)}
    if names & set(configuration.cluster_names):
        return Role.ADMINISTRATOR
    issuers = {authority.fingerprint(SHA1()).hex() for authority in authorities if _issued(shown, authority)}  # noqa: S303 (what Windows calls a thumbprint)
    found = [
        client.admin
        for client in configuration.clients
        if client.common_name in names and (not client.issuers or client.issuers & issuers)
    ]
    if not found:
        return Role.NONE
    return Role.ADMINISTRATOR if any(found) else Role.READER


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
