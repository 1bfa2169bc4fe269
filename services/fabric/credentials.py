"""The client certificate, and how a server is known: by its authority and its common name.

Service Fabric compares common names and issuers, not host names ("Connect to a secure cluster", "X.509 certificate
based security"): the gateway is reached by whatever address the load balancer has.
"""

import json
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.fabric.errors import FabricServiceError

FIELDS: Final = ("certificate", "key", "authority", "server_name", "client_name")
"""The keys of the secret with the client certificate; the first three are PEM."""


@dataclass(frozen=True)
class Credentials:
    """Who a client is, and by whom it lets itself be answered."""

    certificate: str
    key: str = field(repr=False)
    authority: str
    server_name: str
    client_name: str

    def context(self) -> "ServerContext":
        """Shows the certificate, and accepts only the server of that name. Raises `FabricServiceError`."""
        context = ServerContext(ssl.PROTOCOL_TLS_CLIENT)
        context.server_name = self.server_name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The name that counts is the subject's, looked at after the handshake.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cadata=self.authority)
            self._show(context)
        except (ssl.SSLError, ValueError) as error:
            raise FabricServiceError(
                f"the client certificate of {self.client_name} cannot be used ({error}): its secret must hold "
                "certificate, key and authority as PEM, and the key must be the certificate's"
            ) from error
        return context

    def _show(self, context: ssl.SSLContext) -> None:
        # OpenSSL reads a key from files only: one that nobody else can open, gone before anything else happens.
        handle, name = tempfile.mkstemp(prefix="fleetstream-client-", suffix=".pem")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(f"{self.certificate.strip()}\n{self.key.strip()}\n")
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()


class ServerContext(ssl.SSLContext):
    """Ends a connection whose server has another common name; that its authority is ours is seen to before.

    `server_ends` is when the certificate that a server showed last ends, in seconds since 1970; None: none did yet.
    """

    server_name: str
    server_ends: float | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        secured = super().wrap_socket(*args, **kwargs)
        certificate: dict[str, Any] = secured.getpeercert() or {}
        names = [
            value for part in certificate.get("subject", ()) for key, value in part
            if key == "commonName"
        ]  # fmt: skip
        if self.server_name not in names:
            secured.close()
            raise ssl.SSLCertVerificationError(
                f"the server is {', '.join(map(str, names)) or 'without a name'}, not {self.server_name}"
            )
        self.server_ends = ssl.cert_time_to_seconds(certificate["notAfter"])
        return secured


def parse(text: str, where: str) -> Credentials:
    """Reads the secret's JSON. Raises `FabricServiceError` that names what is missing, never what is there."""
    try:
        found = json.loads(text)
        missing = [name for name in FIELDS if not isinstance(found.get(name), str) or not found[name].strip()]
    except (ValueError, AttributeError):
        raise FabricServiceError(f"{where} is no JSON object with {', '.join(FIELDS)}: correct the secret") from None
    if missing:
        raise FabricServiceError(f"{where} lacks {', '.join(missing)}: correct the secret")
    return Credentials(**{name: found[name] for name in FIELDS})


def fetch(secrets: Any, secret_id: str) -> Credentials:
    """The client certificate that a secret holds; `secrets` is a Secrets Manager client.

    Raises `FabricServiceError` when it holds none yet; other errors of the client come through as they are.
    """
    try:
        answer = secrets.get_secret_value(SecretId=secret_id)
    except secrets.exceptions.ResourceNotFoundException as error:
        raise FabricServiceError(
            f"{secret_id} has no client certificate yet: `fleetstream cluster bootstrap` makes one"
        ) from error
    return parse(answer.get("SecretString", ""), secret_id)
