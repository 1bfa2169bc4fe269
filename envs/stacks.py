"""Developers' own stacks: making the settings of one, and finding those whose time is over.

A stack of one's own has the sandbox's sizes, the smallest there are, a range that no other stack file has, an owner,
a last day and a budget. It lives in AWS like any other environment; nothing here makes or deletes a resource.
"""

import ipaddress
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from envs import project
from envs.errors import FleetstreamError, UsageError
from envs.sandbox.stack import existing

TRACKED: Final = ("dev", "prod", "sandbox", "staging")
"""The environments of everybody."""
POOL: Final = ipaddress.IPv4Network("10.128.0.0/12")
"""Where own stacks take their ranges from: 256 of them, beside what the environments of everybody have."""
RANGE_BITS: Final = 20

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME: Final = 20
_TAG: Final = re.compile(r"[\w .:/=+@-]{1,64}")
"""What AWS lets into a tag (General Reference, "Tag naming limits"), as long as settings let an owner be."""
_EMAIL: Final = re.compile(r"(?=.{1,50}$)[^@\s:]+@[^@\s:]+\.[^@\s:]+")
_MOST_DAYS: Final = 90
_SETTINGS: Final = f"{project.NAME}:settings"


@dataclass(frozen=True)
class Expired:
    """A stack whose last day is over. ``found`` says where that is written."""

    name: str
    owner: str
    last_day: date
    found: str
    resources: int | None = None
    """How many of its resources AWS told of; None: it was not asked."""


def new(name: str, owner: str | None, email: str | None, days: int, budget_usd: int, today: date) -> Path:
    """Writes the stack file of a developer's own stack. Raises `UsageError` for what it cannot be made with."""
    _check_name(name)
    if not 1 <= days <= _MOST_DAYS:
        raise UsageError(f"--days {days}: 1 to {_MOST_DAYS}; the stack file can be changed later")
    if budget_usd < 1:
        raise UsageError(f"--budget {budget_usd}: at least 1 USD a month")
    owner = owner or _git("user.email")
    if owner is None or not _TAG.fullmatch(owner):
        raise UsageError(
            f"--owner {owner!r}: letters, digits and _.:/=+-@ only, as in AWS's tags"
            if owner
            else "nobody answers for it: say who with --owner, or `git config user.email`"
        )
    email = email or (owner if _EMAIL.fullmatch(owner) else _git("user.email"))
    if email is None or not _EMAIL.fullmatch(email):
        raise UsageError(f"nobody is told about its cost ({email}): name an address with --email")
    settings = _smallest(str(free_range(_ranges())))
    settings["owner"] = owner
    # What tells somebody something tells the owner.
    settings["monitoring"] = {**settings.get("monitoring", {}), "alarm_emails": [email]}
    settings["operations"] = {
        **settings.get("operations", {}),
        "expires": (today + timedelta(days=days)).isoformat(),
        "budget_email": email,
        "monthly_budget_usd": budget_usd,
    }
    content = {"config": {"aws:region": project.region(project.SANDBOX), _SETTINGS: settings}}
    path = project.STACK_FILES / f"Pulumi.{name}.yaml"
    text = (
        f"# A stack of its owner's own, written by `fleetstream env new {name}`. After its last day, `expires`,\n"
        "# `fleetstream env expired` lists it; to keep it longer, write a later one.\n"
        f"{yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)}"
    )
    try:
        with path.open("x") as file:
            file.write(text)
    except OSError as error:
        raise FleetstreamError(f"cannot write {path}: {error.strerror}") from error
    return path


