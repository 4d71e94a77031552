"""The index over token matrices: answers against exact MaxSim, filters, files, and what it refuses."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine.errors import Corrupted, InvalidRequest
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.index_builders import build_multivector_index, default_registry, open_multivector_index
from nearfield.index_builders.multivector.build import MultiVectorLibraryIndex
from nearfield.index_builders.multivector.builder import MuveraBuilder
from tests.helpers.themed_documents import DIMENSIONS, shared, themed, themed_queries

COUNT = 600

PARAMS: dict[str, dict[str, Any]] = {
    "kmeans": {"cells": "kmeans", "cell_count": 32, "dimensions": 96},
    "simhash": {"cells": "simhash", "profile": "small"},
    "sketch": {"cells": "simhash", "dimensions": 768},
    "graph": {"cells": "kmeans", "cell_count": 32, "dimensions": 96, "structure": "graph"},
}


@pytest.fixture(scope="module", params=sorted(PARAMS))
def built(request: pytest.FixtureRequest) -> MultiVectorLibraryIndex:
    return build_multivector_index(*themed(COUNT), PARAMS[request.param], threads=1)


def test_recall_and_scores(built: MultiVectorLibraryIndex) -> None:
    tokens, offsets = themed_queries()
    exact, exact_scores = built.search(tokens, offsets, 10, exact=True)
    found, scores = built.search(tokens, offsets, 10, candidates=120)
    hits = [len(np.intersect1d(a, b)) / 10 for a, b in zip(found, exact, strict=True)]
    assert np.mean(hits) >= 0.9
    same = found == exact
    np.testing.assert_allclose(scores[same], exact_scores[same], rtol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    doc_tokens, doc_offsets = themed(COUNT)
    best = doc_tokens[doc_offsets[found[0, 0]] : doc_offsets[found[0, 0] + 1]]
    expected = (tokens[: offsets[1]] @ best.T).max(axis=1).sum()
    np.testing.assert_allclose(scores[0, 0], expected, rtol=1e-5)


def test_more_candidates_never_hurt(built: MultiVectorLibraryIndex) -> None:
    tokens, offsets = themed_queries()
    totals = [built.search(tokens, offsets, 10, candidates=c)[1].sum(axis=1) for c in (10, 40, 160, COUNT)]
    for few, more in pairwise(totals):
        assert (more >= few - 1e-4).all()
    exact = built.search(tokens, offsets, 10, exact=True)
    everything = built.search(tokens, offsets, 10, candidates=COUNT)
    assert np.array_equal(everything[0], exact[0])


@pytest.mark.parametrize("allowed", [0, 1, 5, 60, 300, COUNT])
def test_filters(built: MultiVectorLibraryIndex, allowed: int) -> None:
    allow = np.zeros(COUNT, np.bool_)
    allow[np.random.default_rng(allowed).choice(COUNT, allowed, replace=False)] = True
    matching = int((allow & (np.diff(built.documents.bounds()) > 0)).sum())
    tokens, offsets = themed_queries()
    for candidates in (10, 50):
        found, scores = built.search(tokens, offsets, 10, candidates=candidates, allow=allow)
        assert ((found >= 0).sum(axis=1) == min(10, matching)).all()
        assert allow[found[found >= 0]].all()
        assert np.isneginf(scores[found < 0]).all()


def test_empty_documents_are_never_found(built: MultiVectorLibraryIndex) -> None:
    tokens, offsets = themed_queries(3)
    found, _ = built.search(tokens, offsets, COUNT, candidates=COUNT)
    with_tokens = np.flatnonzero(np.diff(built.documents.bounds()))
    assert all(np.array_equal(np.sort(row[row >= 0]), with_tokens) for row in found)


def test_batches_and_threads_change_nothing(built: MultiVectorLibraryIndex) -> None:
    tokens, offsets = themed_queries()
    whole = built.search(tokens, offsets, 10, threads=3)
    for i in range(len(offsets) - 1):
        alone = built.search(tokens[offsets[i] : offsets[i + 1]], None, 10)
        assert np.array_equal(alone[0][0], whole[0][i]) and np.array_equal(alone[1][0], whole[1][i])


def test_saved_and_opened(built: MultiVectorLibraryIndex, tmp_path: Path) -> None:
    built.save(tmp_path / "index")
    opened = open_multivector_index(tmp_path / "index")
    tokens, offsets = themed_queries()
    for ours, theirs in zip(
        built.search(tokens, offsets, 10), opened.search(tokens, offsets, 10), strict=True
    ):
        assert np.array_equal(ours, theirs)
    assert opened.resident_bytes() == built.resident_bytes()


def test_damage_is_found(built: MultiVectorLibraryIndex, tmp_path: Path) -> None:
    built.save(tmp_path / "index")
    files = sorted(path for path in (tmp_path / "index" / "index").rglob("*") if path.is_file())
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(Corrupted):
            open_multivector_index(tmp_path / "index")
        path.unlink()
        with pytest.raises(Corrupted):
            open_multivector_index(tmp_path / "index")
        path.write_bytes(content)
    open_multivector_index(tmp_path / "index")


def test_other_documents_are_refused(built: MultiVectorLibraryIndex, tmp_path: Path) -> None:
    built.inner.save(tmp_path)
    tokens, offsets = themed(COUNT, seed=3)
    other = build_multivector_index(tokens, offsets, {"cells": "simhash", "profile": "small"})
    with pytest.raises(Corrupted, match="is of documents with"):
        default_registry().open_multivector(built.spec, tmp_path, other.documents)


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_same_seed_same_bytes(name: str, tmp_path: Path) -> None:
    for run, threads in (("a", 1), ("b", 3)):
        build_multivector_index(*themed(200), PARAMS[name], threads=threads, seed=4).save(tmp_path / run)
    first, second = ({p.relative_to(tmp_path / run): p.read_bytes() for p in (tmp_path / run).rglob("*.npy")}
                     for run in ("a", "b"))  # fmt: skip
    assert first == second


@pytest.mark.parametrize("encoding", ["float16", "lvq8", "lvq4"])
def test_token_encodings(encoding: str) -> None:
    tokens, offsets = themed(COUNT)
    index = build_multivector_index(tokens, offsets, PARAMS["kmeans"], token_encoding=encoding)
    plain = build_multivector_index(tokens, offsets, PARAMS["kmeans"])
    query, query_offsets = themed_queries()
    exact, _ = plain.search(query, query_offsets, 10, exact=True)
    found, _ = index.search(query, query_offsets, 10, candidates=120)
    least = {"float16": 0.95, "lvq8": 0.9, "lvq4": 0.7}[encoding]
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, exact, strict=True)]) >= least


@pytest.mark.parametrize("count", [1, 2, 3])
def test_tiny_collections(count: int) -> None:
    tokens, offsets = themed(count + 1)
    for params in (*PARAMS.values(), {}):
        index = build_multivector_index(tokens, offsets, params)
        found, _ = index.search(tokens[:3], None, 10)
        assert sorted(found[found >= 0].tolist()) == list(range(1, count + 1))


@pytest.mark.parametrize("each", [1, 5])
@pytest.mark.parametrize("count", [40, 700])
def test_documents_of_constantly_many_tokens(count: int, each: int) -> None:
    """ConstBERT's documents, and those of one token, whose MaxSim is a sum of inner products."""
    tokens = themed(count * each, empty_each=0)[0][: count * each]
    constant = TokenRows(tokens, None, TokenEncoding.FLOAT32, DIMENSIONS, each)
    offsets = np.arange(0, count * each + 1, each)
    builder = MuveraBuilder()
    params = builder.parse_params({"cells": "auto", "cell_count": 24, "dimensions": 96})
    index = builder.build(constant, params, BuildContext())
    ragged = build_multivector_index(tokens, offsets, {"cell_count": 24, "dimensions": 96})
    queries = themed_queries()
    exact = ragged.search(*queries, 10, exact=True)
    for knobs, least in (
        ({"exact": True}, 1.0),
        ({"candidates": 200}, 0.9),
        ({}, 1.0 if count < 256 else 0.8),
    ):
        found = index.search(*queries, 10, knobs)
        assert shared(found.rows, exact[0]) >= least
        np.testing.assert_array_equal(found.rows, ragged.search(*queries, 10, **knobs)[0])
    if each == 1:
        sums = np.add.reduceat(queries[0], queries[1][:-1]) @ tokens.T
        np.testing.assert_allclose(exact[1], -np.sort(-sums, axis=1)[:, :10], rtol=1e-4)


