"""The sweep: find each setting's recall, keep those worth timing, time them in interleaved rounds."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nearfield.bench.adapters.base import Adapter, Params, Shape
from nearfield.bench.builds import Cached
from nearfield.bench.datasets import Dataset
from nearfield.bench.ground_truth import recall_at_k
from nearfield.bench.machine import load_average, resident_bytes
from nearfield.bench.measure import Timing, batch_size, pilot_rate, time_batches, time_single_calls
from nearfield.bench.records import RecordWriter

SATURATED = 0.9995
"""Recall from which larger search parameters of a build are not tried any more."""

_LOWEST = 0.85
"""Settings of less recall are timed only where a frontier needs one to start from."""
_BEATEN = 1.4
"""A setting is not timed if another of at least its recall is this many times as fast in the first trial."""
_STEP = 0.1
"""Width on the scale -log10(1 - recall) in which only the fastest setting of a competitor is timed."""
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
    """

    k: int = 10
    threads: int = 2
    repeats: int = 3
    slice_s: float = 0.15
    recall_queries: int = 2_000
    recall_s: float = 3.0
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
class Setting:
    """One search setting of one opened index: what a point of a recall/speed plot stands for.

    Args:
        rate: queries per second of one thread in the first trial.
        pacer: whether it is of the baseline and only tells how fast the machine is at the moment.
    """

    index: Cached
    adapter: Adapter
    params: Params
    recall: float
    recall_queries: int
    rate: float
    pacer: bool = False


@dataclass(frozen=True)
class Pacer:
    """A setting of the baseline that was timed before, to be timed again beside others."""

    index: Cached
    params: Params
    recall: float


def sweep(
    dataset: Dataset,
    indexes: Sequence[Cached],
    pacers: Sequence[Pacer],
    plan: Plan,
    writer: RecordWriter,
    reporter: Reporter,
) -> None:
    """Measure built indexes on one data set; every measurement is written as it is taken."""
    shape = Shape(dataset.count, dataset.dimensions, plan.quick)
    settings: list[Setting] = []
    reporter.stage("recall", len(indexes))
    for index in indexes:
        settings += _opened(dataset, index, shape, plan, writer)
        reporter.step(index.folder.name)
    chosen = worth_timing(settings)
    adapters: dict[str, Adapter] = {}
    for pacer in pacers:
        name = pacer.index.folder.name
        if name not in adapters:
            adapters[name] = pacer.index.open(dataset)
        trial = _trial(dataset, pacer.index, adapters[name], pacer.params, plan)
        chosen.append(Setting(**{**vars(trial), "pacer": True}))
    _time_rounds(dataset, chosen, plan, writer, reporter)


def _opened(dataset: Dataset, index: Cached, shape: Shape, plan: Plan, writer: RecordWriter) -> list[Setting]:
    """Open an index, try its search settings, and record what the build cost and what it keeps in memory."""
    before = resident_bytes()
    adapter = index.open(dataset)
    settings: list[Setting] = []
    for params in index.competitor.searches(shape, index.params):
        settings.append(_trial(dataset, index, adapter, params, plan))
        if settings[-1].recall >= SATURATED:
            break
    held, mapped = adapter.memory_bytes()
    writer.write(
        "build",
        **(index.facts() or {}),
        bytes_reported=held,
        bytes_mapped=mapped,
        bytes_resident=max(resident_bytes() - before, 0),
        raw_bytes=4 * dataset.base.size,
    )
    return settings


def _trial(dataset: Dataset, index: Cached, adapter: Adapter, params: Params, plan: Plan) -> Setting:
    adapter.set_query_arguments(params, 1)
    rate = pilot_rate(adapter, dataset.queries, plan.k)
    adapter.set_query_arguments(params, plan.threads)
    count = batch_size(rate, plan.recall_s, min(plan.recall_queries, len(dataset.queries)))
    found = np.asarray(adapter.batch_query(dataset.queries[:count], plan.k)).astype(np.int64)
    scores = None if dataset.truth_scores is None else dataset.truth_scores[:count]
    recall = recall_at_k(found, dataset.truth_ids[:count], scores, plan.k)
    return Setting(index, adapter, params, recall, count, rate)


def worth_timing(settings: Sequence[Setting]) -> list[Setting]:
    """Of each competitor, the settings near its frontier, spread over the recalls of interest."""
    by_competitor: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        by_competitor[setting.index.competitor.name].append(setting)
    chosen: list[Setting] = []
    for group in by_competitor.values():
        kept = [s for s in group if not any(_beats(other, s) for other in group)]
        low = [s for s in kept if s.recall < _LOWEST]
        fastest: dict[int, Setting] = {}
        for setting in sorted(kept, key=lambda s: s.rate):
            if setting.recall >= _LOWEST:
                fastest[math.floor(-math.log10(max(1 - setting.recall, 1e-5)) / _STEP)] = setting
        chosen += [*sorted(low, key=lambda s: s.recall)[-1:], *fastest.values()]
    return chosen


def _beats(other: Setting, setting: Setting) -> bool:
    return other is not setting and other.recall >= setting.recall and other.rate > _BEATEN * setting.rate


def _time_rounds(
    dataset: Dataset, settings: Sequence[Setting], plan: Plan, writer: RecordWriter, reporter: Reporter
) -> None:
    """Rounds over all settings by recall, so that what is compared is measured within moments (A B A B)."""
    modes: list[tuple[str, int]] = [("batch", 1), ("single", 1)]
    if plan.threads > 1:
        modes.insert(1, ("batch", plan.threads))
    order = sorted(settings, key=lambda setting: setting.recall)
    greedy: set[str] = set()
    reporter.stage("timing", len(order) * len(modes) * plan.repeats)
    for repeat, (mode, threads), setting in itertools.product(range(plan.repeats), modes, order):
        timing = _time(dataset, setting, mode, threads, plan)
        name = setting.index.competitor.name
        if timing.cores > threads + _OVERRUN and name not in greedy:
            greedy.add(name)
            reporter.note(f"{name} used {timing.cores:.1f} cores although limited to {threads}")
        writer.write(
            "search",
            **_described(setting),
            k=plan.k,
            mode=mode,
            threads=threads,
            repeat=repeat,
            load=load_average(),
            **asdict(timing),
        )
        reporter.step(f"{name} {_text(setting.params)}")


def _described(setting: Setting) -> dict[str, Any]:
    return {
        "competitor": setting.index.competitor.name,
        "ours": setting.index.competitor.ours,
        "build": dict(setting.index.params),
        "search": dict(setting.params),
        "pacer": setting.pacer,
        "recall": setting.recall,
        "recall_queries": setting.recall_queries,
    }


def _time(dataset: Dataset, setting: Setting, mode: str, threads: int, plan: Plan) -> Timing:
    adapter = setting.adapter
    adapter.set_query_arguments(setting.params, threads)
    count = batch_size(setting.rate * threads, plan.slice_s, len(dataset.queries))
    timer: Callable[..., Timing] = time_single_calls if mode == "single" else time_batches
    return timer(adapter, dataset.queries[:count], plan.k, plan.slice_s)


def _text(params: Params) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items())
