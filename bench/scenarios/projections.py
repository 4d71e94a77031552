"""What LeanVec's projection does: learned with training queries or without, and beside codes of whole rows.

Three kinds of index over the same rows at the same `ef`: LeanVec that knows training queries, LeanVec that
knows the rows alone, and 8-bit LVQ of whole rows. The first two have equal dimensions, so that their recall
compares what was learned.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nearfield.bench.adapters.base import Competitor
from nearfield.bench.datasets import Dataset
from nearfield.bench.ground_truth import recall_at_k
from nearfield.bench.harness import Reporter
from nearfield.bench.isolate import isolated
from nearfield.bench.job import Job
from nearfield.bench.libraries import competitor_named, measured_already, signature
from nearfield.bench.machine import load_average
from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders import default_registry
from nearfield.index_builders.graph.index import GraphIndex

_NAME: Final = "projections"
_EFS: Final = (16, 24, 32, 48, 64, 96, 128)
_NARROW: Final = (112, 176)
"""Fewer dimensions than are chosen, where what the projection keeps matters more: 112 of 4 bits are one cache
line."""


@dataclass(frozen=True)
class _Learned:
    """An index and what its projection was learned from: `queries`, `rows`, or `none`."""

    learned_from: str
    dimensions: int
    index: GraphIndex


def has_training_queries(dataset: Dataset) -> bool:
    """Whether the scenario applies."""
    return dataset.training_queries is not None


def measure_projections(job: Job, competitors: Sequence[Competitor], reporter: Reporter) -> None:
    """Build and time in a process of its own, if any index of ours was asked for."""
    ours = [competitor for competitor in competitors if competitor.ours]
    dataset = job.source.load(truth=False)
    if not ours:
        reporter.note("`projections` measures indexes of ours: none was asked for")
    elif job.resume and measured_already(job, signature(job, dataset, ours[:1]), _NAME):
        reporter.note(f"{_NAME}: measured already")
    else:
        isolated(run_projections, job, ours[0].name, reporter=reporter)


def run_projections(job: Job, ours: str, reporter: Reporter) -> None:
    """Build them all, then time their settings in interleaved rounds, in batches on one thread.

    Args:
        ours: any competitor of ours, for the version that is measured.
    """
    dataset, plan = job.source.load(), job.plan
    reporter.stage("building for the projections", 3 + 2 * len(_NARROW))
    built = _built(dataset, plan.threads, reporter)
    queries, truth = dataset.queries[: plan.recall_queries], dataset.truth_ids[: plan.recall_queries]
    scores = None if dataset.truth_scores is None else dataset.truth_scores[: len(queries)]
    settings = [(number, ef) for ef in _EFS for number in range(len(built))]
    seconds: dict[tuple[int, int], list[float]] = defaultdict(list)
    recall: dict[tuple[int, int], float] = {}
    reporter.stage("timing projections", len(settings) * (plan.repeats + 1))
    for repeat in range(plan.repeats + 1):
        for number, ef in settings:
            start = time.perf_counter()
            found = built[number].index.search(queries, plan.k, {"ef": ef, "threads": 1}).rows
            spent = time.perf_counter() - start
            if repeat == 0:  # not timed: its pages and caches were cold
                recall[number, ef] = recall_at_k(found, truth, scores, plan.k)
            else:
                seconds[number, ef].append(spent)
            reporter.step(f"{built[number].learned_from} ef={ef}")
    with job.writer(dataset, library=_NAME) as writer:
        for number, ef in settings:
            writer.write(
                "projection",
                index_kind=built[number].index.kind,
                learned_from=built[number].learned_from,
                reduced_dimensions=built[number].dimensions,
                ef=ef,
                k=plan.k,
                recall=recall[number, ef],
                qps=len(queries) / statistics.median(seconds[number, ef]),
                load=load_average(),
            )
        writer.write("done", signature=signature(job, dataset, [competitor_named(ours)]))


def _built(dataset: Dataset, threads: int, reporter: Reporter) -> list[_Learned]:
    rows, registry = np.array(dataset.base), default_registry()
    built: list[_Learned] = []

    def add(learned_from: str, kind: str, params: Mapping[str, int | str]) -> None:
        builder = registry.builder(kind)
        training = dataset.training_queries if learned_from == "queries" else None
        context = BuildContext(threads, 1, training)
        index = builder.build(rows, dataset.metric, builder.parse_params(params), context)
        assert isinstance(index, GraphIndex) and index.arrays is not None
        built.append(_Learned(learned_from, index.arrays.primary.dimensions, index))
        reporter.step(f"{kind} {built[-1].dimensions}")

    add("none", "lvq", {"encoding": "lvq8"})
    add("rows", "leanvec", {})
    chosen = built[-1].dimensions
    add("queries", "leanvec", {"reduced_dimensions": chosen})
    for narrow in _NARROW:
        for learned_from in ("rows", "queries"):
            if narrow < chosen:
                add(learned_from, "leanvec", {"reduced_dimensions": narrow})
    return built
