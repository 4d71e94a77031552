"""A few indexes compared on one question: builds in turn, what a projection learns from, what churn does."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nearfield.bench.adapters import BASELINE
from nearfield.bench.records import Record


@dataclass(frozen=True)
class Rebuilt:
    """Builds of one index in rounds that took turns with the others.

    Args:
        seconds: wall time, median of the rounds.
        peak_bytes: most memory beyond the rows it was given, median.
        raw_bytes: the rows as float32.
        times_baseline: seconds relative to the baseline's slowest build here; None without one.
    """

    competitor: str
    ours: bool
    params: dict[str, Any]
    rounds: int
    threads: int
    seconds: float
    peak_bytes: int
    raw_bytes: int
    times_baseline: float | None

    @property
    def label(self) -> str:
        """Competitor and its build parameters."""
        return build_label(self.competitor, self.params)


def build_label(competitor: str, params: dict[str, Any]) -> str:
    """How a build is named to people."""
    values = ", ".join(f"{name} {value}" for name, value in params.items())
    return f"{competitor} ({values})" if values else competitor


def rebuilt(records: Sequence[Record]) -> list[Rebuilt]:
    """From records of type `rebuild`, ours first."""
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        grouped[build_label(record["competitor"], record["build"])].append(record)
    seconds = {label: statistics.median(r["seconds"] for r in group) for label, group in grouped.items()}
    base = max(
        (seconds[label] for label, g in grouped.items() if g[0]["competitor"] == BASELINE), default=None
    )
    return [
        Rebuilt(
            group[0]["competitor"],
            group[0]["ours"],
            group[0]["build"],
            len(group),
            group[0]["threads"],
            seconds[label],
            round(statistics.median(record["peak_bytes"] for record in group)),
            group[0]["raw_bytes"],
            None if base is None else seconds[label] / base,
        )
        for label, group in sorted(grouped.items(), key=lambda item: (not item[1][0]["ours"], item[0]))
    ]


@dataclass(frozen=True)
class Projected:
    """What one index gave at one width of the search, in the scenario `projections`.

    Args:
        learned_from: `queries`, `rows`, or `none`: codes of all dimensions.
        dimensions: of the codes a search reads.
    """

    kind: str
    learned_from: str
    dimensions: int
    ef: int
    k: int
    recall: float
    qps: float

    @property
    def label(self) -> str:
        """What was searched: the kind, its dimensions, and what these were learned from."""
        learned = {"queries": " from rows and queries", "rows": " from rows", "none": ""}
        return f"{self.kind} {self.dimensions}{learned[self.learned_from]}"


def projected(records: Sequence[Record]) -> list[Projected]:
    """From records of type `projection`: by index, then by width."""
    found = [
        Projected(
            record["index_kind"],
            record["learned_from"],
            record["reduced_dimensions"],
            record["ef"],
            record["k"],
            record["recall"],
            record["qps"],
        )
        for record in records
    ]
    return sorted(found, key=lambda each: (-each.dimensions, each.kind, each.learned_from, each.ef))


@dataclass(frozen=True)
class Churned:
    """What a collection found after a churn, or an index built anew, in the scenario `churn`.

    Args:
        index: which of the two.
        points: that live at any time.
        replaced: share of them in each round.
        recall: by `ef`.
        unfound: points not among those nearest to their own vector that a search with `own_ef` found.
    """

    index: str
    points: int
    rounds: int
    replaced: float
    k: int
    recall: dict[int, float]
    unfound: int
    own_ef: int

    @property
    def about(self) -> str:
        """What was done, and how points were searched for."""
        return (
            f"{self.points:,} points, of which {self.replaced:.0%} were replaced {self.rounds} times; "
            f"not found: by their own vector, ef {self.own_ef}"
        )


def churned(records: Sequence[Record]) -> list[Churned]:
    """From records of type `churn`: by index, in the order they were measured in."""
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        grouped[record["index"]].append(record)
    return [
        Churned(
            index,
            group[0]["points"],
            group[0]["rounds"],
            group[0]["replaced"],
            group[0]["k"],
            {record["ef"]: record["recall"] for record in group},
            group[0]["unfound"],
            group[0]["own_ef"],
        )
        for index, group in grouped.items()
    ]
