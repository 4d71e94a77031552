"""Records turned into what the reports show: one summary per data set."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearfield.bench.adapters import BASELINE
from nearfield.bench.frontier import RECALLS, Point, at_recall, geometric_mean
from nearfield.bench.records import Record, latest_runs
from nearfield.bench.report.compared import (
    Churned,
    Projected,
    Rebuilt,
    build_label,
    churned,
    projected,
    rebuilt,
)
from nearfield.bench.report.filtered import FilterFamily, filter_family_summaries
from nearfield.bench.report.pace import Mode, paces

OUR_BEST = "best of ours"
PEER_BEST = "best of the peers"


@dataclass(frozen=True)
class Build:
    """Cost of one build.

    Args:
        seconds: wall time.
        peak_bytes: most memory of the building process beyond the rows it was given.
        held_bytes: what the library says it keeps in memory; None: it cannot say.
        mapped_bytes: full-precision rows it maps from disk.
        resident_bytes: what a process grew by when it opened the index and searched it.
        raw_bytes: the rows as float32.
    """

    competitor: str
    ours: bool
    params: dict[str, Any]
    seconds: float
    threads: int
    peak_bytes: int
    held_bytes: int | None
    mapped_bytes: int
    resident_bytes: int
    raw_bytes: int

    @property
    def label(self) -> str:
        """Competitor and its build parameters."""
        return build_label(self.competitor, self.params)


@dataclass
class DatasetSummary:
    """Everything measured on one data set in its newest run.

    Args:
        curves: per mode and competitor, all measured settings (medians over the repeats).
        ours: names of our competitors.
        paces: slowdown of the machine during each run, by which its speeds were corrected.
        rebuilt: builds that took turns.
        projected: what LeanVec's projection does.
        churned: what a collection finds whose points were replaced.
        filtered: filtered search of libraries, by family.
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
    paces: list[float] = field(default_factory=list)
    builds: list[Build] = field(default_factory=list)
    curves: dict[Mode, dict[str, list[Point]]] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    rebuilt: list[Rebuilt] = field(default_factory=list)
    projected: list[Projected] = field(default_factory=list)
    churned: list[Churned] = field(default_factory=list)
    imports: list[Record] = field(default_factory=list)
    http: list[Record] = field(default_factory=list)
    filters: list[Record] = field(default_factory=list)
    filtered: dict[str, FilterFamily] = field(default_factory=dict)

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

    @property
    def bests(self) -> list[str]:
        """Names that stand for the frontier of several competitors: all of ours, all of the peers."""
        peers = set(self.competitors) - self.ours
        return [OUR_BEST] * (len(self.ours) > 1) + [PEER_BEST] * (len(peers) > 1)

    def qps_at(self, mode: Mode, competitor: str, recall: float) -> float | None:
        """Queries per second at a recall on the competitor's frontier; None where it is not reached."""
        curves = self.curves.get(mode, {})
        if competitor == OUR_BEST:
            return at_recall([point for name in self.ours for point in curves.get(name, [])], recall)
        if competitor == PEER_BEST:
            return at_recall([p for name in curves if name not in self.ours for p in curves[name]], recall)
        return at_recall(curves.get(competitor, []), recall)

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
    names = (name for summary in relevant for name in [*summary.bests, *summary.competitors])
    for competitor in dict.fromkeys(names):
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
    pace = paces(records)
    summary.paces = list(pace.values())
    summary.filtered = filter_family_summaries([r for r in records if r["type"] == "filtered"])
    summary.rebuilt = rebuilt([r for r in records if r["type"] == "rebuild"])
    summary.projected = projected([r for r in records if r["type"] == "projection"])
    summary.churned = churned([r for r in records if r["type"] == "churn"])
    repeated: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        match record["type"]:
            case "build":
                summary.builds.append(_build(record))
            case "search" if not record["pacer"]:
                record = _at_pace(record, pace)
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
        record["peak_bytes"],
        record["bytes_reported"],
        record["bytes_mapped"],
        record["bytes_resident"],
        record["raw_bytes"],
    )


def _at_pace(record: Record, pace: Mapping[tuple[str, Mode], float]) -> Record:
    factor = pace.get((record["run"], (record["mode"], record["threads"])), 1.0)
    latencies = record["latency_ms"] and [value / factor for value in record["latency_ms"]]
    return {**record, "qps": record["qps"] * factor, "latency_ms": latencies}


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
