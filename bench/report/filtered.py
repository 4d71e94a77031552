"""Filtered search of libraries: per filter family, how fast each was at enough recall."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from nearfield.bench.frontier import Point, at_recall
from nearfield.bench.records import Record

ENOUGH = 0.95
"""Recall at which filtered searches are compared."""


@dataclass(frozen=True)
class FilteredSpeed:
    """One competitor on one family.

    Args:
        single, batch: queries per second at recall ENOUGH, one query per call and one call per distinct
            filter; None where it is not reached.
        best_recall: of all settings.
        short_answers: with the setting of best recall, answers with fewer than min(k, matches) hits.
    """

    ours: bool
    single: float | None
    batch: float | None
    best_recall: float
    short_answers: int


@dataclass(frozen=True)
class FilterFamily:
    """One family of filters over all competitors."""

    selectivity: float
    queries: int
    filters: int
    speeds: dict[str, FilteredSpeed]

    def fastest(self, mode: str, *, ours: bool) -> str | None:
        """The fastest of ours or of the peers at recall ENOUGH; None where none reaches it."""
        reached = {n: getattr(s, mode) for n, s in self.speeds.items() if s.ours == ours}
        known = {name: speed for name, speed in reached.items() if speed is not None}
        return max(known, key=lambda name: known[name], default=None)

    def ratio(self, name: str, mode: str) -> float | None:
        """Speed relative to the fastest peer's; None where either does not reach the recall."""
        mine, peer = getattr(self.speeds[name], mode), self.fastest(mode, ours=False)
        return None if mine is None or peer is None else mine / getattr(self.speeds[peer], mode)


def filter_family_summaries(records: Sequence[Record]) -> dict[str, FilterFamily]:
    """By family, in the order measured; speeds are medians over the rounds."""
    newest = {record["family"]: record["run"] for record in records}
    grouped: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if newest[record["family"]] == record["run"]:
            grouped[record["family"]][record["competitor"]].append(record)
    return {family: _family(competitors) for family, competitors in grouped.items()}


def _family(competitors: dict[str, list[Record]]) -> FilterFamily:
    first = next(iter(competitors.values()))[0]
    speeds = {name: _speed(records) for name, records in competitors.items()}
    return FilterFamily(first["selectivity"], first["queries"], first["filters"], speeds)


def _speed(records: Sequence[Record]) -> FilteredSpeed:
    best = max(records, key=lambda record: record["recall"])
    return FilteredSpeed(
        best["ours"],
        at_recall(_points(records, "single"), ENOUGH),
        at_recall(_points(records, "batch"), ENOUGH),
        best["recall"],
        best["short_answers"],
    )


def _points(records: Sequence[Record], mode: str) -> list[Point]:
    rounds: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["mode"] == mode:
            rounds[f"{record['build']} {record['search']}"].append(record)
    return [
        Point(of_setting[0]["recall"], statistics.median(record["qps"] for record in of_setting))
        for of_setting in rounds.values()
    ]
