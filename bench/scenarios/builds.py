"""Builds of our default index and of the baseline's in turn: seconds, and the most memory.

The sweep builds everything once; a machine that is slower for a minute would then decide. Here every round
builds each index anew, in a process of its own, and the rounds' medians are compared.
"""

from collections.abc import Sequence
from typing import Final

from nearfield.bench.adapters import BASELINE
from nearfield.bench.adapters.base import Competitor
from nearfield.bench.adapters.nearfield import AUTO, PREFIX
from nearfield.bench.harness import Reporter
from nearfield.bench.isolate import isolated
from nearfield.bench.job import Job
from nearfield.bench.libraries import build_index_alone, cached_indexes, in_turn, measured_already, signature

_NAME: Final = "builds in turn"
_COMPARED: Final = (PREFIX + AUTO, BASELINE)


def measure_builds(job: Job, competitors: Sequence[Competitor], reporter: Reporter) -> None:
    """Build, again and again, and record each build; the last ones stay in the cache if the job resumes."""
    dataset = job.source.load(truth=False)
    compared = [c for c in competitors if c.name in _COMPARED and dataset.metric in c.metrics]
    if not compared:
        reporter.note(f"`builds` compares {' and '.join(_COMPARED)}: neither was asked for")
        return
    done = signature(job, dataset, compared)
    if job.resume and measured_already(job, done, _NAME):
        reporter.note(f"{_NAME}: measured already")
        return
    indexes = in_turn(cached_indexes(job, dataset, compared))
    reporter.stage(_NAME, len(indexes) * job.plan.repeats)
    with job.writer(dataset, library=_NAME) as writer:
        for repeat in range(job.plan.repeats):
            for index in indexes:
                isolated(build_index_alone, job, index.competitor.name, index.params, reporter=reporter)
                facts = index.facts()
                assert facts is not None
                writer.write("rebuild", **facts, repeat=repeat, raw_bytes=4 * dataset.base.size)
                reporter.step(index.folder.name)
        writer.write("done", signature=done)
    if not job.resume:
        for index in indexes:
            index.remove()
