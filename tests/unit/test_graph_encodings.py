"""The compressed graph with every encoding it offers: recall, files, memory; what training queries change."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine.index.protocol import BuildContext
from tests.conformance import cases

CHOICES: list[tuple[str, dict[str, Any]]] = [
    *(("lvq", {"encoding": encoding}) for encoding in ("lvq4", "lvq8", "lvq4x4", "lvq4x8", "lvq8x8")),
    ("lvq", {"encoding": "lvq4x8", "rotation": True}),
    ("lvq", {"encoding": "lvq4", "rotation": True}),
    ("lvq", {"encoding": "lvq4", "clip": False}),
    *(("graph", {"secondary_encoding": secondary}) for secondary in ("none", "lvq4", "lvq8")),
    *(("leanvec", {"primary_encoding": primary, "reduced_dimensions": 60}) for primary in ("lvq4", "lvq8")),
]
IDS = [" ".join([kind, *map(str, params.values())]) for kind, params in CHOICES]
ROWS, DIMENSIONS = 2_000, 150


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("kind, params", CHOICES, ids=IDS)
def test_recall(kind: str, params: dict[str, Any], metric: str) -> None:
    rows = cases.clustered("float32", ROWS, DIMENSIONS)
    queries = cases.queries_near(rows)
    hits = cases.build(kind, rows, metric, **params).search(queries, 10, {"ef": 60})
    assert cases.check_hits(hits, cases.true_distances(queries, rows, metric), 10) >= 0.98


@pytest.mark.parametrize("kind, params", CHOICES, ids=IDS)
def test_opens_as_it_was_saved_and_is_as_large_as_estimated(
    kind: str, params: dict[str, Any], tmp_path: Path
) -> None:
    rows = cases.clustered("float32", ROWS, DIMENSIONS)
    builder = cases.REGISTRY.builder(kind)
    parsed = builder.parse_params(params)
    index = builder.build(rows, "l2", parsed, cases.PLAIN)
    says = index.resident_bytes()
    assert abs(builder.estimate_bytes(ROWS, DIMENSIONS, parsed) - says) <= 0.25 * says
    index.save(tmp_path)
    opened = builder.open(tmp_path, rows, "l2", parsed)
    queries = cases.queries_near(rows)
    expected, found = index.search(queries, 10, {}), opened.search(queries, 10, {})
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert opened.resident_bytes() == says


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
@pytest.mark.parametrize("method", ["pca", "sphering", "eigenvector_search", "frank_wolfe"])
def test_every_method_learns_from_training_queries(method: str, metric: str) -> None:
    rows = cases.clustered("float32", ROWS, DIMENSIONS)
    queries = cases.queries_near(rows, 540)
    context = BuildContext(training_queries=queries[40:])
    index = cases.build("leanvec", rows, metric, context, method=method, reduced_dimensions=40)
    hits = index.search(queries[:40], 10, {"ef": 100})
    assert cases.check_hits(hits, cases.true_distances(queries[:40], rows, metric), 10) >= 0.97
