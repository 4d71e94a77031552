"""MaxSim of the tier in use is numpy's at every dimension and raggedness; wrong arguments are refused."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import Cancelled
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan, maxsim_scores

DIMENSIONS = [*range(1, 20), 31, 32, 33, *range(60, 70), 100, *range(126, 131), 256, 300]


def tokens_of(count: int, dims: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, dims), dtype=np.float32)


def quantized(queries: NDArray[np.float32]) -> NDArray[np.float64]:
    """What codes are multiplied with: 8-bit steps of each query token."""
    step = np.abs(queries.astype(np.float64)).max(axis=1, keepdims=True) / 127
    return np.rint(queries / step) * step


@pytest.mark.parametrize("encoding", list(TokenEncoding))
@pytest.mark.parametrize("dims", DIMENSIONS)
def test_scores_are_numpys_at_every_dimension(encoding: TokenEncoding, dims: int) -> None:
    sizes = np.array([1, 0, 2, 13, 30, 5], np.int64)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    documents = TokenRows.encode(tokens_of(int(sizes.sum()), dims, 0), bounds, encoding)
    starts = np.array([0, 1, 1 + dims % 50], np.int64)
    queries = tokens_of(int(starts[-1]), dims, 1)
    every = np.tile(np.arange(len(sizes), dtype=np.int64), (2, 1))
    found = maxsim_scores(queries, starts, documents, every)
    wide = quantized(queries) if encoding.is_codes else queries.astype(np.float64)
    products = wide @ documents.decode().astype(np.float64).T
    scale = np.abs(wide) @ np.abs(documents.decode().astype(np.float64)).T
    for i in range(2):
        for j in np.flatnonzero(sizes):
            block = np.s_[starts[i] : starts[i + 1], bounds[j] : bounds[j + 1]]
            allowed = 1e-6 * scale[block].max(axis=1, initial=0).sum() + 1e-6
            assert abs(found[i, j] - products[block].max(axis=1).sum()) <= allowed, (i, j)
    assert np.isneginf(found[:, 1]).all()


@pytest.mark.parametrize("encoding", list(TokenEncoding))
def test_threads_and_batches_change_no_bit(encoding: TokenEncoding) -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(0, 60, 900)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    documents = TokenRows.encode(tokens_of(int(offsets[-1]), 40, 4), offsets, encoding)
    starts = np.cumsum([0, *random.integers(1, 40, 30)]).astype(np.int64)
    queries = tokens_of(int(starts[-1]), 40, 5)
    whole = maxsim_scan(queries, starts, documents, 25)
    shared = maxsim_scan(queries, starts, documents, 25, threads=2)
    assert (whole.rows == shared.rows).all() and (whole.distances == shared.distances).all()
    assert (whole.rows >= 0).all()
    for i in (0, 17, 29):
        part = np.array([0, starts[i + 1] - starts[i]], np.int64)
        alone = maxsim_scan(queries[starts[i] : starts[i + 1]], part, documents, 25)
        assert (alone.rows[0] == whole.rows[i]).all() and (alone.distances[0] == whole.distances[i]).all()


@pytest.mark.parametrize("encoding", [TokenEncoding.FLOAT32, TokenEncoding.FLOAT16])
@pytest.mark.parametrize("metric", ["l2", "l1"])
@pytest.mark.parametrize("dims", [1, 7, 16, 33, 128])
def test_distances_are_numpys(encoding: TokenEncoding, metric: str, dims: int) -> None:
    """The sum, over a query's tokens, of the distance to the nearest token; the same with two threads."""
    sizes = np.array([1, 0, 2, 63, 64, 65, 17, 200], np.int64)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    documents = TokenRows.encode(tokens_of(int(sizes.sum()), dims, 7), bounds, encoding)
    starts = np.array([0, 3, 4, 37], np.int64)
    queries = tokens_of(37, dims, 8)
    between = queries.astype(np.float64)[:, None] - documents.decode().astype(np.float64)[None]
    pairs = (between**2 if metric == "l2" else np.abs(between)).sum(axis=-1)
    found = maxsim_scan(queries, starts, documents, 8, metric=metric)
    for i in range(3):
        expected = np.full(8, np.inf)
        for j in np.flatnonzero(sizes):
            expected[j] = pairs[starts[i] : starts[i + 1], bounds[j] : bounds[j + 1]].min(axis=1).sum()
        assert found.rows[i, 7] == -1 and np.isposinf(found.distances[i, 7])
        assert (found.rows[i, :7] == np.argsort(expected)[:7]).all()
        assert np.allclose(found.distances[i, :7], np.sort(expected)[:7], rtol=1e-5)
    shared = maxsim_scan(queries, starts, documents, 8, metric=metric, threads=2)
    assert (shared.rows == found.rows).all() and (shared.distances == found.distances).all()


