"""What FSx for Windows File Server refuses: sizes and subnets that do not fit, without any state.

Sources: Amazon FSx API Reference (CreateFileSystem, CreateFileSystemWindowsConfiguration, UpdateFileSystem,
UpdateFileSystemWindowsConfiguration, and their errors).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from moto.core.exceptions import JsonRESTError

MULTI_AZ: Final = "MULTI_AZ_1"
SINGLE_AZ: Final = "SINGLE_AZ_1"
SSD: Final = "SSD"
_HDD: Final = "HDD"
_ZONES: Final = {MULTI_AZ: 2, SINGLE_AZ: 1, "SINGLE_AZ_2": 1}
"""Deployment types, and the subnets that each takes."""
_SMALLEST: Final = {SSD: 32, _HDD: 2000}
_LARGEST: Final = 65536
_SPEEDS: Final = tuple(2**power for power in range(3, 12))
_SLOWEST: Final = {MULTI_AZ: 32}
"""FSx for Windows File Server User Guide, "Performance": Multi-AZ file systems begin at 32 MB/s."""
_SPEED_TO_GROW: Final = 16
_GROWTH: Final = 1.1
_RETENTION_DAYS: Final = 90
_DAILY: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_WEEKLY: Final = re.compile(rf"[1-7]:({_DAILY.pattern})")

CHANGEABLE: Final = frozenset(
    {
        "AutomaticBackupRetentionDays",
        "DailyAutomaticBackupStartTime",
        "ThroughputCapacity",
        "WeeklyMaintenanceStartTime",
    }
)
"""Of a Windows configuration, what an update may change."""
_KNOWN: Final = CHANGEABLE | {"ActiveDirectoryId", "CopyTagsToBackups", "DeploymentType", "PreferredSubnetId"}


class BadRequestError(JsonRESTError):
    """A request that says something wrong."""

    def __init__(self, message: str) -> None:
        super().__init__("BadRequest", message)


class DirectoryError(JsonRESTError):
    """A directory that cannot be joined."""

    def __init__(self, message: str) -> None:
        super().__init__("ActiveDirectoryError", message)


class NetworkError(JsonRESTError):
    """A subnet or security group that does not exist or stands elsewhere."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidNetworkSettings", message)


def check_known(configuration: Mapping[str, Any], known: frozenset[str] = _KNOWN) -> None:
    """Refuses by name what nothing here does."""
    if unknown := sorted(configuration.keys() - known):
        raise NotImplementedError(f"{', '.join(unknown)} of an FSx file system for Windows")


def check_sizes(storage: str, deployment: str, capacity: int | None, throughput: int | None) -> None:
    """A storage type, and figures that go with it."""
    if deployment not in _ZONES:
        raise BadRequestError(f"Invalid deployment type {deployment}: one of {', '.join(_ZONES)}")
    if storage not in _SMALLEST or (storage == _HDD and deployment == SINGLE_AZ):
        raise BadRequestError(f"Storage type {storage} is not supported for the deployment type {deployment}.")
    if capacity is None or not _SMALLEST[storage] <= capacity <= _LARGEST:
        raise BadRequestError(
            f"Storage capacity {capacity} is not between {_SMALLEST[storage]} and {_LARGEST} GiB for {storage}."
        )
    speeds = [each for each in _SPEEDS if each >= _SLOWEST.get(deployment, 0)]
    if throughput not in speeds:
        wanted = ", ".join(map(str, speeds))
        raise BadRequestError(f"Throughput capacity {throughput} is not supported for {deployment}: one of {wanted}")


def check_growth(before: int, after: int, throughput: int) -> None:
    """Storage grows by a tenth at least, and never shrinks."""
    if after < before * _GROWTH:
        raise BadRequestError(f"Storage capacity {after} is not at least 10 percent greater than {before}.")
    if throughput < _SPEED_TO_GROW:
        raise BadRequestError(f"To increase storage, throughput must be at least {_SPEED_TO_GROW} MB/s.")


def check_places(deployment: str, subnets: Sequence[str], zones: Sequence[str], preferred: str | None) -> None:
    """As many subnets as the deployment type stands in, each in its own zone, one of them preferred."""
    wanted = _ZONES[deployment]
    if len(subnets) != wanted:
        raise BadRequestError(f"{deployment} takes exactly {wanted} subnet{'s'[: wanted > 1]}, not {len(subnets)}.")
    if len(set(zones)) != wanted:
        raise BadRequestError(f"The subnets of {deployment} must be in {wanted} Availability Zones.")
    if deployment == MULTI_AZ and preferred is None:
        raise BadRequestError("PreferredSubnetId is required for MULTI_AZ_1.")
    if preferred is not None and preferred not in subnets:
        raise BadRequestError(f"PreferredSubnetId {preferred} is not one of the file system's subnets.")


def check_times(configuration: Mapping[str, Any]) -> None:
    """How long backups are kept, and when they and maintenance begin."""
    days = configuration.get("AutomaticBackupRetentionDays", 0)
    if not 0 <= days <= _RETENTION_DAYS:
        raise BadRequestError(f"AutomaticBackupRetentionDays {days} is not between 0 and {_RETENTION_DAYS}.")
    for name, form in (("DailyAutomaticBackupStartTime", _DAILY), ("WeeklyMaintenanceStartTime", _WEEKLY)):
        if name in configuration and not form.fullmatch(configuration[name]):
            raise BadRequestError(f"{name} {configuration[name]!r} is no time.")