def test_queries_of_any_length_in_one_batch() -> None:
    index = build_multivector_index(*themed(COUNT), PARAMS["kmeans"])
    tokens, offsets = themed_queries()[0][:100], np.array([0, 1, 65, 66, 68, 100])
    whole = index.search(tokens, offsets, 10)
    for query, (start, end) in enumerate(pairwise(offsets)):
        np.testing.assert_array_equal(index.search(tokens[start:end], None, 10)[0][0], whole[0][query])


def test_no_tokens_at_all() -> None:
    index = build_multivector_index(np.zeros((1, 8), np.float32), [0, 0, 1, 1])
    found, scores = index.search(np.ones((2, 8), np.float32), None, 2)
    assert found.tolist() == [[1, -1]] and scores.tolist() == [[0.0, -np.inf]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"doc_offsets": [0, 3]}, "doc_offsets do not fit the tokens"),
        ({"doc_tokens": np.zeros((4, 8), np.uint8)}, "doc_tokens must be float32 or float16"),
        ({"doc_tokens": np.full((4, 8), np.nan, np.float32)}, "doc_tokens must be finite"),
        ({"params": {"cells": "grid"}}, "cells must be one of auto, kmeans, simhash"),
        ({"params": {"cell": 3}}, "has no parameter `cell`"),
        ({"kind": "hnsw"}, "index kind must be one of auto, muvera"),
        ({"token_encoding": "pq"}, "token_encoding must be one of"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"doc_tokens": np.ones((4, 8), np.float32), "doc_offsets": [0, 4]} | arguments
    with pytest.raises(InvalidRequest, match=message):
        build_multivector_index(**given)


@pytest.mark.parametrize(
    "knobs", [{"candidates": 0}, {"candidates": 9}, {"oversampling": 0.5}, {"ef": "many"}, {"k": 0}]
)
def test_refused_knobs(built: MultiVectorLibraryIndex, knobs: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        built.search(*themed_queries(2), **knobs)
