"""Figures: recall against speed and latency, build time and memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nearfield.bench.frontier import Point, pareto
from nearfield.bench.report.axes import (
    Curve,
    draw_bars,
    draw_curve,
    from_edge,
    label_ends,
    left_edge,
    recall_axis,
    value_axis,
)
from nearfield.bench.report.pace import Mode
from nearfield.bench.report.style import GRID, INK, MUTED, PAPER, bytes_text, looks, seconds_text
from nearfield.bench.report.summary import DatasetSummary

_FONTS = ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"]
_LABEL_GAP = 0.058
"""Least vertical distance of two direct labels, as a share of the axis height of a full-size figure."""
_PNG_DPI = 160
WIDE_INCHES = 9.6
"""Width of a figure that takes the whole page."""


def recall_speed(summary: DatasetSummary, mode: Mode, *, wide: bool = True) -> Figure | None:
    """Queries per second over recall, frontiers only; None when nothing was measured in this mode."""
    curves = {
        name: [(point.recall, point.qps) for point in pareto(points)]
        for name, points in summary.curves.get(mode, {}).items()
    }
    return _curves(summary, curves, "queries per second", _axis_rate, wide) if curves else None


def recall_latency(summary: DatasetSummary, *, wide: bool = True) -> Figure | None:
    """99th percentile of single calls over recall, frontiers only; None without single calls."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, points in summary.curves.get(("single", 1), {}).items():
        timed = [Point(p.recall, 1 / p.latency_ms[2]) for p in points if p.latency_ms is not None]
        curves[name] = [(point.recall, 1 / point.qps) for point in pareto(timed)]
    return (
        _curves(summary, curves, "p99 of single calls, ms", lambda value: f"{value:g}", wide)
        if curves
        else None
    )


def build_costs(summary: DatasetSummary) -> Figure | None:
    """Horizontal bars of build seconds and resident bytes; None without builds."""
    builds = sorted(
        summary.builds, key=lambda build: (build.competitor not in summary.ours, build.label), reverse=True
    )
    if not builds:
        return None
    look = looks(summary.competitors, summary.ours)
    with mpl.rc_context(plot_settings()):
        figure = Figure(figsize=(WIDE_INCHES, 0.9 + 0.34 * len(builds)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        names = [build.label for build in builds]
        colours = [look[build.competitor].colour for build in builds]
        seconds = [build.seconds for build in builds]
        sizes = [float(build.held_bytes or build.resident_bytes) for build in builds]
        draw_bars(left, names, seconds, colours, [seconds_text(value) for value in seconds])
        draw_bars(right, names, sizes, colours, [bytes_text(value) for value in sizes])
        left.set_title(f"build time, {builds[0].threads} threads", loc="left")
        right.set_title("index in memory", loc="left")
        for tick, build in zip(left.get_yticklabels(), builds, strict=True):
            tick.set_color(INK if build.ours else MUTED)
    return figure


def save_figure(figure: Figure, path: Path, title: str, note: str) -> None:
    """Write the figure as PNG and SVG, with a title and a note above it, for use outside the page.

    Args:
        path: without a suffix.
    """
    with mpl.rc_context({**plot_settings(), "svg.fonttype": "none", "svg.hashsalt": path.name}):
        FigureCanvasAgg(figure)
        rise = 0.3 / figure.get_figheight()
        figure.text(0.0, 1 + 1.35 * rise, title, fontsize=13, fontweight="bold", va="bottom")
        figure.text(0.0, 1 + 0.6 * rise, note, fontsize=10, color=MUTED, va="bottom")
        around: dict[str, Any] = {"facecolor": PAPER, "bbox_inches": "tight", "pad_inches": 0.3}
        figure.savefig(path.with_name(f"{path.name}.png"), dpi=_PNG_DPI, **around)
        figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None, "Creator": None}, **around)


def _axis_rate(value: float) -> str:
    return f"{value / 1000:g} k" if value >= 1000 else f"{value:g}"


def plot_settings() -> dict[Any, Any]:
    """matplotlib settings of every figure."""
    return {
        "font.family": "sans-serif",
        "font.sans-serif": _FONTS,
        "font.size": 10.5,
        "text.color": INK,
        "axes.edgecolor": GRID,
        "axes.labelcolor": MUTED,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "lines.solid_capstyle": "round",
        "lines.dash_capstyle": "round",
    }


def _curves(
    summary: DatasetSummary,
    curves: Mapping[str, Curve],
    label: str,
    value_text: Callable[[float], str],
    wide: bool,
) -> Figure:
    look = looks(summary.competitors, summary.ours)
    edge = left_edge(curves)
    shown = {name: part for name, points in curves.items() if (part := from_edge(points, edge))}
    with mpl.rc_context(plot_settings()):
        figure = Figure(figsize=(WIDE_INCHES, 5.2) if wide else (4.8, 4.2))
        axes = figure.add_axes((0.075, 0.11, 0.745, 0.87) if wide else (0.145, 0.135, 0.525, 0.845))
        value_axis(axes, label, value_text)
        for name, points in shown.items():
            draw_curve(axes, points, look[name])
        recall_axis(axes, edge, summary.k, few=not wide)
        label_ends(axes, shown, look, _LABEL_GAP if wide else _LABEL_GAP * 5.2 / 4.2)
    return figure
