"""What a preview means to a person: what would be lost, how the guardrails judge it, what it costs a month."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from envs import cost, plan
from envs.engine import Update

_GUARDRAILS: Final = "guardrails: "
"""How the program begins what its guardrails have to say when they are content."""
_SHOWN: Final = 15
"""Resources with a cost of their own in the table; the rest is one row."""


@dataclass(frozen=True)
class Findings:
    """What was found in a preview. ``estimate`` is None where there are no list prices of the region."""

    losses: tuple[plan.Loss, ...]
    guardrails: tuple[str, ...]
    estimate: cost.Estimate | None
    region: str


def examine(update: Update, region: str) -> Findings:
    """Looks through a preview that the engine finished; one with a violation fails before this."""
    changes = plan.changes(update.steps)
    prices = cost.load()
    return Findings(
        losses=tuple(plan.losses(changes, plan.stateful_types())),
        guardrails=tuple(note for note in update.notes if note.startswith((_GUARDRAILS, "waived until "))),
        estimate=cost.estimate(changes, prices) if region == prices.region else None,
        region=region,
    )


def as_json(found: Findings) -> dict[str, Any]:
    """The same for machines."""
    estimate = found.estimate
    costs = None
    if estimate is not None:
        sums = {"before": estimate.before, "after": estimate.after}
        costs = {**asdict(estimate), **sums, "checked": estimate.checked.isoformat()}
    return {
        "losses": [asdict(loss) for loss in found.losses],
        "guardrails": list(found.guardrails),
        "monthly_cost_usd": costs,
    }


def rendered(found: Findings) -> Iterator[Table | str]:
    """The same for a terminal: what cannot be undone first."""
    yield from _losses(found.losses)
    yield from (escape(note) for note in found.guardrails)
    if found.estimate is None:
        yield f"cost: not estimated, there are no list prices of {found.region} in envs/prices.yaml"
    else:
        yield from _costs(found.estimate)


def _losses(losses: tuple[plan.Loss, ...]) -> Iterator[Table | str]:
    if not losses:
        yield "data: nothing that keeps data is replaced or deleted"
        return
    table = Table("resource", "kind", "what happens", "what is lost", title="data at stake", title_justify="left")
    table.columns[0].overflow = "fold"
    for loss in losses:
        why = f", because of {', '.join(loss.causes)}" if loss.causes else ""
        guard = ", but it is protected: Pulumi will refuse" if loss.protected else ""
        table.add_row(escape(loss.name), loss.type, f"[red]{loss.how}[/red]{escape(why)}{guard}", loss.what)
    yield table


def _costs(estimate: cost.Estimate) -> Iterator[Table | str]:
    changed = [each for each in estimate.costs if each.before != each.after]
    shown, rest = changed[:_SHOWN], [*changed[_SHOWN:], *(each for each in estimate.costs if each not in changed)]
    yield f"cost a month in USD, list prices of {estimate.region} as of {estimate.checked}, on demand, before tax:"
    table = Table("resource", "kind", "before", "after", "change")
    table.columns[0].overflow = "fold"
    for column in table.columns[2:]:
        column.justify = "right"
    for each in shown:
        kind = each.type.rpartition(":")[2]
        table.add_row(escape(each.name), kind, _money(each.before), _money(each.after), f"{each.difference:+,.2f}")
    if rest:
        before, after = (sum(getattr(each, when) or 0 for each in rest) for when in ("before", "after"))
        name = f"the rest ({len(rest)})" if shown else f"all resources ({len(rest)})"
        table.add_row(name, "", _money(before), _money(after), f"{after - before:+,.2f}")
    total = estimate.after - estimate.before
    table.add_section()
    table.add_row("all", "", _money(estimate.before), _money(estimate.after), f"{total:+,.2f}")
    yield table
    if estimate.usage:
        yield "plus usage, of what is new or changes:"
        for use in estimate.usage:
            usd = f"{use.usd:.10f}".rstrip("0").rstrip(".")
            yield f"  {use.price}: {usd} USD per {use.unit} ({_names(use.resources)})"
    for kind, why, names in estimate.not_priced:
        yield escape(f"not priced: {kind}: {why} ({_names(names)})")
    if estimate.unverified:
        yield f"prices nobody has verified (see envs/prices.yaml): {', '.join(estimate.unverified)}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"
