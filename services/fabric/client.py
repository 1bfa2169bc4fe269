"""The cluster's HTTP gateway: what it tells, and what it is told to do.

Paths, versions and shapes are those of Microsoft's azure-servicefabric 8.2. A request is sent again only when that
can do no harm: reading, and what comes to the same when it is done twice. Needs urllib3 and nothing else, so that
functions can carry it.
"""

import json
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.exceptions import SSLError as TlsError

from services.fabric.credentials import Credentials
from services.fabric.errors import (
    PASSING,
    REFUSALS,
    FabricServiceError,
    GatewayRefusedError,
    GatewayUnreachableError,
    GatewayUntrustedError,
    NodeNotFoundError,
)
from services.fabric.state import (
    DISABLED,
    DOWN,
    GONE_STATUSES,
    OK,
    REMOVE_NODE,
    UP,
    ZOMBIE_STATUSES,
    Health,
    Node,
    Upgrade,
    node_of,
    reasons_of,
)

__all__ = [
    "CONFIGURATION_VERSION",
    "DISABLED",
    "DOWN",
    "GONE_STATUSES",
    "OK",
    "REMOVE_NODE",
    "UP",
    "ZOMBIE_STATUSES",
    "Gateway",
    "Health",
    "Node",
    "Patience",
    "Upgrade",
]

log = logging.getLogger(__name__)

CONFIGURATION_VERSION: Final = "06-2023"
"""The form of standalone configurations that is written and asked for
(Azure-Samples/service-fabric-dotnet-standalone-cluster-configuration)."""

_SERVER_SECONDS: Final = 10
"""How long the gateway may wait for the cluster: less than the client waits for the gateway."""


@dataclass(frozen=True)
class Patience:
    """How long an answer may take, and how often a request that does no harm twice is sent again."""

    connect_s: float = 3.0
    read_s: float = 15.0
    attempts: int = 4
    pause_s: float = 0.5
    """Before the second attempt; twice as long before each further one."""

    def pauses(self) -> Iterator[float]:
        """The pauses between the attempts, shifted at random so that many clients do not return together."""
        for attempt in range(self.attempts - 1):
            yield self.pause_s * 2**attempt * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


