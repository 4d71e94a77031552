"""Searching from many threads, and building under control of the caller."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nearfield.engine.errors import Cancelled
from nearfield.engine.index.protocol import BuildContext
from tests.conformance import cases


@pytest.mark.parametrize("kind", cases.KINDS)
def test_concurrent_searches_with_mixed_knobs(kind: str) -> None:
    rows = cases.clustered("float32", 6_000)
    queries = cases.queries_near(rows, 60)
    index = cases.build(kind, rows, "l2")
    allow = cases.words(np.arange(len(rows)) % 4 > 0)
    knobs = [{}, {"ef": 10, "nprobe": 1}, {"ef": 30, "nprobe": 5}, {"ef": 120, "nprobe": 60}, {"threads": 2}]
    jobs = [(query, knob, mask) for query in queries[:, None, :] for knob in knobs for mask in (None, allow)]
    expected = [index.search(query, 10, knob, mask) for query, knob, mask in jobs]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda job: index.search(job[0], 10, job[1], job[2]), jobs * 3))
    for answer, wanted in zip(got, expected * 3, strict=True):
        np.testing.assert_array_equal(answer.rows, wanted.rows)
        np.testing.assert_array_equal(answer.distances, wanted.distances)


@pytest.mark.parametrize("kind", [kind for kind in cases.KINDS if kind != "flat"])
def test_the_knob_matters(kind: str) -> None:
    # Mixed knobs above would prove nothing if a small and a large one gave the same answers.
    rows = cases.clustered("float32", 6_000)
    queries = cases.queries_near(rows, 60)
    index = cases.build(kind, rows, "l2")
    narrow = index.search(queries, 10, {"ef": 10, "nprobe": 1})
    wide = index.search(queries, 10, {"ef": 200, "nprobe": 60})
    assert (narrow.rows != wide.rows).any()
    assert narrow.distances.mean() > wide.distances.mean()


@pytest.mark.parametrize("kind", cases.KINDS)
def test_a_batch_answers_like_single_queries(kind: str) -> None:
    rows = cases.clustered("float32", 6_000)
    queries = cases.queries_near(rows, 30)
    index = cases.build(kind, rows, "cosine")
    for threads in (1, 2):
        batch = index.search(queries, 10, {"threads": threads})
        for at, query in enumerate(queries):
            np.testing.assert_array_equal(batch.rows[at], index.search(query[None], 10, {}).rows[0])


@pytest.mark.parametrize("kind", cases.KINDS)
def test_progress_grows_to_one(kind: str) -> None:
    seen: list[float] = []
    cases.build(kind, cases.clustered("float32", 6_000), "l2", BuildContext(threads=2, progress=seen.append))
    assert seen == sorted(seen) and seen[0] == 0.0 and seen[-1] == 1.0


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_a_cancelled_build_stops(kind: str, after: int) -> None:
    cancel = threading.Event()
    calls = []

    def progress(done: float) -> None:
        calls.append(done)
        if len(calls) > after:
            cancel.set()

    if after == 0:
        cancel.set()
    context = BuildContext(progress=progress, cancel=cancel)
    if kind == "flat" and after > 0:
        cases.build(kind, cases.clustered("float32", 6_000), "l2", context)
        return
    with pytest.raises(Cancelled):
        cases.build(kind, cases.clustered("float32", 6_000), "l2", context)
    assert len(calls) <= after + 1
