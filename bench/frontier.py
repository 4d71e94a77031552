"""Recall against speed: the settings worth using, and the speed at a given recall."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

RECALLS = (0.90, 0.95, 0.99)
"""Recalls at which speeds are compared."""


@dataclass(frozen=True)
class Point:
    """One search setting of one build: its recall and queries per second.

    Args:
        latency_ms: p50, p95, p99 of single calls, where measured.
    """

    recall: float
    qps: float
    build: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    latency_ms: tuple[float, float, float] | None = None


def pareto(points: Iterable[Point]) -> list[Point]:
    """The points no other one beats in both recall and speed, by ascending recall."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.recall, -p.qps)):
        if not kept or (point.qps > kept[-1].qps and point.recall < kept[-1].recall):
            kept.append(point)
    return kept[::-1]


def at_recall(points: Iterable[Point], recall: float) -> float | None:
    """Queries per second at a recall, log-linear between the two frontier points around it.

    Below the frontier's lowest recall its fastest point is used (it gives at least that recall).
    None where the recall is never reached.
    """
    frontier = pareto(points)
    if not frontier or frontier[-1].recall < recall:
        return None
    if frontier[0].recall >= recall:
        return frontier[0].qps
    above = next(index for index, point in enumerate(frontier) if point.recall >= recall)
    low, high = frontier[above - 1], frontier[above]
    share = (recall - low.recall) / (high.recall - low.recall)
    return math.exp((1 - share) * math.log(low.qps) + share * math.log(high.qps))


def geometric_mean(values: Sequence[float]) -> float | None:
    """Geometric mean of positive numbers; None of none."""
    return math.exp(sum(math.log(value) for value in values) / len(values)) if values else None
