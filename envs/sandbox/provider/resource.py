"""The one shape of every resource type, and what all types do alike: check, diff, create, read, update, delete."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ClientError

from envs.sandbox.provider import compare, schema
from envs.sandbox.provider.aws import Aws
from envs.sandbox.provider.codec import UNKNOWN, Secret, conceal, plain
from envs.sandbox.provider.compare import Difference
from envs.sandbox.provider.errors import AWS_ERRORS, NotReadyError, ProviderError, explain, is_code
from envs.sandbox.provider.schema import Failure, Property

Args = dict[str, Any]
"""Inputs or state of a resource by Pulumi's names, without wrappers."""

DEFAULTS: Final = "__defaults"
"""The input in which the official provider's bridge remembers which names it made up (`pkg/tfbridge/schema.go`)."""

_SUFFIX_DIGITS: Final = 7
_GONE_MINUTES: Final = 10.0


@dataclass(frozen=True)
class When:
    """A replacement that depends on the values: ``applies(old, new)``. `example` is a pair of values that does."""

    source: str
    applies: Callable[[Any, Any], bool]
    example: tuple[Any, Any]


@dataclass(frozen=True)
class AutoName:
    """The input that names a resource when the program does not: ``<resource name>-<7 hex digits>``."""

    property: str = "name"
    longest: int = 255
    prefix: str = ""
    lower: bool = False
    suffix: Callable[[Mapping[str, Any]], str] = lambda _: ""


@dataclass(frozen=True)
class Busy:
    """Refusals of a deletion that pass once something else is gone, and for how long it is tried again."""

    source: str
    """The file of hashicorp/terraform-provider-aws where that is written."""
    minutes: float
    codes: tuple[str, ...] = ("DependencyViolation",)


