"""A drill's timeline as lanes: one for each node, coloured by its status, with what the drill did above them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markupsafe import Markup

from analytics import charts, figures

Json = Mapping[str, Any]

_CLASSES = {"Up": "up", "Enabling": "moving", "Disabling": "moving", "Disabled": "out", "Down": "down"}
LEGEND = (("up", "Up"), ("moving", "on its way in or out"), ("out", "Disabled"), ("down", "Down, Invalid or Unknown"))
GONE = "gone"


@dataclass(frozen=True)
class _Span:
    begin: float
    end: float
    status: str

    @property
    def kind(self) -> str:
        return _CLASSES.get(self.status.partition(" ")[0], "down")


def lanes(events: Sequence[Json], seconds: float) -> Markup | None:
    """The drawing; None for a timeline without a node."""
    nodes = _spans(events, seconds)
    if not nodes:
        return None
    axis = charts.linear([0, seconds], lambda value: f"{value:g} s", most=8)
    total = axis.high or 1.0
    rows = [_row(name, spans, total) for name, spans in sorted(nodes.items(), key=lambda item: _order(item[0]))]
    acts = "".join(
        f'<i class="{event["kind"]}" style="left:{_percent(event["at"], total)}" '
        f'title="{event["at"]:.1f} s: {escape(event["text"])}"></i>'
        for event in events
        if event["kind"] in ("act", "broken")
    )
    ticks = "".join(f'<i style="left:{_percent(at, total)}">{escape(label)}</i>' for at, label in axis.ticks)
    head = f'<div class="lane acts"><b>the drill</b><span>{acts}</span></div>'
    foot = f'<div class="lane scale"><b></b><span>{ticks}</span></div>'
    return Markup(f'<div class="lanes" role="img" aria-label="{_told(nodes)}">{head}{"".join(rows)}{foot}</div>')  # noqa: S704 - made of escaped parts


def _spans(events: Sequence[Json], seconds: float) -> dict[str, list[_Span]]:
    """From when to when each node had which status; nothing after it is gone."""
    found: dict[str, list[_Span]] = {}
    open_ones: dict[str, tuple[float, str]] = {}
    for event in events:
        if event["kind"] != "status":
            continue
        name = event["subject"]
        spans = found.setdefault(name, [])
        if (before := open_ones.pop(name, None)) is not None:
            spans.append(_Span(before[0], event["at"], before[1]))
        if event["text"] != GONE:
            open_ones[name] = (event["at"], event["text"])
    for name, (begin, status) in open_ones.items():
        found[name].append(_Span(begin, max(seconds, begin), status))
    return found


def _row(name: str, spans: Sequence[_Span], total: float) -> str:
    bars = "".join(
        f'<i class="{span.kind}" style="left:{_percent(span.begin, total)};'
        f'width:{_percent(span.end - span.begin, total)}" '
        f'title="{escape(span.status)}: {span.begin:.1f} s to {span.end:.1f} s"></i>'
        for span in spans
    )
    return f'<div class="lane"><b>{escape(name)}</b><span>{bars}</span></div>'


def _percent(value: float, total: float) -> str:
    return f"{100 * value / total:.3f}%"


def _order(name: str) -> tuple[bool, list[Any]]:
    """Seeds first; numbers by their value."""
    parts = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    return not name.startswith("seed"), [str(type(part)) + str(part).zfill(12) for part in parts]


def _told(nodes: Mapping[str, Sequence[_Span]]) -> str:
    return escape("; ".join(f"{name}: {', '.join(span.status for span in spans)}" for name, spans in nodes.items()))


def figures_of(drill: Json) -> list[tuple[str, str]]:
    """A drill's figures as rows: what, and how much."""
    return [(figures.title(name), _figure(value)) for name, value in _flat(drill.get("figures") or {}).items()]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= (
            {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {name: value}
        )
    return found


def _figure(value: Any) -> str:
    if isinstance(value, int):
        return figures.count(value)
    return f"{value:.1f}" if isinstance(value, float) else figures.MISSING if value is None else str(value)
