"""Kinds that can be extended: any mix of rows that stay, leave and enter, as good as built anew."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import Cancelled
from nearfield.engine.index.protocol import BuildContext, ExtendingBuilder, IndexBuilder, Rows, VectorIndex
from tests.conformance import cases

_BEFORE = 1_200
MIXES = {
    "float32": [(0.25, 0.25), (0.0, 0.0)],
    "float16": [(0.0, 0.3)],
    "uint8": [(0.3, 0.0)],
}
"""Shares that leave and enter."""
EXTENDING = [kind for kind in cases.KINDS if isinstance(cases.REGISTRY.builder(kind), ExtendingBuilder)]
KIND_METRICS = [(kind, metric) for kind, metric in cases.KIND_METRICS if kind in EXTENDING]


def builders(kind: str) -> tuple[IndexBuilder, ExtendingBuilder, Mapping[str, Any]]:
    builder = cases.REGISTRY.builder(kind)
    assert isinstance(builder, ExtendingBuilder)
    return builder, builder, cases.params_of(builder)


def changed(
    pool: Rows, before: NDArray[np.int64], leave: NDArray[np.bool_], enter: NDArray[np.int64], seed: int = 3
) -> tuple[Rows, NDArray[np.int64]]:
    """Rows in shuffled order of which some were in pool[before], and where each was."""
    stay = np.flatnonzero(~leave)
    origin = np.concatenate([stay, np.full(len(enter), -1)])
    picked = np.concatenate([before[stay], enter])
    order = np.random.default_rng(seed).permutation(len(origin))
    return pool[picked[order]], origin[order]


def extended(
    kind: str, metric: str, leaving: float, entering: float, pool: Rows, **context: Any
) -> VectorIndex:
    """An index of 3,000 rows of the pool, after a share of them left and a share came."""
    builder, extender, params = builders(kind)
    rows, origin, previous = _previous(builder, metric, params, leaving, entering, pool)
    index = extender.extend(previous, origin, rows, metric, params, BuildContext(**context))
    assert index is not None
    return index


def _previous(
    builder: IndexBuilder, metric: str, params: Mapping[str, Any], leaving: float, entering: float, pool: Rows
) -> tuple[Rows, NDArray[np.int64], VectorIndex]:
    before = np.arange(_BEFORE)
    leave = np.random.default_rng(1).random(_BEFORE) < leaving
    rows, origin = changed(pool, before, leave, np.arange(_BEFORE, _BEFORE + int(_BEFORE * entering)))
    return rows, origin, builder.build(pool[before], metric, params, cases.PLAIN)


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("kind, metric", KIND_METRICS)
def test_extended_it_finds_what_a_new_build_finds(kind: str, metric: str, dtype: str) -> None:
    builder, extender, params = builders(kind)
    pool = cases.clustered(dtype, 2_000)
    for leaving, entering in MIXES[dtype]:
        rows, origin, previous = _previous(builder, metric, params, leaving, entering, pool)
        index = extender.extend(previous, origin, rows, metric, params, cases.PLAIN)
        assert index is not None and index.count == len(rows)
        queries = cases.queries_near(rows)
        distances = cases.true_distances(queries, rows, metric)
        fresh = cases.check_hits(
            builder.build(rows, metric, params, cases.PLAIN).search(queries, 10, {}), distances, 10
        )
        assert cases.check_hits(index.search(queries, 10, {}), distances, 10) >= fresh - 0.02
        allowed = np.random.default_rng(4).random(len(rows)) < 0.3
        hits = index.search(queries, 10, {}, cases.words(allowed))
        assert cases.check_hits(hits, distances, 10, allowed) >= 0.9


@pytest.mark.parametrize("kind", EXTENDING)
def test_extended_again_and_again(kind: str) -> None:
    builder, extender, params = builders(kind)
    pool = cases.clustered("float32", 2_000)
    rng = np.random.default_rng(2)
    live = rng.permutation(2_000)[:1_400]
    index = builder.build(pool[live], "l2", params, cases.PLAIN)
    for _ in range(6):
        leave = rng.random(len(live)) < 0.2
        enter = rng.permutation(np.setdiff1d(np.arange(2_000), live))[: leave.sum()]
        _, origin = changed(pool, live, leave, enter)
        live = np.where(origin >= 0, live[origin], -1)
        live[origin < 0] = enter
        following = extender.extend(index, origin, pool[live], "l2", params, cases.PLAIN)
        assert following is not None
        index = following
    queries = cases.queries_near(pool[live])
    distances = cases.true_distances(queries, pool[live], "l2")
    fresh = builder.build(pool[live], "l2", params, cases.PLAIN)
    wanted = cases.check_hits(fresh.search(queries, 10, {}), distances, 10)
    assert cases.check_hits(index.search(queries, 10, {}), distances, 10) >= wanted - 0.01
    own = index.search(pool[live].astype(np.float32), 1, {}).rows[:, 0]
    assert (own == np.arange(len(live))).all()


@pytest.mark.parametrize("kind", EXTENDING)
def test_extended_it_is_the_same_bytes_and_opens_the_same(kind: str, tmp_path: Path) -> None:
    pool = cases.clustered("float32", 4_000)
    saved = []
    for threads in (1, 2, 3):
        index = extended(kind, "ip", 0.2, 0.2, pool, threads=threads, seed=5)
        (tmp_path / str(threads)).mkdir()
        saved.append({path.name: path.read_bytes() for path in index.save(tmp_path / str(threads))})
    assert saved[0] == saved[1] == saved[2]
    builder, extender, params = builders(kind)
    rows, _, _ = _previous(builder, "ip", params, 0.2, 0.2, pool)
    opened = builder.open(tmp_path / "1", rows, "ip", params)
    queries = cases.queries_near(rows)
    np.testing.assert_array_equal(opened.search(queries, 9, {}).rows, index.search(queries, 9, {}).rows)
    # What was saved and opened can itself be extended.
    again = extender.extend(opened, np.arange(len(rows)), rows, "ip", params, cases.PLAIN)
    assert again is not None
    assert cases.check_hits(again.search(queries, 9, {}), cases.true_distances(queries, rows, "ip"), 9) > 0.9


@pytest.mark.parametrize("kind", EXTENDING)
def test_extending_is_declined_where_a_new_build_is_better(kind: str) -> None:
    builder, extender, params = builders(kind)
    pool = cases.clustered("float32", 4_000)
    previous = builder.build(pool[:1_000], "l2", params, cases.PLAIN)

    def declined(rows: Rows, origin: NDArray[np.int64]) -> bool:
        return extender.extend(previous, origin, rows, "l2", params, cases.PLAIN) is None

    assert declined(pool[1_000:2_000], np.full(1_000, -1)), "no row stays"
    assert declined(pool[:0], np.zeros(0, dtype=np.int64)), "no row at all"
    assert declined(pool[:3_000], np.concatenate([np.arange(1_000), np.full(2_000, -1)])), "most rows are new"
    assert declined(pool[:300], np.arange(300)), "most rows are gone"
    moved = np.concatenate([pool[:600], pool[600:1_000] * 0.1 + 40.0])
    assert declined(moved, np.concatenate([np.arange(600), np.full(400, -1)])), "the data has moved"


@pytest.mark.parametrize("kind", EXTENDING)
def test_extending_an_index_of_hardly_any_rows(kind: str) -> None:
    builder, extender, params = builders(kind)
    pool = cases.clustered("float32", 4_000)
    for count in (0, 1, 2, 3, 9):
        previous = builder.build(pool[:count], "cosine", params, cases.PLAIN)
        for stay, enter in ((count, 0), (count, 1), (max(count - 1, 0), 1), (count // 2, count // 2)):
            origin = np.concatenate([np.arange(stay), np.full(enter, -1)])
            rows = pool[np.concatenate([np.arange(stay), np.arange(100, 100 + enter)])]
            index = extender.extend(previous, origin, rows, "cosine", params, cases.PLAIN)
            if index is None:
                continue
            queries = pool[:5]
            distances = cases.true_distances(queries, rows, "cosine")
            assert cases.check_hits(index.search(queries, 4, {}), distances, 4) == 1.0


@pytest.mark.parametrize("kind", EXTENDING)
def test_copies_come_and_go(kind: str) -> None:
    # Many equal rows share a node: groups form, grow, shrink below that number, and vanish.
    builder, extender, params = builders(kind)
    pool = cases.clustered("float32", 4_000)
    group = np.repeat(np.arange(5), 20)
    before = np.concatenate([np.arange(1_500), group])
    previous = builder.build(pool[before], "l2", params, cases.PLAIN)
    leave = np.zeros(len(before), dtype=np.bool_)
    leave[1_500:1_517] = True  # of row 0 four copies are left
    leave[1] = leave[1_520:1_540] = True  # of row 1 none is left
    rows, origin = changed(pool, before, leave, np.concatenate([np.repeat([70, 71, 1_900], 15), [1_901]]))
    index = extender.extend(previous, origin, rows, "l2", params, cases.PLAIN)
    assert index is not None
    queries = np.concatenate([pool[[0, 1, 2, 70, 71, 1_900, 1_901]], cases.queries_near(rows)])
    distances = cases.true_distances(queries, rows, "l2")
    assert cases.check_hits(index.search(queries, 30, {}), distances, 30) >= 0.95
    assert cases.check_hits(index.search(queries[:7], 1, {}), distances[:7], 1) == 1.0


@pytest.mark.parametrize("kind", EXTENDING)
def test_extending_can_be_watched_and_stopped(kind: str) -> None:
    pool = cases.clustered("float32", 4_000)
    seen: list[float] = []
    extended(kind, "l2", 0.2, 0.2, pool, threads=2, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0
    for after in (1, 4, 6):
        cancel = threading.Event()
        calls: list[float] = []

        def progress(
            done: float, calls: list[float] = calls, cancel: threading.Event = cancel, stop: int = after
        ) -> None:
            calls.append(done)
            if len(calls) >= stop:
                cancel.set()

        with pytest.raises(Cancelled):
            extended(kind, "l2", 0.2, 0.2, pool, progress=progress, cancel=cancel)
