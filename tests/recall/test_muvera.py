"""Encodings of real token matrices: MUVERA's order of profiles, learned cells, pooled tokens."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.scenarios.multivector import Corpus, load_corpus, ndcg, recall
from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.pooling import pool_tokens
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_scan
from nearfield.index_builders import build_multivector_index
from nearfield.index_builders.multivector.build import MultiVectorLibraryIndex
from nearfield.index_builders.multivector.simhash import PROFILES, SimHashEncoding
from tests.helpers.shared_data import multivector_directory

SEEDS = (0, 1, 2)


@cache
def corpus() -> Corpus:
    return load_corpus(multivector_directory("cranfield-mv128"), None)


@cache
def truth() -> NDArray[np.int64]:
    return np.load(multivector_directory("cranfield-mv128") / "maxsim_gt_ids.npy")[:, :10].astype(np.int64)


def encoded_recall(profile: str, seed: int, candidates: int) -> float:
    data = corpus()
    encoding = SimHashEncoding.generate(128, *PROFILES[profile], 0, seed)
    sets = (data.documents.decode(), data.documents.bounds())
    rows = encoding.documents(sets, BuildContext(threads=2))
    queries = encoding.queries((data.queries, data.query_offsets), 2)
    found, _ = _native.flat_search(queries, rows, "ip", candidates, threads=2)
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, truth(), strict=True)]))


def test_more_dimensions_more_recall() -> None:
    # MUVERA, section 3 of the paper: recall grows with the dimensions and hardly depends on the seed.
    found = {name: [encoded_recall(name, seed, 400) for seed in SEEDS] for name in PROFILES}
    assert np.mean(found["small"]) < np.mean(found["default"]) < np.mean(found["high"])
    assert all(np.std(recalls, ddof=1) <= 0.005 for recalls in found.values())
    assert min(found["high"]) >= 0.99
    assert encoded_recall("small", 0, 100) < encoded_recall("high", 0, 100)


@cache
def learned() -> MultiVectorLibraryIndex:
    data = corpus()
    return build_multivector_index(data.documents.values, data.documents.bounds(), threads=2)


def test_real_queries_get_the_recall_they_ask_for() -> None:
    data, index = corpus(), learned()
    assert index.calibration is not None and index.calibration.sample == "mixed_documents"
    found, _ = index.search(data.queries, data.query_offsets, 10)
    assert recall(found, truth(), 10) >= 0.97
    wanted = {target: index.calibration.width_for(target) for target in (0.9, 0.95, 0.97, 0.99)}
    assert wanted[0.9] < 50 and wanted[0.97] <= 100
    for target in wanted:
        found, _ = index.search(data.queries, data.query_offsets, 10, target_recall=target)
        assert recall(found, truth(), 10) >= target - 0.01


def test_learned_cells() -> None:
    data, index = corpus(), learned()
    assert index.inner.bytes_per_document() <= 512
    found, scores = index.search(data.queries, data.query_offsets, 10, candidates=100)
    exact, exact_scores = index.search(data.queries, data.query_offsets, 10, exact=True)
    assert recall(exact, truth(), 10) >= 0.999
    assert recall(found, truth(), 10) >= 0.99
    assert abs(ndcg(found, data.relevant, 10) - ndcg(exact, data.relevant, 10)) <= 0.01
    fewer, _ = index.search(data.queries, data.query_offsets, 10, candidates=20)
    muvera = build_multivector_index(
        data.documents.values,
        data.documents.bounds(),
        {"cells": "simhash", "calibrate": False},
        threads=2,
    )
    oblivious, _ = muvera.search(data.queries, data.query_offsets, 10, candidates=20)
    assert recall(fewer, truth(), 10) >= recall(oblivious, truth(), 10) + 0.1
    np.testing.assert_allclose(scores[:, 0], exact_scores[:, 0], rtol=1e-5)


def test_pooled_tokens_keep_the_ranking() -> None:
    data = corpus()
    exact = maxsim_scan(data.queries, data.query_offsets, data.documents, 10).rows
    values, offsets = pool_tokens(data.documents.values, data.documents.bounds(), 2, threads=2)
    assert len(values) < 0.51 * data.documents.token_count
    pooled = TokenRows(values, offsets, TokenEncoding.FLOAT16, 128)
    found = maxsim_scan(data.queries, data.query_offsets, pooled, 10, threads=2).rows
    assert ndcg(found, data.relevant, 10) >= ndcg(exact, data.relevant, 10) - 0.005
