"""What Service Fabric answers when it refuses."""

from http import HTTPStatus
from typing import Final

from envs.errors import FleetstreamError

# Which status a code comes with (Service Fabric REST API reference, FabricErrorCodes). The others come with a 500:
# FABRIC_E_NODE_IS_UP is one of them.
_CODES: Final = {
    HTTPStatus.BAD_REQUEST: (
        "E_INVALIDARG",
        "FABRIC_E_APPLICATION_UPGRADE_VALIDATION_ERROR",
        "FABRIC_E_IMAGEBUILDER_VALIDATION_ERROR",
        "FABRIC_E_INVALID_CONFIGURATION",
        "FABRIC_E_INVALID_NAME_URI",
    ),
    HTTPStatus.FORBIDDEN: ("E_ACCESSDENIED",),
    HTTPStatus.NOT_FOUND: (
        "FABRIC_E_APPLICATION_NOT_FOUND",
        "FABRIC_E_APPLICATION_TYPE_NOT_FOUND",
        "FABRIC_E_FILE_NOT_FOUND",
        "FABRIC_E_HEALTH_ENTITY_NOT_FOUND",
        "FABRIC_E_NODE_NOT_FOUND",
        "FABRIC_E_PARTITION_NOT_FOUND",
        "FABRIC_E_SERVICE_DOES_NOT_EXIST",
        "FABRIC_E_SERVICE_MANIFEST_NOT_FOUND",
        "FABRIC_E_SERVICE_TYPE_NOT_FOUND",
    ),
    HTTPStatus.CONFLICT: (
        "FABRIC_E_APPLICATION_ALREADY_EXISTS",
        "FABRIC_E_APPLICATION_ALREADY_IN_TARGET_VERSION",
        "FABRIC_E_APPLICATION_TYPE_ALREADY_EXISTS",
        "FABRIC_E_APPLICATION_TYPE_IN_USE",
        "FABRIC_E_APPLICATION_UPGRADE_IN_PROGRESS",
        "FABRIC_E_FABRIC_UPGRADE_IN_PROGRESS",
        "FABRIC_E_SERVICE_ALREADY_EXISTS",
    ),
    HTTPStatus.NOT_IMPLEMENTED: ("E_NOTIMPL",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("FABRIC_E_NO_WRITE_QUORUM", "FABRIC_E_NOT_READY"),
    HTTPStatus.GATEWAY_TIMEOUT: ("FABRIC_E_TIMEOUT",),
}
_STATUS: Final = {code: status for status, codes in _CODES.items() for code in codes}


class FabricError(FleetstreamError):
    """A refusal with Service Fabric's own code (`Error.Code`)."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = int(status or _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR))


class MachineError(FleetstreamError):
    """Something that a machine was told to do and cannot; the text is what its log would say."""
