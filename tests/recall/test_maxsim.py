"""Exact MaxSim on real tokens: the stored ground truth, to the last place, and what 4-bit tokens cost."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_scan, maxsim_scores
from tests.helpers.shared_data import multivector_directory

Queries = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(scope="module")
def path() -> Path:
    return multivector_directory("cranfield-mv128")


@pytest.fixture(scope="module")
def queries(path: Path) -> Queries:
    return np.load(path / "query_tokens.npy").astype(np.float32), np.load(path / "query_offsets.npy")


def stored(path: Path, encoding: TokenEncoding) -> TokenRows:
    tokens = np.load(path / "doc_tokens.npy", mmap_mode="r")
    return TokenRows.encode(tokens, np.load(path / "doc_offsets.npy"), encoding)


@pytest.mark.parametrize("encoding", [TokenEncoding.FLOAT32, TokenEncoding.FLOAT16])
def test_ranking_is_the_ground_truth(path: Path, queries: Queries, encoding: TokenEncoding) -> None:
    truth, scores = np.load(path / "maxsim_gt_ids.npy"), np.load(path / "maxsim_gt_scores.npy")
    found = maxsim_scan(*queries, stored(path, encoding), truth.shape[1], threads=2)
    assert (found.rows == truth).all()
    assert np.allclose(-found.distances, scores, rtol=1e-5)


def test_every_document_scores_as_in_double_precision(path: Path, queries: Queries) -> None:
    documents = stored(path, TokenEncoding.FLOAT16)
    tokens, bounds = documents.values.astype(np.float64), documents.bounds()
    every = np.arange(documents.count, dtype=np.int64)[None]
    for i in (0, 100, 224):
        query = queries[0][queries[1][i] : queries[1][i + 1]]
        found = maxsim_scores(query, np.array([0, len(query)], np.int64), documents, every)
        expected = np.maximum.reduceat(query.astype(np.float64) @ tokens.T, bounds[:-1], axis=1).sum(axis=0)
        assert np.allclose(found[0], expected, rtol=1e-5)


def test_four_bits_cost_less_than_half_a_point_of_ndcg(path: Path, queries: Queries) -> None:
    half = stored(path, TokenEncoding.FLOAT16)
    codes = stored(path, TokenEncoding.LVQ4)
    assert codes.nbytes <= 0.3 * half.nbytes
    grades = relevance(path)
    exact = ndcg(maxsim_scan(*queries, half, 10, threads=2).rows, grades)
    assert exact > 0.37
    assert ndcg(maxsim_scan(*queries, codes, 10, threads=2).rows, grades) >= exact - 0.005


def relevance(path: Path) -> list[dict[int, float]]:
    """Grades by document, for each query."""
    numbers = []
    for name in ("queries.jsonl", "docs.jsonl"):
        lines = (path / name).read_text().splitlines()
        numbers.append({json.loads(line)["id"]: i for i, line in enumerate(lines)})
    grades: list[dict[int, float]] = [{} for _ in numbers[0]]
    for line in (path / "qrels.tsv").read_text().splitlines():
        query, document, grade = line.split()
        if query in numbers[0] and document in numbers[1]:
            grades[numbers[0][query]][numbers[1][document]] = max(float(grade), 0.0)
    return grades


def ndcg(found: NDArray[np.int64], grades: list[dict[int, float]]) -> float:
    """Mean nDCG at the number of columns, over the queries that have anything relevant."""
    discount = 1.0 / np.log2(np.arange(found.shape[1]) + 2.0)
    values = []
    for row, graded in zip(found.tolist(), grades, strict=True):
        ideal = np.sort(list(graded.values()))[::-1][: len(row)]
        if ideal.sum() > 0:
            gained = np.array([graded.get(document, 0.0) for document in row])
            values.append((gained * discount).sum() / (ideal * discount[: len(ideal)]).sum())
    return float(np.mean(values))
