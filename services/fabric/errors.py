"""What can be wrong with the cluster or with what is asked of it."""

from typing import Final

from services.errors import ServiceError


class FabricServiceError(ServiceError):
    """The root of every error that this package raises on purpose."""


class GatewayUnreachableError(FabricServiceError):
    """The gateway does not answer, or says itself that it cannot just now: the same request may succeed later.

    `answered`: something said so, which is no proof that there is no cluster.
    """

    def __init__(self, message: str, *, answered: bool = False) -> None:
        self.answered = answered
        super().__init__(message)


class GatewayUntrustedError(FabricServiceError):
    """One side does not accept the other's certificate: asking again changes nothing."""


class GatewayRefusedError(FabricServiceError):
    """The cluster refused a request; `code` is Service Fabric's own (``Error.Code``), empty when it gave none."""

    def __init__(self, what: str, status: int, code: str = "", message: str = "") -> None:
        self.status = status
        self.code = code
        reason = ": ".join(part for part in (code, message) if part) or f"HTTP {status} without a reason"
        super().__init__(f"{what}: {reason}")


class NodeNotFoundError(GatewayRefusedError):
    """The cluster knows no node of that name."""


class NodeIsUpError(GatewayRefusedError):
    """The state of a node that is up cannot be removed: its machine must be stopped first."""


class UpgradeInProgressError(GatewayRefusedError):
    """The cluster is being changed already: the next change waits until that one has ended."""


class InvalidConfigurationError(GatewayRefusedError):
    """The cluster does not accept a configuration."""


REFUSALS: Final[dict[str, type[GatewayRefusedError]]] = {
    "FABRIC_E_NODE_NOT_FOUND": NodeNotFoundError,
    "FABRIC_E_NODE_IS_UP": NodeIsUpError,
    "FABRIC_E_NODE_HAS_NOT_STOPPED_YET": NodeIsUpError,
    "FABRIC_E_FABRIC_UPGRADE_IN_PROGRESS": UpgradeInProgressError,
    "FABRIC_E_FABRIC_UPGRADE_VALIDATION_ERROR": InvalidConfigurationError,
    "FABRIC_E_INVALID_CONFIGURATION": InvalidConfigurationError,
    "FABRIC_E_CONFIG_UPGRADE_FAILED": InvalidConfigurationError,
}
"""The error of each code that somebody acts on (azure-servicefabric 8.2, ``FabricErrorCodes``)."""

PASSING: Final = frozenset(
    {
        "FABRIC_E_TIMEOUT",
        "FABRIC_E_NOT_READY",
        "FABRIC_E_NOT_PRIMARY",
        "FABRIC_E_NO_WRITE_QUORUM",
        "FABRIC_E_RECONFIGURATION_PENDING",
        "FABRIC_E_COMMUNICATION_ERROR",
        "FABRIC_E_OPERATION_NOT_COMPLETE",
        "FABRIC_E_SERVICE_OFFLINE",
        "FABRIC_E_GATEWAY_NOT_REACHABLE",
        "E_ABORT",
        "E_FAIL",
    }
)
"""Codes of conditions that pass: a system service moves, has no quorum yet, or took too long."""