class Gateway:
    """A client of one cluster's gateway. Every method raises the errors of `services.fabric.errors`."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        secure = urlsplit(self.url).scheme == "https"
        if secure != (credentials is not None):
            raise FabricServiceError(f"{self.url}: a client certificate belongs to https, and to nothing else")
        self._patience = patience or Patience()
        self._sleep = sleep
        # With a context of one's own urllib3 leaves names to it.
        self._context = credentials.context() if credentials else None
        tls: dict[str, Any] = {"ssl_context": self._context, "assert_hostname": False} if self._context else {}
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=urllib3.Timeout(connect=self._patience.connect_s, read=self._patience.read_s),
            **tls,
        )

    @property
    def server_ends(self) -> float | None:
        """When the nodes' certificate ends, in seconds since 1970; None while no node has shown it."""
        return self._context.server_ends if self._context else None

    # Nodes

    def nodes(self) -> list[Node]:
        """Every node that the cluster knows, from all pages."""
        found: list[Node] = []
        query: dict[str, str] = {}
        seen: set[str] = set()
        while True:
            page = self._get("/Nodes", "6.3", "the list of nodes", **query)
            found += [node_of(item) for item in page.get("Items") or ()]
            token = page.get("ContinuationToken") or ""
            if not token:
                return found
            if token in seen:
                raise FabricServiceError(f"{self.url}: the list of nodes does not end: {token!r} comes again")
            seen.add(token)
            query = {"ContinuationToken": token}

    def node(self, name: str) -> Node | None:
        """One node; None when the cluster knows none of that name (it answers 204)."""
        answer = self._get(f"/Nodes/{_quoted(name)}", "6.0", f"node {name}")
        return node_of(answer) if answer else None

    def node_health(self, name: str) -> Health:
        """The health of one node."""
        answer = self._get(f"/Nodes/{_quoted(name)}/$/GetHealth", "6.0", f"the health of node {name}")
        return Health(answer.get("AggregatedHealthState", "Unknown"), reasons_of(answer), {})

    def deactivate(self, name: str, intent: str = REMOVE_NODE) -> None:
        """Begins to take a node out of use; `node` tells how far that is. Asking twice changes nothing."""
        self._post(
            f"/Nodes/{_quoted(name)}/$/Deactivate", f"deactivating node {name}", {"DeactivationIntent": intent}
        )

    def activate(self, name: str) -> None:
        """Takes a deactivation back."""
        self._post(f"/Nodes/{_quoted(name)}/$/Activate", f"activating node {name}")

    def remove_state(self, name: str) -> None:
        """Makes the cluster forget a node that is down; that it has done so already is as good.

        Raises `NodeIsUpError` for one that is up.
        """
        try:
            self._post(f"/Nodes/{_quoted(name)}/$/RemoveNodeState", f"removing the state of node {name}")
        except NodeNotFoundError:
            log.info("node %s is unknown to the cluster already", name)

    # The cluster

    def health(self) -> Health:
        """The cluster's health."""
        answer = self._get("/$/GetClusterHealth", "6.0", "the cluster's health")
        nodes = {one["Name"]: one["AggregatedHealthState"] for one in answer.get("NodeHealthStates") or ()}
        return Health(answer.get("AggregatedHealthState", "Unknown"), reasons_of(answer), nodes)

    def manifest(self) -> str:
        """The cluster's manifest, XML."""
        return str(self._get("/$/GetClusterManifest", "6.0", "the cluster's manifest")["Manifest"])

    def version(self) -> str:
        """The version of Service Fabric that the cluster runs."""
        return str(self._get("/$/GetClusterVersion", "6.4", "the cluster's version")["Version"])

    def configuration(self) -> dict[str, Any]:
        """The configuration that the cluster has now: what every change starts from."""
        what = "the cluster's configuration"
        answer = self._get("/$/GetClusterConfiguration", "6.0", what, ConfigurationApiVersion=CONFIGURATION_VERSION)
        return _parsed(answer["ClusterConfiguration"], f"{self.url}: {what}")

    def start_configuration_upgrade(self, configuration: Mapping[str, Any]) -> None:
        """Begins to change the configuration; `upgrade_status` tells how far that is.

        Sent again only while no connection came about: a second one would be refused as running already.
        """
        body = {"ClusterConfig": json.dumps(configuration)}
        self._post("/$/StartClusterConfigurationUpgrade", "the configuration upgrade", body, repeatable=False)

    def upgrade_status(self) -> Upgrade:
        """How far the last change of the configuration is."""
        answer = self._get("/$/GetClusterConfigurationUpgradeStatus", "6.0", "the upgrade's status")
        state, version = answer.get("UpgradeState") or "Invalid", answer.get("ConfigVersion") or ""
        return Upgrade(state, version, answer.get("Details") or "")

    # How it is asked

    def _get(self, path: str, version: str, what: str, **query: str) -> dict[str, Any]:
        answer = self._request("GET", path, {"api-version": version, **query}, what)
        return _parsed(answer, f"{self.url}: {what}") if answer else {}

    def _post(self, path: str, what: str, body: Mapping[str, Any] | None = None, *, repeatable: bool = True) -> None:
        self._request("POST", path, {"api-version": "6.0"}, what, body, repeatable)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        what: str,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = True,
    ) -> bytes:
        """The body of the answer; empty for 204. Tries again what may be tried again."""
        pauses = self._patience.pauses()
        while True:
            try:
                return self._once(method, path, query, what, body)
            except GatewayUnreachableError as error:
                pause = next(pauses, None) if repeatable or _never_sent(error) else None
                if pause is None:
                    raise
                log.info("asking the gateway again in %.1f s: %s", pause, error)
                self._sleep(pause)

    def _once(
        self, method: str, path: str, query: Mapping[str, str], what: str, body: Mapping[str, Any] | None
    ) -> bytes:
        try:
            answer = self._pool.request(
                method,
                f"{self.url}{path}?{urlencode({**query, 'timeout': str(_SERVER_SECONDS)})}",
                body=None if body is None else json.dumps(body).encode(),
                headers={"Accept": "application/json"}
                | ({} if body is None else {"Content-Type": "application/json; charset=utf-8"}),
            )
        except (TlsError, ssl.SSLError) as error:
            raise GatewayUntrustedError(
                f"{self.url}: {what}: no trust between gateway and client ({error}): check that the client "
                "certificate's secret holds the cluster's authority and the server's common name"
            ) from error
        except HTTPError as error:
            raise GatewayUnreachableError(
                f"{self.url} does not answer ({what}: {error}). It stands inside the VPC: ask from there, by a "
                "self-hosted agent or a port forwarded by Session Manager, and check that the cluster is formed"
            ) from error
        if answer.status < 300:
            return answer.data
        raise _refusal(f"{self.url}: {what}", answer.status, answer.data)


def _refusal(what: str, status: int, body: bytes) -> FabricServiceError:
    """The error that an answer stands for: by Service Fabric's code, and by HTTP's status where it gave none."""
    try:
        found = json.loads(body)["Error"]
        code, message = str(found.get("Code") or ""), str(found.get("Message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = "", ""
    if code in PASSING or (not code and (status >= 500 or status == 429)):
        return GatewayUnreachableError(
            f"{what}: not now: {code or f'HTTP {status}'} {message}".rstrip(), answered=True
        )
    if not code and status in (401, 403):
        message = "the client certificate is not one that the cluster lets do this"
    return REFUSALS.get(code, GatewayRefusedError)(what, status, code, message)


def _never_sent(error: GatewayUnreachableError) -> bool:
    return isinstance(error.__cause__, NewConnectionError | ConnectTimeoutError)


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _parsed(text: bytes | str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise FabricServiceError(f"{what}: the answer is no JSON ({error}): is that a gateway?") from error
    if not isinstance(found, dict):
        raise FabricServiceError(f"{what}: the answer is no JSON object: is that a gateway?")
    return found
