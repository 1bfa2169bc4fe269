"""Whether two values of a property mean the same, what has to change between them, and in whose spelling they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from envs.sandbox.provider.codec import UNKNOWN, Archive, Asset
from envs.sandbox.provider.policy import same_document
from envs.sandbox.provider.schema import Kind, Property, join


@dataclass(frozen=True)
class Difference:
    """One property that differs, by its path (``rules[0].status``) and as a table names it (``rules.status``)."""

    path: str
    generic: str
    change: str
    """``add``, ``delete`` or ``update``."""
    old: Any
    new: Any
    inside: frozenset[str] = frozenset()
    """The generic paths of what comes or goes with it."""

    @property
    def name(self) -> str:
        """The input that it is or is part of."""
        return self.generic.partition(".")[0]


def differences(prop: Property, old: Any, new: Any, path: str, generic: str) -> Iterator[Difference]:
    """What has to change for `old` (what AWS has, plain) to become `new` (what the program says, plain)."""
    has: Any = old
    wants: Any = new
    if new is UNKNOWN:
        yield Difference(path, generic, "add" if _absent(old) else "update", old, new)
    elif (new is None and prop.computed) or (_zero(old) and _zero(new)) or _otherwise_same(prop, old, new):
        return
    elif _absent(new) or _absent(old):
        inside = frozenset(_inside(prop, old if _absent(new) else new, generic))
        yield Difference(path, generic, "delete" if _absent(new) else "add", old, new, inside)
    elif prop.kind is Kind.BLOCK:
        for name, inner in prop.fields.items():
            yield from differences(inner, has.get(name), wants.get(name), join(path, name), f"{generic}.{name}")
    elif prop.kind is Kind.MAP:
        for key in sorted(has.keys() | wants.keys()):
            if key not in has or key not in wants or has[key] != wants[key]:
                change = "add" if key not in has else "delete" if key not in wants else "update"
                yield Difference(join(path, key), generic, change, has.get(key), wants.get(key))
    elif prop.kind is Kind.LIST and prop.of:
        for at in range(max(len(has), len(wants))):
            one, other = (items[at] if at < len(items) else None for items in (has, wants))
            yield from differences(prop.of, one, other, f"{path}[{at}]", generic)
    elif prop.kind is Kind.SET and prop.of:
        yield from _set_differences(prop.of, has, wants, path, generic)
    elif not _same(prop, old, new):
        yield Difference(path, generic, "update", old, new)


def settle(prop: Property, actual: Any, prior: Any) -> Any:
    """`actual` (what AWS has) in the spelling and order of `prior`, wherever both mean the same."""
    if _zero(actual) and _zero(prior):
        # AWS tells empty lists and strings where nothing was given, and nothing where something empty was given.
        return actual if prior is None else prior
    if _absent(actual) or _absent(prior):
        return actual
    if _otherwise_same(prop, actual, prior):
        return prior
    match prop.kind:
        case Kind.BLOCK:
            names = dict.fromkeys((*actual, *prior))
            settled = {n: settle(prop.fields[n], actual.get(n), prior.get(n)) for n in names if n in prop.fields}
            return {name: item for name, item in settled.items() if item is not None}
        case Kind.LIST if prop.of:
            paired = [settle(prop.of, *pair) for pair in zip(actual, prior, strict=False)]
            return [*paired, *actual[len(prior) :]]
        case Kind.SET if prop.of:
            pairs, left, _ = _pair(prop.of, actual, prior)
            return [*(settle(prop.of, *pair) for pair in pairs), *left]
        case Kind.MAP:
            return {key: actual[key] for key in dict.fromkeys((*prior, *actual)) if key in actual}
    return prior if _same(prop, actual, prior) else actual


def sent_only(prop: Property, state: Any, sent: Any) -> Any:
    """`state` with what AWS never tells back, taken from what was `sent`."""
    if prop.write_only:
        return sent
    if prop.kind is Kind.BLOCK and isinstance(state, dict) and isinstance(sent, dict):
        kept = {name: sent_only(inner, state.get(name), sent.get(name)) for name, inner in prop.fields.items()}
        return {**state, **{name: item for name, item in kept.items() if item is not None}}
    return state


def planned(prop: Property, value: Any, known: Any) -> Any:
    """The value as it will be: what AWS chooses is as it is now (`known`), or unknown."""
    if value is None:
        return (UNKNOWN if known is None else known) if prop.computed else None
    if prop.kind is Kind.BLOCK and isinstance(value, dict):
        now = known if isinstance(known, dict) else {}
        inner = {name: planned(part, value.get(name), now.get(name)) for name, part in prop.fields.items()}
        return {name: item for name, item in inner.items() if item is not None}
    return value


def _inside(prop: Property, value: Any, generic: str) -> Iterator[str]:
    if prop.kind in (Kind.LIST, Kind.SET) and prop.of and isinstance(value, list):
        for item in value:
            yield from _inside(prop.of, item, generic)
    elif prop.kind is Kind.BLOCK and isinstance(value, dict):
        for name, inner in prop.fields.items():
            if not _zero(value.get(name)):
                yield f"{generic}.{name}"
                yield from _inside(inner, value[name], f"{generic}.{name}")


def _set_differences(of: Property, old: list[Any], new: list[Any], path: str, generic: str) -> Iterator[Difference]:
    _, removed, added = _pair(of, old, new)
    if removed or added:
        inside = frozenset(name for item in (*removed, *added) for name in _inside(of, item, generic))
        change = "update" if removed and added else "add" if added else "delete"
        yield Difference(path, generic, change, old, new, inside)


def _pair(of: Property, old: list[Any], new: list[Any]) -> tuple[list[tuple[Any, Any]], list[Any], list[Any]]:
    """The items that mean the same, in the order of `new`; then those left over in `old` and in `new`."""
    left, pairs, added = list(old), [], []
    for item in new:
        twin = next((at for at, other in enumerate(left) if not any(differences(of, other, item, "", ""))), None)
        if twin is None:
            added.append(item)
        else:
            pairs.append((left.pop(twin), item))
    return pairs, left, added


def _same(prop: Property, old: Any, new: Any) -> bool:
    if old == new:
        return True
    if prop.kind is Kind.DOCUMENT:
        return same_document(old, new)
    if prop.kind is Kind.ARCHIVE:
        return isinstance(old, (Asset, Archive)) and bool(new.hash) and old.hash == new.hash
    return False


def _otherwise_same(prop: Property, old: Any, new: Any) -> bool:
    return prop.same is not None and not _absent(old) and not _absent(new) and prop.same(old, new)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, dict)) and not value)


def _zero(value: Any) -> bool:
    """Whether a value says nothing: AWS does not tell unset from false, zero or empty."""
    if isinstance(value, dict):
        return all(_zero(item) for item in value.values())
    return not isinstance(value, (Asset, Archive)) and (value is not UNKNOWN) and not value
