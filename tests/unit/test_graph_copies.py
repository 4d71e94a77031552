"""Equal rows share a graph node, and come back as rows."""

import numpy as np
import pytest

from tests.conformance import cases


@pytest.mark.parametrize("kind", ["graph", "lvq", "leanvec"])
def test_every_copy_is_found(kind: str) -> None:
    rows = np.repeat(cases.clustered("float32")[:200], 12, axis=0)[
        np.random.default_rng(5).permutation(2_400)
    ]
    queries = cases.queries_near(rows, 20)
    distances = cases.true_distances(queries, rows, "l2")
    index = cases.build(kind, rows, "l2")
    allowed = np.random.default_rng(6).random(len(rows)) < 0.5
    for k in (1, 10, 30):
        assert cases.check_hits(index.search(queries, k, {}), distances, k) >= 0.95
        found = index.search(queries, k, {}, cases.words(allowed))
        assert cases.check_hits(found, distances, k, allowed) >= 0.95