def test_codes_have_no_distances() -> None:
    documents = TokenRows.encode(tokens_of(4, 8, 0), None, TokenEncoding.LVQ8, tokens_per_document=2)
    with pytest.raises(ValueError, match="metric: expected 'ip' for codes, got 'l2'"):
        maxsim_scan(tokens_of(2, 8, 1), np.array([0, 2], np.int64), documents, 1, metric="l2")


def hostile_halves(random: np.random.Generator, dims: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Long documents: near and equal tokens, tiny, huge, zero and infinite ones."""
    sizes = random.integers(1, 400, 40)
    values = random.standard_normal((int(sizes.sum()), dims)).astype(np.float16)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    for document in range(0, 40, 2):
        part = values[bounds[document] : bounds[document + 1]]
        part[:] = part[0] * (1 + 2**-9 * random.integers(0, 3, part.shape)).astype(np.float16)
    values[bounds[5] : bounds[6]] = values[bounds[5]]
    values[bounds[9] : bounds[10]] *= np.float16(6e-8)
    values[bounds[11] : bounds[12] : 3] *= np.float16(1e4)
    values[bounds[13] : bounds[14]] = 0
    values[bounds[15], 0] = np.inf
    return values, bounds


@pytest.mark.parametrize("dims", [32, 47, 128])
def test_one_query_alone_has_the_batches_maxima(dims: int) -> None:
    """A query alone may leave out tokens that cannot hold a maximum; in a batch of many tokens none are."""
    random = np.random.default_rng(dims)
    documents = TokenRows.encode(*hostile_halves(random, dims), TokenEncoding.FLOAT16)
    starts = np.cumsum([0, 1, 7, 16, 17, 20, 24, 25, 33, 48, 40]).astype(np.int64)
    queries = tokens_of(int(starts[-1]), dims, 6)
    queries[starts[1] : starts[2]] *= 1e-30
    queries[starts[3] : starts[4]] *= 1e30
    queries[starts[6] : starts[7], ::2] = 0
    batch = maxsim_scan(queries, starts, documents, 40)
    everything = np.tile(random.permutation(documents.count), (len(starts) - 1, 1))
    ranked = maxsim_rerank(queries, starts, documents, everything, 5)
    assert np.array_equal(ranked.rows, batch.rows[:, :5])
    assert np.array_equal(ranked.distances, batch.distances[:, :5], equal_nan=True)
    for i in range(len(starts) - 1):
        part = np.array([0, starts[i + 1] - starts[i]], np.int64)
        alone = maxsim_scan(queries[starts[i] : starts[i + 1]], part, documents, 40)
        assert np.array_equal(alone.distances[0], batch.distances[i], equal_nan=True), i
        assert np.array_equal(alone.rows[0], batch.rows[i]), i


@pytest.mark.parametrize("encoding", list(TokenEncoding))
@pytest.mark.parametrize(("k", "tokens"), [(1, 14), (10, 14), (10, 40), (10, 60), (90, 14), (200, 5)])
def test_a_rerank_keeps_the_best_of_all_scores(encoding: TokenEncoding, k: int, tokens: int) -> None:
    """Candidates in any order, some named twice, many nearly or wholly equal, some of very many tokens."""
    random = np.random.default_rng(k + tokens)
    sizes = np.where(random.random(300) < 0.05, 400, random.integers(0, 90 if tokens < 40 else 20, 300))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    values = tokens_of(int(offsets[-1]), 96, k)
    for copy in range(1, 300, 3):  # the document before it, its tokens off by a few roundings or not at all
        mine, other = values[offsets[copy] : offsets[copy + 1]], values[offsets[copy - 1] : offsets[copy]]
        shared = min(len(mine), len(other))
        mine[:shared] = other[:shared] * random.choice([1, 1.0005, 0.9995])
    documents = TokenRows.encode(values, offsets, encoding)
    starts = np.array([0, tokens, 2 * tokens, 3 * tokens], np.int64)
    queries = tokens_of(3 * tokens, 96, tokens)
    candidates = random.integers(-1, 300, (3, 250))
    scores = maxsim_scores(queries, starts, documents, candidates)
    found = maxsim_rerank(queries, starts, documents, candidates, k)
    shared_out = maxsim_rerank(queries, starts, documents, candidates, k, threads=2)
    assert (shared_out.rows == found.rows).all() and (shared_out.distances == found.distances).all()
    for query in range(3):
        known = dict(zip(candidates[query].tolist(), scores[query].tolist(), strict=True))
        best = sorted((-score, row) for row, score in known.items() if score > -np.inf)[:k]
        assert found.rows[query, : len(best)].tolist() == [row for _, row in best]
        assert found.distances[query, : len(best)].tolist() == [distance for distance, _ in best]
        assert (found.rows[query, len(best) :] == -1).all()


@pytest.mark.parametrize("dims", [32, 128])
def test_equal_candidates_go_by_number(dims: int) -> None:
    """What a rounded product falls short of the true one never keeps out a candidate."""
    values = np.tile(tokens_of(50, dims, 7), (20, 1)).astype(np.float16)
    documents = TokenRows.encode(values, np.arange(0, 1001, 50), TokenEncoding.FLOAT16)
    starts = np.arange(0, 161, 16)
    last_first = np.tile(np.arange(19, -1, -1), (10, 1))
    found = maxsim_rerank(tokens_of(160, dims, 8), starts, documents, last_first, 3)
    assert found.rows.tolist() == [[0, 1, 2]] * 10


def test_equal_scores_go_by_number() -> None:
    documents = TokenRows.encode(
        np.ones((700, 3), np.float32), None, TokenEncoding.FLOAT32, tokens_per_document=7
    )
    found = maxsim_scan(np.ones((2, 3), np.float32), np.array([0, 2], np.int64), documents, 5, threads=2)
    assert found.rows.tolist() == [[0, 1, 2, 3, 4]]
    assert found.distances.tolist() == [[-6.0] * 5]


def test_zero_tokens_give_zero() -> None:
    for encoding in TokenEncoding:
        documents = TokenRows.encode(np.zeros((4, 9), np.float32), None, encoding, tokens_per_document=2)
        found = maxsim_scan(np.zeros((3, 9), np.float32), np.array([0, 3], np.int64), documents, 3)
        assert found.rows.tolist() == [[0, 1, -1]]
        assert found.distances.tolist() == [[0.0, 0.0, np.inf]]


def test_a_scan_is_cancelled() -> None:
    cancel = _native.CancelFlag()
    cancel.set()
    with pytest.raises(Cancelled):
        _native.maxsim_search(**arguments(), k=3, cancel=cancel)


def arguments() -> dict[str, Any]:
    return {
        "queries": np.ones((5, 8), np.float32), "query_offsets": np.array([0, 2, 5], np.int64),
        "tokens": np.ones((12, 8), np.float32), "encoding": "float32",
        "offsets": np.array([0, 4, 12], np.int64), "tokens_per_document": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": np.ones((5, 8))}, "queries: expected float32 [Q, d], got float64 [5, 8]"),
        ({"query_offsets": np.array([0, 2, 6])}, "query_offsets: expected ascending numbers from 0 to 5"),
        ({"query_offsets": np.array([0, 5, 2, 5])}, "query_offsets: expected ascending numbers from 0 to 5"),
        ({"query_offsets": np.zeros(0, np.int64)}, "query_offsets: expected int64 [n + 1], got int64 [0]"),
        ({"tokens": np.ones((12, 9), np.float32)}, "tokens: expected float32 [T, 8], got float32 [12, 9]"),
        ({"tokens": np.ones((12, 8), np.float16)}, "tokens: expected float32 [T, 8], got float16 [12, 8]"),
        (
            {"tokens": np.ones((12, 11), np.uint8), "encoding": "lvq4"},
            "tokens: expected uint8 [T, at least 12], got uint8 [12, 11]",
        ),
        ({"encoding": "lvq2"}, "encoding: expected 'float32', 'float16', 'lvq8' or 'lvq4', got 'lvq2'"),
        ({"offsets": np.array([0, 4, 11])}, "offsets: expected ascending numbers from 0 to 12"),
        ({"offsets": np.array([1, 4, 12])}, "offsets: expected ascending numbers from 0 to 12"),
        ({"offsets": None}, "tokens_per_document: expected at least 1, got 0"),
        ({"offsets": None, "tokens_per_document": 5}, "tokens_per_document: expected a divisor of 12, got 5"),
        ({"k": 0}, "k: expected at least 1, got 0"),
        ({"threads": 0}, "threads: expected at least 1, got 0"),
        ({"allow": np.zeros(2, np.uint64)}, "allow: expected uint64 [1], got uint64 [2]"),
    ],
)
def test_wrong_arguments_of_the_scan(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        _native.maxsim_search(**({"k": 3} | arguments() | changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (np.zeros((1, 4), np.int64), "candidates: expected int64 [2, c], got int64 [1, 4]"),
        (np.zeros((2, 4), np.int32), "candidates: expected int64 [2, c], got int32 [2, 4]"),
        (np.full((2, 4), 2), "candidates: expected -1 <= document < 2, got 2"),
        (np.full((2, 4), -2), "candidates: expected -1 <= document < 2, got -2"),
    ],
)
def test_wrong_candidates(candidates: NDArray[Any], message: str) -> None:
    for call in (_native.maxsim_scores, lambda **given: _native.maxsim_rerank(**given, k=1)):
        with pytest.raises(ValueError) as caught:
            call(**arguments(), candidates=candidates)
        assert message in str(caught.value)
