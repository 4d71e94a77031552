"""An index of documents follows them: new ones are encoded as the old were, others make it learn again."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.multivector.builder import MuveraBuilder
from nearfield.index_builders.multivector.code_rows import CodeScan
from nearfield.index_builders.multivector.index import MuveraIndex
from tests.helpers.themed_documents import (
    Documents,
    joined,
    rotated,
    shared,
    themed,
    themed_queries,
    token_rows,
)

BUILDER = MuveraBuilder()
COUNT, MORE = 500, 100
KMEANS: dict[str, Any] = {"cells": "kmeans", "cell_count": 24, "dimensions": 48}
PARAMS: dict[str, dict[str, Any]] = {
    "kmeans": KMEANS,
    "simhash": {"cells": "simhash", "profile": "small"},
    "graph": {**KMEANS, "structure": "graph"},
}
NEW = np.full(MORE, -1)


@functools.cache
def built(name: str, count: int = COUNT) -> MuveraIndex:
    return BUILDER.build(token_rows(themed(count)), BUILDER.parse_params(PARAMS[name]), BuildContext())


def extended(
    name: str,
    documents: Documents,
    origin: NDArray[np.int64],
    previous: MuveraIndex | None = None,
    **more: Any,
) -> MuveraIndex | None:
    params = BUILDER.parse_params({**PARAMS[name], **more})
    before = built(name) if previous is None else previous
    return BUILDER.extend(before, origin, token_rows(documents), params, BuildContext())


def recall(index: MuveraIndex, queries: Documents, candidates: int) -> float:
    truth = index.search(*queries, 10, {"exact": True}).rows
    return shared(index.search(*queries, 10, {"candidates": candidates}).rows, truth)


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_new_documents_of_the_same_kind_need_no_learning(name: str) -> None:
    documents = joined(themed(COUNT), themed(MORE, seed=8))
    index = extended(name, documents, np.concatenate([np.arange(COUNT), NEW]))
    assert index is not None and index.count == COUNT + MORE
    assert index.encoded.encoding is built(name).encoded.encoding and index.learned == built(name).learned
    for plane, before in zip(index.encoded.planes, built(name).encoded.planes, strict=True):
        np.testing.assert_array_equal(plane[:COUNT], before)
    fresh = BUILDER.build(token_rows(documents), BUILDER.parse_params(PARAMS[name]), BuildContext())
    queries = themed_queries(100)
    assert recall(index, queries, 120) >= recall(fresh, queries, 120) - 0.01
    # A new document is found by its own tokens, as an old one is.
    own = themed(MORE, seed=8)
    with_tokens = np.flatnonzero(np.diff(own[1]) > 3)
    offsets = np.concatenate([[0], np.cumsum(np.diff(own[1])[with_tokens])])
    tokens = np.concatenate([own[0][own[1][i] : own[1][i + 1]] for i in with_tokens])
    best = index.search(tokens, offsets, 1, {"candidates": 40}).rows[:, 0]
    assert np.mean(best == COUNT + with_tokens) >= 0.97


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_documents_leave_and_change_places(name: str) -> None:
    kept = np.random.default_rng(0).permutation(COUNT)[:400]
    tokens, offsets = themed(COUNT)
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in kept]
    documents = np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    index = extended(name, documents, kept)
    assert index is not None
    for plane, before in zip(index.encoded.planes, built(name).encoded.planes, strict=True):
        np.testing.assert_array_equal(plane, before[kept])
    assert index.calibration == built(name).calibration, "no document is new to it"
    before = built(name).search(*themed_queries(30), 10, {"exact": True}).rows
    after = index.search(*themed_queries(30), 10, {"candidates": 200}).rows
    for found, true in zip(after, before, strict=True):
        staying = [document for document in true if document in kept]
        assert np.isin(staying, kept[found[found >= 0]]).mean() >= 0.8


def test_other_documents_are_learned_again_and_recall_comes_back() -> None:
    documents = joined(themed(COUNT), rotated(themed(MORE, seed=8)))
    origin = np.concatenate([np.arange(COUNT), NEW])
    assert extended("kmeans", documents, origin) is None
    assert extended("simhash", documents, origin) is not None, "it never learned anything"
    carried = built("kmeans").encoded.carried_over(origin, token_rows(documents), BuildContext())
    params = BUILDER.parse_params(KMEANS)
    fresh = BUILDER.build(token_rows(documents), params, BuildContext())
    stale = MuveraIndex(token_rows(documents), carried, CodeScan(*carried.planes), params, None)
    queries = rotated(themed_queries(100))
    assert recall(fresh, queries, 120) >= max(0.9, recall(stale, queries, 120) + 0.05)
    assert fresh.learned is not None and fresh.learned.documents == COUNT + MORE


def test_a_few_others_do_not_matter() -> None:
    documents = joined(themed(COUNT), rotated(themed(6, seed=8)))
    assert extended("kmeans", documents, np.concatenate([np.arange(COUNT), NEW[:6]])) is not None


def test_an_index_learned_from_few_learns_from_more() -> None:
    origin = np.concatenate([np.arange(COUNT), np.full(2 * COUNT, -1)])
    documents = joined(themed(COUNT), themed(2 * COUNT, seed=8))
    assert extended("kmeans", documents, origin) is None
    few = {"sample_documents": COUNT, "calibrate": False}
    assert extended("kmeans", documents, origin, **few) is not None, "more would not be learned from"
    assert extended("simhash", documents, origin) is not None


def test_where_another_kind_of_index_is_wanted_it_is_built() -> None:
    few = BUILDER.build(token_rows(themed(200)), BUILDER.parse_params({}), BuildContext())
    documents = joined(themed(200), themed(300, seed=8))
    origin = np.concatenate([np.arange(200), np.full(300, -1)])
    grown = BUILDER.extend(few, origin, token_rows(documents), BUILDER.parse_params({}), BuildContext())
    assert few.learned is None and grown is None, "there is enough to learn from now"


def test_recall_is_measured_again_when_an_eighth_is_new() -> None:
    index, measured = built("kmeans"), built("kmeans").calibration
    documents, entered = themed(COUNT), []
    for seed in (1, 2, 3):
        origin = np.concatenate([np.arange(index.count), NEW[:30]])
        documents = joined(documents, themed(30, seed=seed))
        after = extended("kmeans", documents, origin, index)
        assert after is not None
        index = after
        entered.append((index.entered, index.calibration == measured))
    assert entered == [(30, True), (60, True), (0, False)]


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_the_same_bytes_whatever_the_threads(name: str, tmp_path: Path) -> None:
    documents = token_rows(joined(themed(COUNT), themed(MORE, seed=8)))
    origin = np.concatenate([np.arange(COUNT), NEW])
    params = BUILDER.parse_params(PARAMS[name])
    saved = []
    for threads in (1, 3):
        index = BUILDER.extend(built(name), origin, documents, params, BuildContext(threads))
        assert index is not None
        directory = tmp_path / str(threads)
        directory.mkdir()
        index.save(directory)
        saved.append({p.relative_to(directory): p.read_bytes() for p in directory.rglob("*.*")})
    assert saved[0] == saved[1]
    opened = BUILDER.open(tmp_path / "1", documents, params)
    assert (opened.learned, opened.calibration, opened.entered) == (
        index.learned,
        index.calibration,
        index.entered,
    )
    queries = themed_queries(20)
    again = BUILDER.extend(opened, np.arange(COUNT + MORE), documents, params, BuildContext())
    assert again is not None
    for found in (opened, again):
        np.testing.assert_array_equal(
            found.search(*queries, 10, {}).rows, index.search(*queries, 10, {}).rows
        )
