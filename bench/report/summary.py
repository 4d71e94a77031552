"""Records turned into what the reports show: one summary per data set."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearfield.bench.frontier import RECALLS, Point, at_recall, geometric_mean
from nearfield.bench.records import Record, latest_runs

BASELINE = "hnswlib"
"""Competitor that speeds are given relative to."""

Mode = tuple[str, int]
"""`batch` or `single`, and the threads."""


@dataclass(frozen=True)
class Build:
    """Cost of one build: wall seconds, and bytes the library reports and the process grew by."""

    competitor: str
    ours: bool
    params: dict[str, Any]
    seconds: float
    threads: int
    bytes_reported: int | None
    bytes_measured: int

    @property
    def label(self) -> str:
        """Competitor and its build parameters."""
        values = ", ".join(f"{name} {value}" for name, value in self.params.items())
        return f"{self.competitor} ({values})" if values else self.competitor


@dataclass
class DatasetSummary:
    """Everything measured on one data set in its newest run.

    Args:
        curves: per mode and competitor, all measured settings (medians over the repeats).
        ours: names of our competitors.
        cpu_share: CPU seconds per wall second of one-thread timings (median); below 1 where other processes
            took the cores. None without such timings.
    """

    dataset: dict[str, Any]
    machine: dict[str, Any]
    reproduce: str
    time: str
    k: int = 10
    repeats: int = 1
    cpu_share: float | None = None
    builds: list[Build] = field(default_factory=list)
    curves: dict[Mode, dict[str, list[Point]]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    imports: list[Record] = field(default_factory=list)
    http: list[Record] = field(default_factory=list)
    filters: list[Record] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The data set's name."""
        return str(self.dataset["name"])

    @property
    def competitors(self) -> list[str]:
        """All competitors, ours first."""
        names = {name for curves in self.curves.values() for name in curves} | {
            b.competitor for b in self.builds
        }
        return sorted(names, key=lambda name: (name not in self.ours, name))

    def qps_at(self, mode: Mode, competitor: str, recall: float) -> float | None:
        """Queries per second at a recall on the competitor's frontier; None where it is not reached."""
        return at_recall(self.curves.get(mode, {}).get(competitor, []), recall)

    def ratio(self, mode: Mode, competitor: str, recall: float) -> float | None:
        """Speed relative to the baseline's at the same recall."""
        mine, base = self.qps_at(mode, competitor, recall), self.qps_at(mode, BASELINE, recall)
        return None if mine is None or base is None else mine / base


def summarise(records: Sequence[Record]) -> list[DatasetSummary]:
    """One summary per data set, from the newest run on it; the order is that of first appearance."""
    grouped: dict[str, list[Record]] = defaultdict(list)
    for record in latest_runs(list(records)):
        grouped[record["dataset"]["name"]].append(record)
    return [_summarise_dataset(group) for group in grouped.values()]


def mean_ratios(summaries: Iterable[DatasetSummary], mode: Mode) -> dict[str, dict[float, float]]:
    """Geometric mean over data sets of the speed relative to the baseline, per competitor and recall.

    A competitor gets a figure for a recall only if it reaches it on every data set where the baseline does.
    """
    means: dict[str, dict[float, float]] = {}
    relevant = [summary for summary in summaries if BASELINE in summary.curves.get(mode, {})]
    for competitor in dict.fromkeys(name for summary in relevant for name in summary.competitors):
        for recall in RECALLS:
            wanted = [summary for summary in relevant if summary.qps_at(mode, BASELINE, recall) is not None]
            ratios = [summary.ratio(mode, competitor, recall) for summary in wanted]
            known = [ratio for ratio in ratios if ratio is not None]
            if known and len(known) == len(ratios) and (mean := geometric_mean(known)) is not None:
                means.setdefault(competitor, {})[recall] = mean
    return means


def _summarise_dataset(records: Sequence[Record]) -> DatasetSummary:
    last = records[-1]
    summary = DatasetSummary(last["dataset"], last["machine"], last.get("reproduce", ""), last["time"])
    searches: dict[Mode, dict[tuple[str, str], list[Record]]] = defaultdict(lambda: defaultdict(list))
    repeated: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        match record["type"]:
            case "build":
                summary.builds.append(_build(record))
            case "search":
                key = (record["competitor"], f"{record['build']} {record['search']}")
                searches[(record["mode"], record["threads"])][key].append(record)
                summary.k = record["k"]
                summary.repeats = max(summary.repeats, record["repeat"] + 1)
            case "import":
                summary.imports.append(record)
            case "http":
                repeated[("http", record["label"])].append(record)
            case "filter":
                repeated[("filter", f"{record['family']} {record['via']}")].append(record)
        if record.get("ours"):
            summary.ours.add(record["competitor"])
    if shares := [
        record["cores"] for record in records if record["type"] == "search" and record["threads"] == 1
    ]:
        summary.cpu_share = statistics.median(shares)
    for (kind, _), repeats in repeated.items():
        (summary.http if kind == "http" else summary.filters).append(_median_record(repeats))
    for mode, settings in searches.items():
        curves: dict[str, list[Point]] = defaultdict(list)
        for (competitor, _), repeats in settings.items():
            curves[competitor].append(_point(repeats))
        summary.curves[mode] = dict(curves)
    return summary


def _build(record: Mapping[str, Any]) -> Build:
    return Build(
        record["competitor"],
        record["ours"],
        record["build"],
        record["seconds"],
        record["threads"],
        record["bytes_reported"],
        record["bytes_measured"],
    )


def _point(repeats: Sequence[Record]) -> Point:
    """One setting: medians over its repeats."""
    first = repeats[0]
    latencies = [record["latency_ms"] for record in repeats if record["latency_ms"]]
    return Point(
        recall=first["recall"],
        qps=statistics.median(record["qps"] for record in repeats),
        build=first["build"],
        search=first["search"],
        latency_ms=_median_latencies(latencies) if latencies else None,
    )


def _median_record(repeats: Sequence[Record]) -> Record:
    """The first of the repeats with medians for its speed and latencies."""
    return {
        **repeats[0],
        "qps": statistics.median(record["qps"] for record in repeats),
        "latency_ms": _median_latencies([record["latency_ms"] for record in repeats]),
    }


def _median_latencies(latencies: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    p50, p95, p99 = (statistics.median(values) for values in zip(*latencies, strict=True))
    return p50, p95, p99