@dataclass(frozen=True)
class Tagging:
    """How tags are changed after creation: `add` and `remove` take the resource's id and state."""

    add: Callable[[Aws, str, Args, dict[str, str]], None]
    remove: Callable[[Aws, str, Args, list[str]], None]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource type: a declarative entry and four functions on boto3.

    `create` makes the thing and returns its id at once; `finish` does what comes after (attributes, waits) and may be
    repeated. `read` tells inputs and computed outputs as AWS has them, `tagsAll` included, or None when it is gone;
    an ``id`` in its answer replaces the one it was asked with (imports). `update` gets the names of the inputs that
    differ. What `delete` leaves behind by design is told by `remains`.
    """

    type_name: str
    inputs: Mapping[str, Property]
    outputs: tuple[str, ...]
    replaces: Mapping[str, str | When]
    """What forces a replacement -> the file of hashicorp/terraform-provider-aws where that is written."""
    create: Callable[[Aws, Args], str]
    read: Callable[[Aws, str, Args], Args | None]
    delete: Callable[[Aws, str, Args], None]
    busy: Busy | None = None
    update: Callable[[Aws, str, Args, Args, set[str]], None] | None = None
    finish: Callable[[Aws, str, Args], None] | None = None
    tagging: Tagging | None = None
    name: AutoName | None = None
    identity: tuple[str, ...] = ()
    """The inputs that together are the thing's name in AWS: two with the same cannot exist at once."""
    recomputed: tuple[str, ...] = ()
    """Outputs that an update changes."""
    recomputed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Outputs that an update changes only when one of these inputs differs."""
    regional: bool = True
    remains: bool = False

    @property
    def fields(self) -> dict[str, Property]:
        """All inputs, with those that every type has."""
        tags = {"tags": _TAGS, "tagsAll": _TAGS_ALL} if self.tagging else {}
        return {**self.inputs, **tags, **({"region": _REGION} if self.regional else {})}

    def check(
        self, aws: Aws, urn_name: str, seed: bytes, old: Mapping[str, Any], new: Mapping[str, Any]
    ) -> tuple[Args, list[Failure]]:
        """The inputs with names, defaults and default tags filled in (wrappers kept), and what is wrong with them."""
        failures: list[Failure] = []
        hint = f"To emulate it, add it to {self.type_name} in envs/sandbox/provider/."
        given = {name: value for name, value in new.items() if not name.startswith("__")}
        given.pop("tagsAll", None)
        named = self._named(urn_name, seed, old, given)
        checked = schema.check_fields(self.fields, {**given, **named}, "", failures, hint)
        if plain(checked.get("region", aws.region)) not in (aws.region, UNKNOWN):
            where = f"a region of its own is not emulated: this provider instance works in {aws.region}"
            failures.append(Failure("region", where))
        if self.tagging:
            merged = _merged(aws.default_tags, checked.get("tags"))
            if merged:
                checked["tagsAll"] = merged
        return {**checked, DEFAULTS: sorted(named)} if named else checked, failures

    def diff(self, state: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
        """What has to change in AWS (`state`, plain) for it to be what the program says (`new`, plain)."""
        found: list[Difference] = []
        for name, prop in self.fields.items():
            found += compare.differences(prop, state.get(name), new.get(name), name, name)
        return found

    def forces(self, difference: Difference) -> bool:
        """Whether this difference can only be made by replacing the resource."""
        rule = self.replaces.get(difference.generic)
        if isinstance(rule, When):
            return difference.new is UNKNOWN or rule.applies(difference.old, difference.new)
        inside = (self.replaces.get(path) for path in difference.inside)
        return rule is not None or any(isinstance(each, str) for each in inside)

    def delete_first(self, state: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        """Whether a replacement's name is taken until the old one is gone."""
        names = self.identity or ((self.name.property,) if self.name else ())
        known = all(new.get(name) is not UNKNOWN and state.get(name) == new.get(name) for name in names)
        made_up = self.name is not None and self.name.property in new.get(DEFAULTS, ())
        return bool(names) and known and not made_up

    def plan(self, new: Mapping[str, Any], state: Mapping[str, Any] | None, changed: set[str]) -> Args:
        """The state as it will be, as far as it is known before anything is done."""
        now = state or {}
        again = {*self.recomputed, *(n for n, causes in self.recomputed_by.items() if changed.intersection(causes))}
        now = {name: value for name, value in now.items() if name not in again}
        known = {name: compare.planned(prop, new.get(name), now.get(name)) for name, prop in self.fields.items()}
        computed = {name: now.get(name, UNKNOWN) for name in self.outputs}
        return {name: value for name, value in {**computed, **known}.items() if value is not None}

    def create_it(
        self, aws: Aws, new: Mapping[str, Any], made: Callable[[str], None] = lambda _: None
    ) -> tuple[str, Args]:
        """Makes the resource, and tells `made` its id as soon as it exists.

        Raises `NotReadyError` when it exists but could not be finished.
        """
        args = _clean(new)
        identifier = self.create(aws, args)
        made(identifier)
        return identifier, self._completed(aws, identifier, args, "was created but is not ready", self.finish)

    def update_it(self, aws: Aws, identifier: str, state: Mapping[str, Any], new: Mapping[str, Any]) -> Args:
        """Changes the resource, or finishes one that could not be finished before."""
        args, old = _clean(new), _clean(state)
        changed = {difference.name for difference in self.diff(state, new)}

        def apply(aws: Aws, identifier: str, args: Args) -> None:
            if self.tagging and "tagsAll" in changed:
                wanted, had = args.get("tagsAll") or {}, old.get("tagsAll") or {}
                if removed := [key for key in had if key not in wanted]:
                    self.tagging.remove(aws, identifier, old, removed)
                if added := {key: value for key, value in wanted.items() if had.get(key) != value}:
                    self.tagging.add(aws, identifier, old, added)
            rest = changed - {"tags", "tagsAll", "region"}
            if rest and self.update:
                self.update(aws, identifier, old, args, rest)
            elif not rest and not changed and self.finish:
                self.finish(aws, identifier, args)

        return self._completed(aws, identifier, args, "was changed in part only", apply)

    def delete_it(self, aws: Aws, identifier: str, state: Mapping[str, Any]) -> None:
        """Removes the resource and waits until it is gone."""
        args = _clean(state)
        if self.busy:
            self._delete_when_free(aws, identifier, args, self.busy)
        else:
            self.delete(aws, identifier, args)
        if not self.remains:
            gone = f"waiting until {identifier} is gone"
            aws.wait(gone, lambda: self.read(aws, identifier, args) is None, _GONE_MINUTES)

    def _delete_when_free(self, aws: Aws, identifier: str, args: Args, busy: Busy) -> None:
        refusals: list[ClientError] = []

        def is_done() -> bool:
            try:
                self.delete(aws, identifier, args)
            except ClientError as error:
                if not is_code(error, *busy.codes):
                    raise
                refusals.append(error)
                return False
            return True

        try:
            aws.wait(f"deleting {identifier}", is_done, busy.minutes)
        except ProviderError as error:
            raise ProviderError(f"{error}; {explain(refusals[-1])}") from error

    def state(self, aws: Aws, identifier: str, prior: Mapping[str, Any]) -> tuple[str, Args] | None:
        """The id and the state as AWS has them now, in the spelling of `prior`; None when the resource is gone."""
        sent = _clean(prior)
        actual = self.read(aws, identifier, sent)
        if actual is None:
            return None
        identifier = actual.pop("id", identifier)
        if self.regional:
            actual["region"] = aws.region
        if self.tagging:
            actual.update(_read_tags(aws, actual.pop("tagsAll", None) or {}, sent.get("tags") or {}))
        for name, prop in self.fields.items():
            told = compare.sent_only(prop, actual.get(name), sent.get(name))
            actual[name] = compare.settle(prop, told, sent.get(name))
        return identifier, {name: value for name, value in actual.items() if value is not None}

    def inputs_of(self, state: Mapping[str, Any], old: Mapping[str, Any] | None) -> Args:
        """The inputs that would make this state; `old` inputs (wrappers kept) are kept where they mean the same."""
        found: Args = {}
        for name, prop in self.fields.items():
            actual = state.get(name)
            if old is not None and name in old:
                same = not any(compare.differences(prop, actual, plain(old[name]), name, name))
                found[name] = old[name] if same else conceal(actual, old[name])
            elif (
                not prop.computed and not prop.write_only and any(compare.differences(prop, None, actual, name, name))
            ):
                found[name] = actual
        if old is not None and DEFAULTS in old:
            found[DEFAULTS] = old[DEFAULTS]
        return {name: value for name, value in found.items() if value is not None}

    def _completed(
        self, aws: Aws, identifier: str, args: Args, trouble: str, act: Callable[[Aws, str, Args], None] | None
    ) -> Args:
        try:
            if act:
                act(aws, identifier, args)
        except (*AWS_ERRORS, ProviderError) as error:
            left = self.state(aws, identifier, args)
            message = f"{identifier} {trouble}: {explain(error)}"
            raise NotReadyError(message, identifier, left[1] if left else {}) from error
        found = self.state(aws, identifier, args)
        if found is None:
            raise ProviderError(f"{identifier} is not there although AWS confirmed it")
        return found[1]

    def _named(self, urn_name: str, seed: bytes, old: Mapping[str, Any], given: Mapping[str, Any]) -> Args:
        auto = self.name
        if auto is None or plain(given.get(auto.property)) is not None:
            return {}
        if auto.property in plain(old.get(DEFAULTS, [])) and old.get(auto.property) is not None:
            return {auto.property: old[auto.property]}
        # The engine's seed is empty only in a preview of what will get its name later.
        tail = f"-{hashlib.sha256(seed).hexdigest()[:_SUFFIX_DIGITS]}{auto.suffix(plain(dict(given)))}"
        stem = f"{auto.prefix}{urn_name.lower() if auto.lower else urn_name}"[: auto.longest - len(tail)]
        return {auto.property: UNKNOWN if not seed else f"{stem}{tail}"}


_TAGS: Final = schema.mapping(schema.text())
_TAGS_ALL: Final = schema.mapping(schema.text())
_REGION: Final = schema.text(computed=True)


def _clean(values: Mapping[str, Any]) -> Args:
    return {name: value for name, value in values.items() if not name.startswith("__") and value is not None}


def _merged(defaults: Mapping[str, str], tags: Any) -> Any:
    inner = plain(tags)
    if inner is UNKNOWN or not isinstance(inner, dict | None):
        return inner if inner is UNKNOWN else None
    if isinstance(tags, dict):
        return {**defaults, **tags}
    return Secret({**defaults, **inner}) if inner is not None else dict(defaults)


def _read_tags(aws: Aws, told: Mapping[str, str], wanted: Mapping[str, str]) -> Args:
    """`tags` are what AWS has less the default tags, unless the program says those too."""
    own = {key: value for key, value in told.items() if not key.startswith("aws:")}
    tags = {key: value for key, value in own.items() if key in wanted or aws.default_tags.get(key) != value}
    return {"tagsAll": own, "tags": tags}
