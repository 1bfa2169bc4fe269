"""Charts as HTML and inline SVG: the drawing stretches with the page while labels and line widths stay readable.

Colours, fonts and sizes are the page's style sheet's (classes ``s0``, ``s1``, ... for series), so a chart follows the
reader's light or dark preference.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from markupsafe import Markup

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A range of values, where each lies between 0 and 1, and the labelled ones."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    scale: Callable[[float], float] = field(default=lambda value: value)

    def place(self, value: float) -> float:
        """Where ``value`` lies: 0 at ``low``, 1 at ``high``; values outside are put on the edge."""
        low, high = self.scale(self.low), self.scale(self.high)
        inside = min(max(value, self.low), self.high)
        return (self.scale(inside) - low) / (high - low) if high > low else 0.5


def _steps(low: float, high: float, most: int) -> list[float]:
    """Round values from ``low`` to ``high``, at most about ``most``: multiples of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * number for number in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def linear(values: Iterable[float], label: Callable[[float], str], *, from_zero: bool = True, most: int = 4) -> Axis:
    """An axis with even steps; ``from_zero`` includes 0."""
    found = [*values, *([0.0] if from_zero else [])]
    low, high = min(found), max(found)
    if high == low:
        margin = abs(high) * 0.1 or 1.0
        low, high = (low if from_zero and low == 0 else low - margin), high + margin
    steps = _steps(low, high, most)
    if from_zero and steps[-1] < high:
        steps.append(steps[-1] + (steps[1] - steps[0] if len(steps) > 1 else high))
    high = max(high, steps[-1]) if from_zero else high
    return Axis(low, high, [(value, label(value)) for value in steps])


