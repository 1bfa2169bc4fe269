"""The secrets of a cluster: given values when they have none, left alone when they have, the password changed once.

Nothing of them is ever written anywhere else, nor logged.
"""

import contextlib
import json
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from services.fabric import authority
from services.fabric.configuration import Certificates
from services.fabric.credentials import Credentials, parse
from services.fabric.errors import FabricServiceError
from services.fabric.fleet import Fleet

ADMINISTRATOR: Final = "fleetadmin"
_PASSWORD_LENGTH: Final = 32
_MARKS: Final = "-_.+="
"""None of those that a shell or a JSON text would have to quote."""


@dataclass(frozen=True)
class Identity:
    """Who nodes and client are, and what had to be made for that."""

    certificates: Certificates
    client: Credentials
    made: tuple[str, ...]


class Secrets:
    """The cluster's secrets in Secrets Manager."""

    def __init__(self, manager: Any, fleet: Fleet) -> None:
        self._manager = manager
        self._fleet = fleet

    def ensure(self, formed: bool) -> Identity:
        """Gives the secrets that have no value one. Raises `FabricServiceError` for values that do not fit together.

        `formed`: the cluster lives by these certificates already, so that none is made.
        """
        made = []
        if self._value(self._fleet.administrator_secret) is None:
            self._put_password()
            made.append("the administrator's password")
        nodes, client = (self._value(name) for name in (self._fleet.node_secret, self._fleet.client_secret))
        if nodes is None or client is None:
            self._refuse_halves(nodes, client, formed)
            issued = authority.issue(self._fleet.cluster)
            self._manager.put_secret_value(SecretId=self._fleet.node_secret, SecretBinary=issued.nodes)
            self._manager.put_secret_value(
                SecretId=self._fleet.client_secret, SecretString=json.dumps(vars(issued.client))
            )
            made.append("certificates of a private authority")
        return Identity(*self._read(), tuple(made))

    def change_password(self) -> str:
        """Gives the administrator a new password; the version before stays until `forget` is told of it."""
        with self._asking():
            before = self._manager.describe_secret(SecretId=self._fleet.administrator_secret)
        old = next(
            (version for version, stages in before["VersionIdsToStages"].items() if "AWSCURRENT" in stages), ""
        )
        self._put_password()
        return old

    def forget(self, version: str) -> None:
        """Takes the last label from a version: Secrets Manager then deletes it (User Guide, "Secret versions")."""
        with self._asking():
            stages = self._manager.describe_secret(SecretId=self._fleet.administrator_secret)["VersionIdsToStages"]
            for stage in stages.get(version, ()):
                self._manager.update_secret_version_stage(
                    SecretId=self._fleet.administrator_secret, VersionStage=stage, RemoveFromVersionId=version
                )

    def _put_password(self) -> None:
        value = json.dumps({"username": ADMINISTRATOR, "password": password()})
        with self._asking():
            self._manager.put_secret_value(SecretId=self._fleet.administrator_secret, SecretString=value)

    def _refuse_halves(self, nodes: str | bytes | None, client: str | bytes | None, formed: bool) -> None:
        """A half that was made here before an interruption is made again; one that somebody put there is not."""
        if formed:
            raise FabricServiceError(
                f"the cluster {self._fleet.cluster} is formed, but its certificates are not in "
                f"{self._fleet.node_secret} and {self._fleet.client_secret}: restore what it was formed with"
            )
        own = authority.authority_name(self._fleet.cluster)
        if isinstance(nodes, bytes):
            issuer = authority.facts(authority.read_pfx(nodes, self._fleet.node_secret)[0]).issuer
        elif isinstance(client, str):
            pem = parse(client, self._fleet.client_secret).certificate
            issuer = authority.facts(authority.read_pem(pem, self._fleet.client_secret)).issuer
        else:
            return
        if issuer != own:
            missing = self._fleet.client_secret if client is None else self._fleet.node_secret
            raise FabricServiceError(
                f"{missing} has no value, while the other certificate is issued by {issuer}: put in both, nodes' and "
                "client's, or neither"
            )

    def _read(self) -> tuple[Certificates, Credentials]:
        nodes, client = (self._value(name) for name in (self._fleet.node_secret, self._fleet.client_secret))
        if not isinstance(nodes, bytes):
            raise FabricServiceError(f"{self._fleet.node_secret} must be binary, a PFX without a password")
        credentials = parse(client if isinstance(client, str) else "", self._fleet.client_secret)
        root = authority.read_pem(credentials.authority, self._fleet.client_secret)
        node, _ = authority.read_pfx(nodes, self._fleet.node_secret)
        own = authority.read_pem(credentials.certificate, self._fleet.client_secret)
        if credentials.server_name != authority.node_name(self._fleet.cluster):
            raise FabricServiceError(
                f"{self._fleet.client_secret}: server_name is {credentials.server_name}, but the machines look for "
                f"the certificate of {authority.node_name(self._fleet.cluster)}: have one issued to that name"
            )
        for certificate, expected, where in (
            (node, credentials.server_name, self._fleet.node_secret),
            (own, credentials.client_name, self._fleet.client_secret),
        ):
            found = authority.facts(certificate)
            if found.name != expected:
                raise FabricServiceError(f"{where}: the certificate is {found.name}'s, not {expected}'s: correct it")
            if not authority.issued_by(certificate, root):
                raise FabricServiceError(f"{where}: {expected} is not issued by the authority in the client's secret")
            if found.ends <= datetime.now(UTC):
                raise FabricServiceError(f"{where}: the certificate of {expected} ended on {found.ends.date()}")
        credentials.context()
        issuer = authority.facts(root).thumbprint
        return Certificates(credentials.server_name, credentials.client_name, issuer), credentials

    def _value(self, name: str) -> str | bytes | None:
        """A secret's value; None when it has none yet."""
        with self._asking():
            try:
                answer = self._manager.get_secret_value(SecretId=name)
            except self._manager.exceptions.ResourceNotFoundException:
                return None
        return answer.get("SecretString") or answer.get("SecretBinary")

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._manager.exceptions.InvalidRequestException as error:
            raise FabricServiceError(
                f"a secret of {self._fleet.cluster} cannot be used ({error}): if it is being deleted, restore it"
            ) from error


def password() -> str:
    """A password with all four kinds of characters, as Windows' policy wants it."""
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, _MARKS)
    chosen = [secrets.choice(kind) for kind in kinds]
    chosen += [secrets.choice("".join(kinds)) for _ in range(_PASSWORD_LENGTH - len(kinds))]
    secrets.SystemRandom().shuffle(chosen)
    return "".join(chosen)
