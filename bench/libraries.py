"""Measures libraries on one data set: each library in processes of its own, paced by the baseline, resumable.

A library's indexes are built one by one, each in a fresh process, and saved. Then one process opens all of
them and times their settings in interleaved rounds, together with a few settings of the baseline: from these,
reports know how fast the machine was at that time, and can compare libraries measured at different times.
Ours and the baseline share a process, and their builds take turns: comparing them needs no correction.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nearfield.bench.adapters import BASELINE, installed_peers
from nearfield.bench.adapters.base import Competitor, Params, Shape
from nearfield.bench.adapters.nearfield import PREFIX, our_competitors
from nearfield.bench.builds import Cached, cached
from nearfield.bench.datasets import Dataset
from nearfield.bench.frontier import RECALLS, Point, pareto
from nearfield.bench.harness import Pacer, Reporter, sweep
from nearfield.bench.isolate import isolated
from nearfield.bench.job import Job
from nearfield.bench.machine import available_bytes
from nearfield.bench.records import RESULTS, latest_runs, read_records

INDEXES = "indexes"
"""Folder of the results folder that holds built indexes while they are needed."""

OURS = "nearfield"
"""Name of the group of our indexes, which has the baseline in it where that is measured too."""

_MEMORY_FACTOR = 3
"""Free memory a build needs, in times the float32 rows: the library's copy, its graph, and slack."""


def measure_libraries(job: Job, competitors: Sequence[Competitor], reporter: Reporter) -> None:
    """Build and sweep all competitors, library by library, the baseline first."""
    dataset = job.source.load(truth=False)
    if dataset.generated:
        reporter.note("these vectors are generated, not real data")
    supported: list[Competitor] = []
    for competitor in competitors:
        if dataset.metric in competitor.metrics:
            supported.append(competitor)
        else:
            reporter.note(f"{competitor.name} has no {dataset.metric} metric, left out")
    baseline = [competitor for competitor in supported if competitor.name == BASELINE]
    for library, group in library_groups(supported).items():
        if job.resume and measured_already(job, signature(job, dataset, group), library):
            reporter.note(f"{library}: measured already")
            continue
        indexes = build_missing(job, dataset, group, reporter, reuse=job.resume)
        if not _has_baseline(group):
            build_missing(job, dataset, baseline, reporter, reuse=True)
        isolated(sweep_library, job, library, [c.name for c in group], reporter=reporter)
        if not job.resume:
            _remove([index for index in indexes if index.competitor.name != BASELINE])
    if not job.resume:
        _remove(cached_indexes(job, dataset, baseline))


def library_groups(competitors: Sequence[Competitor]) -> dict[str, list[Competitor]]:
    """By name of the group, those that are timed in one process; that of the baseline comes first."""
    ours = any(competitor.ours for competitor in competitors)
    groups: dict[str, list[Competitor]] = defaultdict(list)
    for competitor in sorted(competitors, key=lambda c: (c.name != BASELINE, not c.ours)):
        beside_ours = competitor.ours or (ours and competitor.name == BASELINE)
        groups[OURS if beside_ours else competitor.distribution].append(competitor)
    return dict(groups)


def _has_baseline(group: Sequence[Competitor]) -> bool:
    return any(competitor.name == BASELINE for competitor in group)


def build_index_alone(job: Job, competitor: str, params: Params, reporter: Reporter) -> None:
    """Build one index and leave it in the cache."""
    dataset = job.source.load(truth=False)
    _cached(job, dataset, competitor_named(competitor), params).build(dataset, job.plan.threads)


def sweep_library(job: Job, library: str, names: Sequence[str], reporter: Reporter) -> None:
    """Time the built indexes of one library, beside a few settings of the baseline."""
    dataset = job.source.load()
    group = [competitor_named(name) for name in names]
    indexes = [index for index in cached_indexes(job, dataset, group) if index.facts() is not None]
    if not indexes:
        reporter.note(f"{library}: no index could be built, nothing measured")
        return
    pacers = [] if _has_baseline(group) else _pacers(job, dataset)
    with job.writer(dataset, library=library) as writer:
        sweep(dataset, indexes, pacers, job.plan, writer, reporter)
        writer.write("done", signature=signature(job, dataset, group))


