"""How figures are drawn: the recall axis, frontiers, labels at the ends of lines, bars."""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nearfield.bench.report.style import MUTED, PAPER, Look

Curve = Sequence[tuple[float, float]]
"""Recall and value, by ascending recall."""

_TICKS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_FEW_TICKS = (0.8, 0.9, 0.99, 0.999)
_LEFTMOST = 0.8
_ALL = 0.9998
_EXACT = 3.6
"""Where recalls from _ALL to 1 are drawn on the axis of nines (0.999 is 3)."""


def _nines(recall: float) -> float:
    """Recall on an axis where 0.9, 0.99 and 0.999 are equally far apart."""
    return _EXACT if recall >= _ALL else min(-math.log10(1 - recall), _EXACT - 0.06)


def left_edge(curves: Mapping[str, Curve]) -> float:
    """The tick at or below the lowest recall of any frontier, but never below _LEFTMOST."""
    lowest = min(point[0] for points in curves.values() for point in points)
    return max([tick for tick in _TICKS if tick <= max(lowest, _LEFTMOST)], default=_LEFTMOST)


def from_edge(points: Curve, edge: float) -> list[tuple[float, float]]:
    """The part of a frontier from the edge on, cut log-linearly where it crosses it."""
    shown = [point for point in points if point[0] >= edge]
    before = [point for point in points if point[0] < edge]
    if shown and before and shown[0][0] > edge:
        low, high = before[-1], shown[0]
        share = (_nines(edge) - _nines(low[0])) / (_nines(high[0]) - _nines(low[0]))
        value = math.exp((1 - share) * math.log(low[1]) + share * math.log(high[1]))
        shown.insert(0, (edge, value))
    return shown


def draw_curve(axes: Axes, points: Curve, look: Look) -> None:
    """A line with a marker at every setting."""
    axes.plot(
        [_nines(recall) for recall, _ in points],
        [value for _, value in points],
        color=look.colour,
        linestyle=look.dash,
        linewidth=look.width,
        marker=look.marker,
        markersize=(8.0 if len(points) == 1 else 5.5) - (0.0 if look.front else 0.6),
        markeredgecolor=PAPER,
        markeredgewidth=0.8 if look.front else 0.4,
        zorder=4 if look.front else 3,
        clip_on=False,
    )


def recall_axis(axes: Axes, edge: float, k: int, *, few: bool) -> None:
    """A horizontal axis from `edge` to 1; `few` ticks where there is little room."""
    ticks = [tick for tick in (_FEW_TICKS if few else _TICKS) if tick >= edge]
    axes.set_xlim(_nines(edge), _EXACT + 0.03)
    axes.set_xticks([_nines(tick) for tick in ticks] + [_EXACT], [f"{tick:g}" for tick in ticks] + ["1"])
    axes.set_xlabel(f"recall@{k}")


def value_axis(axes: Axes, label: str, value_text: Callable[[float], str]) -> None:
    """A logarithmic vertical axis."""
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: value_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major")
    axes.set_axisbelow(True)
    axes.margins(y=0.06)


def label_ends(axes: Axes, curves: Mapping[str, Curve], look: Mapping[str, Look], gap: float) -> None:
    """Names in the right margin, moved apart where they would touch, with thin leaders to the lines' ends."""
    to_axes = axes.transData + axes.transAxes.inverted()
    ordered = sorted(((name, points[-1]) for name, points in curves.items()), key=lambda item: item[1][1])
    ends = [(_nines(recall), value) for _, (recall, value) in ordered]
    heights = [float(to_axes.transform(end)[1]) for end in ends]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + gap)
    ceiling = 1.0
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    for height, end, (name, _) in zip(heights, ends, ordered, strict=True):
        axes.annotate(
            name,
            xy=end,
            xytext=(1.03, height),
            textcoords="axes fraction",
            color=look[name].colour,
            fontweight="bold" if look[name].front else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0.0, 0.5),
                "color": look[name].colour,
                "alpha": 0.45,
                "linewidth": 0.8,
                "shrinkA": 2,
                "shrinkB": 4,
            },
        )


def draw_bars(
    axes: Axes, names: Sequence[str], values: Sequence[float], colours: Sequence[str], texts: Sequence[str]
) -> None:
    """Horizontal bars with their values written beside them."""
    axes.barh(names, values, color=colours, height=0.62)
    axes.set_xlim(0, max(values) * 1.22 or 1)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    for position, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.annotate(
            text, (value, position), xytext=(5, 0), textcoords="offset points", va="center", color=MUTED
        )
