"""The sweep: build every competitor, find each setting's recall, time all settings in interleaved rounds."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from nearfield.bench.adapters.base import Adapter, Competitor, Params, Shape
from nearfield.bench.datasets import Dataset
from nearfield.bench.ground_truth import recall_at_k
from nearfield.bench.machine import anonymous_bytes, available_bytes, load_average
from nearfield.bench.measure import Timing, batch_size, pilot_rate, time_batches, time_single_calls
from nearfield.bench.records import RecordWriter

SATURATED = 0.9995
"""Recall from which larger search parameters of a build are not tried any more."""

_MEMORY_FACTOR = 3
"""Free memory a build needs, in times the float32 rows: the library's copy, its graph, and slack."""
_BUILD_SHARE = 0.6
"""Share of a time budget after which only the first build of a competitor is started."""


_OVERRUN = 0.5
"""Cores beyond its limit that a library may use before it is mentioned."""


@dataclass(frozen=True)
class Plan:
    """How much to measure.

    Args:
        k: neighbours asked for.
        threads: threads of builds and of the threaded batches.
        repeats: interleaved rounds; reports use the median of them.
        slice_s: wall seconds of one timing.
        recall_queries: queries that recall is measured on, the same first ones for every setting.
        recall_s: wall seconds a recall measurement may take; slower settings (scans) use fewer queries.
        budget_s: wall seconds the sweep of one data set aims at, or None; the first round is always finished.
    """

    k: int = 10
    threads: int = 2
    repeats: int = 3
    slice_s: float = 0.4
    recall_queries: int = 4_000
    recall_s: float = 20.0
    budget_s: float | None = None
    quick: bool = False


class Reporter:
    """Receives what the sweep is doing; the command line draws it, tests ignore it."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def step(self, what: str) -> None:
        """One step was done."""

    def note(self, text: str) -> None:
        """Something the user should know."""


@dataclass(frozen=True)
class Built:
    """A competitor's index for one set of build parameters."""

    competitor: Competitor
    params: Params
    adapter: Adapter


@dataclass(frozen=True)
class Setting:
    """One search setting of one built index: what a point of a recall/speed plot stands for."""

    built: Built
    params: Params
    recall: float
    recall_queries: int
    rate: float


def sweep(
    dataset: Dataset, competitors: Sequence[Competitor], plan: Plan, writer: RecordWriter, reporter: Reporter
) -> None:
    """Measure all competitors on one data set; every measurement is written as it is taken."""
    start = time.monotonic()
    dataset = replace(
        dataset, base=np.array(dataset.base)
    )  # from here on in memory, as every library wants it
    shape = Shape(dataset.count, dataset.dimensions, plan.quick)
    usable = [c for c in competitors if dataset.metric in c.metrics]
    for skipped in (c for c in competitors if c not in usable):
        reporter.note(f"{skipped.name} has no {dataset.metric} metric, left out")
    built = _build_all(dataset, usable, shape, plan, writer, reporter, start)
    settings = _find_recalls(dataset, built, shape, plan, reporter)
    measurements = len(settings) * (3 if plan.threads > 1 else 2)
    slice_s = plan.slice_s
    if plan.budget_s is not None and measurements:
        left = plan.budget_s - (time.monotonic() - start)
        slice_s = min(slice_s, max(0.05, left / (measurements * plan.repeats)))
    _time_rounds(dataset, settings, replace(plan, slice_s=slice_s), writer, reporter, start)


def _build_all(
    dataset: Dataset,
    competitors: Sequence[Competitor],
    shape: Shape,
    plan: Plan,
    writer: RecordWriter,
    reporter: Reporter,
    start: float,
) -> list[Built]:
    first: list[tuple[Competitor, Params]] = []
    further: list[tuple[Competitor, Params]] = []
    for competitor in competitors:
        builds = competitor.builds(shape)
        first.append((competitor, builds[0]))
        further += [(competitor, params) for params in builds[1:]]
    built: list[Built] = []
    reporter.stage("building", len(first) + len(further))
    for index, (competitor, params) in enumerate(first + further):
        label = f"{competitor.name} {_text(params)}"
        spent = time.monotonic() - start
        if index >= len(first) and plan.budget_s is not None and spent > _BUILD_SHARE * plan.budget_s:
            reporter.note(f"{label}: not built, the time budget is nearly spent")
        elif available_bytes() < _MEMORY_FACTOR * 4 * dataset.base.size:
            reporter.note(f"{label}: not built, too little memory is free")
        else:
            built.append(_build(dataset, competitor, params, plan, writer))
        reporter.step(label)
    return built


