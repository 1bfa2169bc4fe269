"""The gateway's files, from the certificate (PFX) that the nodes have in their stores."""

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from envs.sandbox.fabric.errors import MachineError
from envs.sandbox.fabric.gateway import TlsFiles


def write_tls(folder: Path, pfx: bytes) -> TlsFiles:
    """Writes certificate, key and authority as PEM, readable by their owner only. Raises `MachineError`."""
    try:
        found = pkcs12.load_pkcs12(pfx, None)
    except ValueError as error:
        raise MachineError(f"the nodes' certificate is no PFX without a password: {error}") from error
    if found.cert is None or found.key is None or not found.additional_certs:
        raise MachineError("the nodes' PFX lacks its certificate, its key, or the certificate of who issued it")
    files = TlsFiles(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.certificate.write_bytes(found.cert.certificate.public_bytes(Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(found.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files.authority.write_bytes(
        b"".join(each.certificate.public_bytes(Encoding.PEM) for each in found.additional_certs)
    )
    return files
