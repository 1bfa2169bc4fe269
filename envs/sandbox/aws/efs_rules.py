"""What EFS refuses: combinations of throughput, lifecycle and policy that it does not take, without any state.

Sources: Amazon EFS API Reference (CreateFileSystem, UpdateFileSystem, PutLifecycleConfiguration, LifecyclePolicy,
PutBackupPolicy, PutFileSystemPolicy, CreateAccessPoint), Amazon EFS User Guide ("Amazon EFS performance
specifications", "Creating file system policies").
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from moto.efs.exceptions import BadRequest, EFSError

from envs.sandbox.aws import policy

ELASTIC: Final = "elastic"
PROVISIONED: Final = "provisioned"
_MODES: Final = ("bursting", PROVISIONED, ELASTIC)
_MAX_IO: Final = "maxIO"
_ARCHIVE: Final = "TransitionToArchive"
_INFREQUENT: Final = "TransitionToIA"
_PRIMARY: Final = "TransitionToPrimaryStorageClass"
_DAYS: Final = {f"AFTER_{days}_DAY{'S'[: days > 1]}": days for days in (1, 7, 14, 30, 60, 90, 180, 270, 365)}
_POLICY_LIMIT: Final = 20_000
_PATH: Final = re.compile(r"/|(/[^/$#<>;`|&?{}^*\n]+){1,4}")


class InvalidPolicyError(EFSError):
    """A file system policy that EFS cannot read, or that speaks of something else."""

    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("InvalidPolicyException", message)


class TooManyRequestsError(EFSError):
    """A change of throughput too soon after the one before."""

    code = 429

    def __init__(self, message: str) -> None:
        super().__init__("TooManyRequests", message)


class ZonesMismatchError(EFSError):
    """A mount target outside the one zone of its file system."""

    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("AvailabilityZonesMismatch", message)


class AddressInUseError(EFSError):
    """A mount target's address that something else has."""

    code = 409

    def __init__(self, address: str) -> None:
        super().__init__("IpAddressInUse", f"The IP address {address} is already in use.")


def check_throughput(mode: str, mibps: float | None, performance: str | None, zone: str | None) -> None:
    """A throughput mode, its figure and a performance mode that fit together."""
    if mode not in _MODES:
        raise BadRequest(f"Invalid throughput mode: {mode}")
    if (mode == PROVISIONED) is (mibps is None):
        raise BadRequest(
            "ProvisionedThroughputInMibps must be set for the throughput mode provisioned, and for no other."
        )
    if mibps is not None and not 1 <= mibps <= 3414:
        raise BadRequest(f"ProvisionedThroughputInMibps {mibps} is not between 1 and 3414.")
    if performance == _MAX_IO and (mode == ELASTIC or zone):
        raise BadRequest("The performance mode maxIO goes neither with elastic throughput nor with One Zone.")


def check_lifecycle(policies: Sequence[Mapping[str, str]], mode: str, performance: str) -> None:
    """One transition an entry, each at most once, and into Archive after Infrequent Access."""
    found: dict[str, str] = {}
    for each in policies:
        if len(each) != 1 or found.keys() & each.keys():
            raise BadRequest("Each LifecyclePolicy must have exactly one transition, and each transition only once.")
        found |= each
    days = {name: _DAYS.get(value) for name, value in found.items() if name != _PRIMARY}
    if None in days.values() or found.get(_PRIMARY, "AFTER_1_ACCESS") != "AFTER_1_ACCESS":
        raise BadRequest(f"Invalid transition in {dict(found)}")
    archived, moved = days.get(_ARCHIVE), days.get(_INFREQUENT)
    if archived is not None and moved is not None and archived <= moved:
        raise BadRequest("TransitionToArchive must be later than TransitionToIA.")
    if archived is not None and (mode != ELASTIC or performance == _MAX_IO):
        raise BadRequest("Archive needs elastic throughput and the performance mode generalPurpose.")


def check_policy(document: str, arn: str) -> None:
    """A policy that names principals and actions, for this one file system."""
    if len(document) > _POLICY_LIMIT:
        raise InvalidPolicyError(f"Policy is longer than {_POLICY_LIMIT} characters.")
    try:
        statements = policy.statements(document)
    except policy.PolicyError as error:
        raise InvalidPolicyError(f"Policy is invalid: {error}") from error
    for each in statements:
        if not each.get("Principal"):
            raise InvalidPolicyError("Policy contains invalid Principal block")
        actions = _texts(each.get("Action", each.get("NotAction")))
        if not actions or any(one != "*" and not one.startswith("elasticfilesystem:") for one in actions):
            raise InvalidPolicyError("Policy contains invalid Action")
        if any(one not in ("*", arn) for one in _texts(each.get("Resource"))):
            raise InvalidPolicyError("Policy contains invalid Resource: it must be the file system itself")


def check_root(directory: Mapping[str, Any]) -> None:
    """A root directory that EFS can make when it is missing."""
    path = directory.get("Path", "/")
    if not _PATH.fullmatch(path) or len(path) > 100:
        raise BadRequest(f"Invalid root directory path {path}: at most four levels and 100 characters.")
    made = directory.get("CreationInfo")
    if made is not None and not re.fullmatch(r"[0-7]{3,4}", made.get("Permissions", "")):
        raise BadRequest("Permissions must be three or four octal digits.")


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]
