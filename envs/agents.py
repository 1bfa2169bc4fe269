"""Which addresses Microsoft's hosted agents may come from, as the setting `ingress.public_management` wants them.

Read from the file that Microsoft publishes every week, "Azure IP Ranges and Service Tags - Public Cloud". Hosted
agents have addresses of every region in their organization's geography ("Microsoft-hosted agents", Networking): there
is no tag of theirs alone.
"""

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer
import yaml

from envs import lifecycle
from envs.errors import FleetstreamError, UsageError
from envs.project import STACK_FILES

RULES_PER_GROUP: Final = 60
"""Rules of a security group, in which one with a prefix list counts as many times as the list may have entries
("Amazon VPC quotas")."""
WIDEST: Final = 8
"""The shortest prefix that `ingress.public_management` takes."""

_TAG: Final = "AzureCloud."
_PUBLISHED: Final = (
    "ServiceTags_Public_<date>.json of Microsoft's page Azure IP Ranges and Service Tags - Public Cloud"
)


@dataclass(frozen=True)
class Tags:
    """The regions of a published file with their prefixes, IPv4 and IPv6."""

    path: Path
    change: int
    regions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Agents:
    """Whose addresses, and which they are: as few ranges as cover exactly those."""

    who: str
    regions: tuple[str, ...]
    change: int
    ranges: tuple[ipaddress.IPv4Network, ...]

    def settings(self) -> str:
        """YAML for a stack file, below `fleetstream:settings`."""
        lines = [
            f"    # Hosted agents of {self.who}: {', '.join(self.regions)}; change {self.change} of the tags.",
            f"    # {len(self.ranges)} of the {RULES_PER_GROUP} rules that a security group takes.",
            "    ingress:",
            "      public_management:",
            *(f"        - {{cidr: {block}, description: hosted agents}}" for block in self.ranges),
        ]
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "who": self.who,
            "regions": list(self.regions),
            "change": self.change,
            "ranges": [str(block) for block in self.ranges],
        }


def show(path: Path, geography: str | None, regions: Iterable[str], json_path: Path | None) -> None:
    """Prints the settings for a geography, or for regions. Raises `FleetstreamError` when they cannot be rules."""
    found = select(read(path), geography, tuple(regions))
    if json_path is not None:
        lifecycle.write_json(json_path, found.as_json())
    require_room(found)
    typer.echo(found.settings(), nl=False)


def geographies() -> dict[str, list[str]]:
    """The regions of each geography."""
    return yaml.safe_load((STACK_FILES / "geographies.yaml").read_text())


def read(path: Path) -> Tags:
    """Reads a published file. Raises `FleetstreamError` that says what of it is missing."""
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FleetstreamError(f"{path} cannot be read as JSON: {error}. It has to be {_PUBLISHED}") from error
    change = _part(path, document, "changeNumber", int)
    cloud = _part(path, document, "cloud", str)
    if cloud != "Public":
        raise FleetstreamError(f"{path} is of the cloud {cloud}, and Azure DevOps is in Public: take {_PUBLISHED}")
    regions = {}
    for number, value in enumerate(_part(path, document, "values", list)):
        where = f"values[{number}]"
        name = _part(path, value, "name", str, where)
        if name.startswith(_TAG):
            properties = _part(path, value, "properties", dict, where)
            prefixes = _part(path, properties, "addressPrefixes", list, f"{where}.properties")
            regions[name.removeprefix(_TAG).lower()] = tuple(map(str, prefixes))
    if not regions:
        raise FleetstreamError(f"{path} has no tag {_TAG}<region>: take {_PUBLISHED}")
    return Tags(path, change, regions)


def select(tags: Tags, geography: str | None, regions: tuple[str, ...]) -> Agents:
    """The ranges of a geography's regions, or of the regions named. Raises `FleetstreamError`."""
    if (geography is None) is (not regions):
        raise UsageError("name the organization's geography with --geography, or its regions with --region")
    who = geography or "regions"
    if geography is not None:
        known = {name.lower(): (name, found) for name, found in geographies().items()}
        if geography.lower() not in known:
            names = ", ".join(name for name, _ in known.values())
            raise UsageError(
                f"there is no geography {geography!r}: it is one of {names}; or name regions by --region"
            )
        who, found = known[geography.lower()]
        regions = tuple(found)
    wanted = tuple(sorted({region.lower() for region in regions}))
    if missing := [region for region in wanted if region not in tags.regions]:
        raise FleetstreamError(
            f"{tags.path} has no tag for {', '.join(missing)}: it has {', '.join(sorted(tags.regions))}"
        )
    prefixes = [prefix for region in wanted for prefix in tags.regions[region]]
    return Agents(who, wanted, tags.change, _collapsed(tags.path, prefixes))


def require_room(found: Agents) -> None:
    """Raises `FleetstreamError` when the ranges are more than a security group takes, or too wide for it."""
    if wide := [str(block) for block in found.ranges if block.prefixlen < WIDEST or not block.is_global]:
        raise FleetstreamError(
            f"{', '.join(wide)}: no ranges that a public listener may be open to; is the file right?"
        )
    if (count := len(found.ranges)) > RULES_PER_GROUP:
        raise FleetstreamError(
            f"{found.who} ({', '.join(found.regions)}) has {count} ranges after joining neighbours, and a security "
            f"group takes {RULES_PER_GROUP} rules: a prefix list counts as many times as it has entries. Deploy from "
            "a self-hosted agent inside the VPC, as azure-pipelines.yml does by default; fewer regions than a whole "
            "geography would refuse some of its agents"
        )


def _collapsed(path: Path, prefixes: Iterable[str]) -> tuple[ipaddress.IPv4Network, ...]:
    blocks = []
    for prefix in prefixes:
        try:
            block = ipaddress.ip_network(prefix)
        except ValueError as error:
            raise FleetstreamError(f"{path}: {error}. It has to be {_PUBLISHED}") from error
        # The load balancers have IPv4 addresses only.
        if isinstance(block, ipaddress.IPv4Network):
            blocks.append(block)
    return tuple(ipaddress.collapse_addresses(blocks))


def _part(path: Path, holder: Any, key: str, kind: type, where: str = "") -> Any:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, kind):
        shown = ".".join(part for part in (where, key) if part)
        raise FleetstreamError(f"{path} has no {shown} that is a {kind.__name__}: it has to be {_PUBLISHED}")
    return found
