"""The certificate authorities that this machine trusts, for a Java runtime that only knows its own."""

import ssl
import warnings
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def options(folder: Path) -> list[str]:
    """Java options to trust what the machine trusts, with a trust store written into `folder`.

    A network that inspects its traffic has an authority of its own, which is in the machine's store and not in the
    one that a Java runtime from a wheel carries. Empty when the machine has no store: Java's own is used then.
    """
    authorities = _authorities()
    if not authorities:
        return []
    store = folder / "trust.p12"
    store.write_bytes(
        pkcs12.serialize_java_truststore(
            [
                pkcs12.PKCS12Certificate(authority, f"authority-{number}".encode())
                for number, authority in enumerate(authorities)
            ],
            NoEncryption(),
        )
    )
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStoreType=PKCS12"]


def _authorities() -> list[x509.Certificate]:
    default = ssl.get_default_verify_paths().cafile
    bundle = next((path for path in (default, *_BUNDLES) if path is not None and Path(path).is_file()), None)
    if bundle is None:
        return []
    # OpenSSL reads it: it passes over what is not a certificate, and leaves out doubles.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=bundle)
    found = []
    with warnings.catch_warnings():
        # Old authorities break rules that were made later (serial numbers above all); they are trusted all the same.
        warnings.simplefilter("ignore")
        for encoded in context.get_ca_certs(binary_form=True):
            try:
                found.append(x509.load_der_x509_certificate(encoded))
            except ValueError:
                continue
    return found