def logarithmic(values: Iterable[float], label: Callable[[float], str]) -> Axis:
    """An axis in powers of ten; values of 0 and below lie on its lower edge."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = floor(log10(min(positive))), ceil(log10(max(positive)))
    if high == low:
        high += 1
    # A value that rounds to nothing must not stretch the axis by decades.
    low = max(low, high - 6)
    stride = ceil((high - low) / 5)
    ticks = [(10.0**power, label(10.0**power)) for power in range(low, high + 1, stride)]
    return Axis(10.0**low, 10.0**high, ticks, log10)


def nines(last: float) -> Axis:
    """An axis of percentiles from 0 to ``last`` (below 100) that gives each further nine the same room."""

    def scale(percentile: float) -> float:
        return -log10(1 - percentile / 100)

    shown = [90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999]
    ticks = [(0.0, "0 %"), *((value, f"{value:.8g} %") for value in shown if scale(value) < 0.93 * scale(last))]
    return Axis(0.0, last, [*ticks, (last, "max")] if last > shown[0] else ticks, scale)


def clock(times: Sequence[float], most: int = 4) -> Axis:
    """An axis of time in seconds since the epoch, labelled by the time of day in UTC."""
    low, high = min(times), max(times)
    if high == low:
        return Axis(low - 1, high + 1, [(low, f"{datetime.fromtimestamp(low, UTC):%H:%M:%S}")])
    lengths = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
    span = high - low
    step = next((length for length in lengths if span / length <= most), 86400 * ceil(span / 86400 / most))
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
    ticks = [step * number for number in range(ceil(low / step), floor(high / step) + 1)]
    if step < 1:
        return Axis(low, high, [(at, f"{datetime.fromtimestamp(at, UTC):%M:%S.%f}"[:-5]) for at in ticks])
    return Axis(low, high, [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in ticks])


@dataclass(frozen=True)
class Series:
    """One line; ``name`` is for the legend, ``style`` its number in the style sheet."""

    name: str
    points: Sequence[Point]
    style: int = 0
    steps: bool = False


@dataclass(frozen=True)
class Limit:
    """A horizontal line across the chart: what was required."""

    value: float
    label: str


def _path(points: Iterable[Point], x: Axis, y: Axis, steps: bool = False) -> str:
    parts: list[str] = []
    for at, value in points:
        across, down = 1000 * x.place(at), 1000 * (1 - y.place(value))
        if parts and steps:
            parts.append(f"H{across:.1f}V{down:.1f}")
        else:
            parts.append(f"{'L' if parts else 'M'}{across:.1f} {down:.1f}")
    return "".join(parts)


def _drawing(content: list[str], kind: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(content)}</svg>"
    )


def _hover(notes: Sequence[tuple[float, str]], x: Axis) -> list[str]:
    """Invisible columns that show a note under the pointer, each reaching half-way to its neighbours."""
    places = [1000 * x.place(at) for at, _ in notes]
    edges = [0.0, *((left + right) / 2 for left, right in pairwise(places)), 1000.0]
    return [
        f'<rect class="hover" x="{left:.1f}" y="0" width="{right - left:.1f}" height="1000">'
        f"<title>{escape(note)}</title></rect>"
        for left, right, (_, note) in zip(edges[:-1], edges[1:], notes, strict=True)
    ]


def lines(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    label: str,
    limits: Sequence[Limit] = (),
    notes: Sequence[tuple[float, str]] = (),
    fill_first: bool = False,
) -> Markup:
    """A line chart with a legend; ``label`` says to a screen reader what is drawn, ``notes`` appear on hovering."""
    drawn = [f'<path class="grid" d="M0 {1000 * (1 - y.place(v)):.1f}H1000"/>' for v, _ in y.ticks]
    drawn += [f'<path class="grid" d="M{1000 * x.place(v):.1f} 0V1000"/>' for v, _ in x.ticks]
    shown = [limit for limit in limits if y.low < limit.value <= y.high]
    drawn += [f'<path class="limit" d="M0 {1000 * (1 - y.place(limit.value)):.1f}H1000"/>' for limit in shown]
    for number, one in enumerate(series):
        path = _path(one.points, x, y, one.steps)
        if fill_first and number == 0 and one.points:
            first, last = (1000 * x.place(one.points[index][0]) for index in (0, -1))
            drawn.append(f'<path class="area s{one.style}" d="{path}V1000H{first:.1f}Z"/>' if last > first else "")
        drawn.append(f'<path class="line s{one.style}" d="{path}"/>')
    drawn += _hover(notes, x)
    labels = [f'<span class="y" style="bottom:{100 * y.place(v):.2f}%">{escape(text)}</span>' for v, text in y.ticks]
    for value, text in x.ticks:
        place = x.place(value)
        edge = " first" if place < 0.04 else " last" if place > 0.96 else ""
        labels.append(f'<span class="x{edge}" style="left:{100 * place:.2f}%">{escape(text)}</span>')
    labels += [
        f'<span class="limit" style="bottom:{100 * y.place(limit.value):.2f}%">{escape(limit.label)}</span>'
        for limit in shown
    ]
    legend = "".join(f'<li class="s{one.style}">{escape(one.name)}</li>' for one in series)
    return Markup(  # noqa: S704 (every text in it is escaped above)
        f"{f'<ul class=legend>{legend}</ul>' if len(series) > 1 else ''}"
        f'<div class="plot" role="img" aria-label="{escape(label)}">{_drawing(drawn, "lines")}{"".join(labels)}</div>'
    )


def band(points: Sequence[tuple[float, float, float, float]], *, label: str) -> Markup:
    """A small chart without axes, of (at, mean, low, high): the mean as a line over the range."""
    x = Axis(points[0][0], points[-1][0], [])
    low, high = min(point[2] for point in points), max(point[3] for point in points)
    y = Axis(low, high, [])
    top = _path([(at, most) for at, _, _, most in points], x, y)
    bottom = _path([(at, least) for at, _, least, _ in reversed(points)], x, y).replace("M", "L", 1)
    middle = _path([(at, mean) for at, mean, _, _ in points], x, y)
    drawn = [f'<path class="area s0" d="{top}{bottom}Z"/>', f'<path class="line s0" d="{middle}"/>']
    return Markup(  # noqa: S704
        f'<div class="spark" role="img" aria-label="{escape(label)}">{_drawing(drawn, "lines")}</div>'
    )


def span(low: float, high: float, most: float, axis: Axis) -> Markup:
    """A bar from ``low`` to ``high`` and a mark at ``most`` on a common axis, for a cell of a table."""
    left, right, end = (100 * axis.place(value) for value in (low, high, most))
    return Markup(  # noqa: S704 (numbers only)
        f'<span class="span" aria-hidden="true"><i style="left:{left:.1f}%;width:{max(right - left, 0.8):.1f}%"></i>'
        f'<b style="left:{end:.1f}%"></b></span>'
    )