def free_range(taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """The first range of the pool that overlaps none of those taken. Raises `FleetstreamError` when there is none."""
    others = list(taken)
    for block in POOL.subnets(new_prefix=RANGE_BITS):
        if not any(block.overlaps(other) for other in others):
            return block
    raise FleetstreamError(f"every range in {POOL} is taken: take down what `fleetstream env expired` lists")


def by_files(today: date) -> list[Expired]:
    """The stacks whose stack file has a last day that is over."""
    found = []
    for name in project.environments():
        settings = _settings(name)
        last_day = (settings.get("operations") or {}).get("expires")
        if last_day is not None and (day := _day(last_day, f"envs/Pulumi.{name}.yaml")) < today:
            found.append(Expired(name, str(settings.get("owner", "")), day, "its stack file"))
    return found


def by_tags(session: boto3.Session, region: str, today: date) -> list[Expired]:
    """The stacks with resources in the account and region whose tag ``expires`` is over.

    A tag that is no date is told as one long over, because somebody must look. Raises `FleetstreamError` when AWS
    does not tell.
    """
    resources: dict[tuple[str, str, date], int] = defaultdict(int)
    try:
        pages = session.client("resourcegroupstaggingapi", region_name=region).get_paginator("get_resources")
        filters = [{"Key": "project", "Values": [project.NAME]}, {"Key": "expires"}]
        for page in pages.paginate(TagFilters=filters):
            for each in page["ResourceTagMappingList"]:
                tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
                try:
                    day = date.fromisoformat(tags["expires"])
                except ValueError:
                    day = date.min
                if day < today:
                    resources[tags.get("environment", "?"), tags.get("owner", ""), day] += 1
    except (BotoCoreError, ClientError) as error:
        raise FleetstreamError(f"the account does not tell what is in it in {region}: {error}") from error
    return [
        Expired(name, owner, day, f"tags in {region}", count)
        for (name, owner, day), count in sorted(resources.items())
    ]


def expired(emulated: bool, today: date) -> tuple[list[Expired], list[str]]:
    """The stacks whose time is over, by the stack files and by the tags of what is in the account; and who was not
    asked. `emulated`: the accounts of the sandboxes that run are asked instead of the one that is signed in.
    """
    found, silent = by_files(today), []
    for session, region, account in _sandbox_accounts() if emulated else _signed_in():
        if session is None:
            silent.append(account)
            continue
        try:
            found += by_tags(session, region, today)
        except FleetstreamError as error:
            silent.append(f"{account}: {error}")
    return found, silent


def table(found: Iterable[Expired]) -> Table:
    """The same for a terminal."""
    shown = Table("stack", "owner", "last day", "resources", "told by", title="expired", title_justify="left")
    for each in found:
        day = "no date" if each.last_day == date.min else each.last_day.isoformat()
        count = "?" if each.resources is None else str(each.resources)
        shown.add_row(each.name, each.owner, day, count, each.found)
    return shown


def as_json(each: Expired) -> dict[str, Any]:
    """The same for machines."""
    return {**asdict(each), "last_day": each.last_day.isoformat()}


Place = tuple[boto3.Session | None, str, str]
"""A session and region to ask in, and the account's name; without a session, why there is none."""


def _signed_in() -> Iterator[Place]:
    session = boto3.Session()
    try:
        signed_in = session.get_credentials() is not None
    except BotoCoreError as error:
        yield None, "", f"AWS was not asked: {error}"
        return
    if not signed_in:
        yield None, "", "AWS was not asked: nobody is signed in"
        return
    for region in sorted({project.region(name) for name in project.environments()}):
        yield session, region, "AWS was not asked"


def _sandbox_accounts() -> Iterator[Place]:
    running = [each for each in existing() if "aws" not in each.missing()]
    if not running:
        yield None, "", "no sandbox runs"
    for each in running:
        yield each.session(), project.region(each.environment), f"sandbox {each.name}"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or not 2 <= len(name) <= _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is no name for a stack: 2 to {_LONGEST_NAME} lower-case letters, digits and single hyphens, "
            "a letter first; names of functions begin with it"
        )
    for known in TRACKED:
        if name == known or name.startswith(f"{known}-"):
            raise UsageError(f"{name!r} would pass for a part of the environment {known}: choose another name")
    if name in project.environments():
        raise UsageError(f"there is an environment {name!r} already: choose another name")


def _smallest(cidr: str) -> dict[str, Any]:
    """The sandbox's settings in another range, without the account that it is bound to."""
    chosen = _settings(project.SANDBOX)
    moved = _replaced(chosen, chosen["network"]["cidr"], cidr)
    return {key: value for key, value in moved.items() if key != "account"}


def _replaced(value: Any, old: str, new: str) -> Any:
    """The same structure with one text in the place of another, wherever it stands: who may enter names the range."""
    if isinstance(value, Mapping):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, old, new) for item in value]
    return new if value == old else value


def _ranges() -> list[ipaddress.IPv4Network]:
    """The ranges of all stack files."""
    found = []
    for name in project.environments():
        cidr = (_settings(name).get("network") or {}).get("cidr")
        try:
            found.append(ipaddress.IPv4Network(cidr))
        except ValueError as error:
            raise FleetstreamError(f"envs/Pulumi.{name}.yaml: network.cidr: {error}: correct it first") from error
    return found


def _settings(name: str) -> Mapping[str, Any]:
    path = project.stack_file(name)
    try:
        return yaml.safe_load(path.read_text())["config"][_SETTINGS]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise FleetstreamError(f"{path.name}: no {_SETTINGS} below `config:` ({error}): correct it first") from error


def _day(value: Any, where: str) -> date:
    """A day as YAML has it: in quotes or without."""
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError as error:
        raise FleetstreamError(f"{where}: operations.expires: {value!r} is no day such as 2026-12-31") from error


def _git(key: str) -> str | None:
    """What git knows of the user; None without git."""
    try:
        told = subprocess.run(["git", "config", key], cwd=project.ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return told.stdout.strip() or None