def _build(
    dataset: Dataset, competitor: Competitor, params: Params, plan: Plan, writer: RecordWriter
) -> Built:
    adapter = competitor.make(params)
    before = anonymous_bytes()
    cpu, start = time.process_time(), time.perf_counter()
    adapter.fit(dataset.base, dataset.metric, plan.threads, dataset.training_queries)
    seconds = time.perf_counter() - start
    writer.write(
        "build",
        competitor=competitor.name,
        ours=competitor.ours,
        build=dict(params),
        threads=plan.threads,
        seconds=seconds,
        cpu_seconds=time.process_time() - cpu,
        bytes_reported=adapter.memory_bytes(),
        bytes_measured=max(anonymous_bytes() - before, 0),
        load=load_average(),
    )
    return Built(competitor, params, adapter)


def _find_recalls(
    dataset: Dataset, built: Sequence[Built], shape: Shape, plan: Plan, reporter: Reporter
) -> list[Setting]:
    grids = [(index, index.competitor.searches(shape, index.params)) for index in built]
    reporter.stage("recall", sum(len(grid) for _, grid in grids))
    settings: list[Setting] = []
    for index, grid in grids:
        saturated = False
        for params in grid:
            if not saturated:
                setting = _recall(dataset, index, params, plan)
                settings.append(setting)
                saturated = setting.recall >= SATURATED
            reporter.step(f"{index.competitor.name} {_text(index.params)} {_text(params)}")
    return settings


def _recall(dataset: Dataset, built: Built, params: Params, plan: Plan) -> Setting:
    adapter = built.adapter
    adapter.set_query_arguments(params, plan.threads)
    rate = pilot_rate(adapter, dataset.queries, plan.k)
    count = batch_size(rate, plan.recall_s, min(plan.recall_queries, len(dataset.queries)))
    found = np.asarray(adapter.batch_query(dataset.queries[:count], plan.k)).astype(np.int64)
    scores = None if dataset.truth_scores is None else dataset.truth_scores[:count]
    recall = recall_at_k(found, dataset.truth_ids[:count], scores, plan.k)
    return Setting(built, params, recall, count, rate / plan.threads)


def _time_rounds(
    dataset: Dataset,
    settings: Sequence[Setting],
    plan: Plan,
    writer: RecordWriter,
    reporter: Reporter,
    start: float,
) -> None:
    """Rounds over all settings by recall, so that what is compared is measured within moments (A B A B)."""
    modes: list[tuple[str, int]] = [("batch", 1), ("single", 1)]
    if plan.threads > 1:
        modes.insert(1, ("batch", plan.threads))
    order = sorted(settings, key=lambda setting: setting.recall)
    greedy: set[str] = set()
    reporter.stage("timing", len(order) * len(modes) * plan.repeats)
    for repeat, setting, (mode, threads) in itertools.product(range(plan.repeats), order, modes):
        late = plan.budget_s is not None and time.monotonic() - start > plan.budget_s
        if repeat > 0 and late:
            reporter.note(f"stopped in round {repeat + 1} of {plan.repeats}: the time budget is spent")
            return
        timing = _time(dataset, setting, mode, threads, plan)
        name = setting.built.competitor.name
        if timing.cores > threads + _OVERRUN and name not in greedy:
            greedy.add(name)
            reporter.note(f"{name} used {timing.cores:.1f} cores although limited to {threads}")
        writer.write(
            "search",
            competitor=name,
            ours=setting.built.competitor.ours,
            build=dict(setting.built.params),
            search=dict(setting.params),
            k=plan.k,
            mode=mode,
            threads=threads,
            repeat=repeat,
            recall=setting.recall,
            recall_queries=setting.recall_queries,
            load=load_average(),
            **asdict(timing),
        )
        reporter.step(f"{name} {_text(setting.params)}")


def _time(dataset: Dataset, setting: Setting, mode: str, threads: int, plan: Plan) -> Timing:
    adapter = setting.built.adapter
    adapter.set_query_arguments(setting.params, threads)
    count = batch_size(setting.rate, plan.slice_s, len(dataset.queries))
    timer: Callable[..., Timing] = time_single_calls if mode == "single" else time_batches
    return timer(adapter, dataset.queries[:count], plan.k, plan.slice_s)


def _text(params: Params) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items())