def build_missing(
    job: Job, dataset: Dataset, group: Sequence[Competitor], reporter: Reporter, *, reuse: bool
) -> list[Cached]:
    """The indexes of some competitors, built one by one; with `reuse` only those not in the cache."""
    indexes = in_turn(cached_indexes(job, dataset, group))
    missing = [index for index in indexes if not reuse or index.facts() is None]
    if missing:
        reporter.stage(f"building {group[0].distribution}", len(missing))
    for index in missing:
        if available_bytes() < _MEMORY_FACTOR * 4 * dataset.base.size:
            reporter.note(f"{index.folder.name}: not built, too little memory is free")
        else:
            isolated(build_index_alone, job, index.competitor.name, index.params, reporter=reporter)
        reporter.step(index.folder.name)
    return indexes


def in_turn(indexes: Sequence[Cached]) -> list[Cached]:
    """The baseline's and the others alternating, so that a slow minute of the machine meets both."""
    of_baseline = [index for index in indexes if index.competitor.name == BASELINE]
    others = [index for index in indexes if index.competitor.name != BASELINE]
    return [
        index for pair in itertools.zip_longest(of_baseline, others) for index in pair if index is not None
    ]


def _remove(indexes: Sequence[Cached]) -> None:
    for index in indexes:
        index.remove()


def cached_indexes(job: Job, dataset: Dataset, group: Sequence[Competitor]) -> list[Cached]:
    """Where the indexes of some competitors lie, built or not."""
    shape = Shape(dataset.count, dataset.dimensions, job.plan.quick)
    return [
        _cached(job, dataset, competitor, params)
        for competitor in group
        for params in competitor.builds(shape)
    ]


def _cached(job: Job, dataset: Dataset, competitor: Competitor, params: Params) -> Cached:
    return cached(
        job.out / INDEXES,
        dataset,
        competitor,
        params,
        _version(job, competitor.distribution, competitor.ours),
    )


def _version(job: Job, library: str, ours: bool) -> str:
    machine = job.common["machine"]
    version = str(machine["versions"].get(library, ""))
    return f"{version} {machine['commit']}" if ours else version


def signature(job: Job, dataset: Dataset, group: Sequence[Competitor]) -> dict[str, Any]:
    """What makes two measurements of the same competitors on a data set the same measurement."""
    machine = job.common["machine"]
    shape = Shape(dataset.count, dataset.dimensions, job.plan.quick)
    return {
        "dataset": dataset.describe(),
        "plan": asdict(job.plan),
        "version": {c.distribution: _version(job, c.distribution, c.ours) for c in group},
        "machine": [machine["cpu"], machine["isa"], machine["cores"]],
        "builds": {competitor.name: competitor.builds(shape) for competitor in group},
    }


def measured_already(job: Job, measurement: Mapping[str, Any], library: str) -> bool:
    """Whether the results have a finished measurement of this signature and name."""
    return any(
        record["type"] == "done" and (record["library"], record["signature"]) == (library, measurement)
        for record in read_records(job.out / RESULTS)
    )


def _pacers(job: Job, dataset: Dataset) -> list[Pacer]:
    """Settings on the baseline's frontier, near each of the recalls at which speeds are compared."""
    timed = [
        Point(record["recall"], record["qps"], record["build"], record["search"])
        for record in latest_runs(read_records(job.out / RESULTS))
        if record["type"] == "search"
        and record["dataset"]["name"] == dataset.name
        and (record["competitor"], record["mode"], record["threads"]) == (BASELINE, "batch", 1)
        and not record["pacer"]
    ]
    frontier = pareto(timed)
    nearest = [min(frontier, key=lambda p: abs(p.recall - recall)) for recall in RECALLS if frontier]
    chosen = {f"{point.build} {point.search}": point for point in nearest}
    baseline = competitor_named(BASELINE) if chosen else None
    return [
        Pacer(_cached(job, dataset, baseline, point.build), point.search, point.recall)
        for point in chosen.values()
        if baseline is not None
    ]


def competitor_named(name: str) -> Competitor:
    """One of ours or of the installed peers."""
    if name.startswith(PREFIX):
        return our_competitors([name.removeprefix(PREFIX)])[0]
    return installed_peers([name])[0]
