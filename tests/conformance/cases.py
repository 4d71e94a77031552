"""What every conformance test needs: the kinds, clustered data of every stored type, an exact oracle."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext, Hits, IndexBuilder, Rows, VectorIndex
from nearfield.engine.segment import bitmap
from nearfield.index_builders import default_registry

REGISTRY = default_registry()
KINDS = REGISTRY.kinds()
KIND_METRICS = [(kind, metric) for kind in KINDS for metric in sorted(REGISTRY.builder(kind).metrics)]
DTYPES = ("float32", "float16", "uint8")
PLAIN = BuildContext()
ROWS, DIMENSIONS = 4_000, 24


def params_of(builder: IndexBuilder) -> Mapping[str, Any]:
    """Parameters under which the kind promises the same bytes for the same seed."""
    params = builder.parse_params({})
    return {**params, "deterministic": True} if "deterministic" in params else params


def build(kind: str, rows: Rows, metric: str, context: BuildContext = PLAIN, **params: Any) -> VectorIndex:
    builder = REGISTRY.builder(kind)
    return builder.build(rows, metric, builder.parse_params(params), context)


@functools.cache
def clustered(dtype: str, count: int = ROWS, dimensions: int = DIMENSIONS) -> Rows:
    """A mixture of 40 clusters, [count, dimensions]; not normalised, not centred."""
    rng = np.random.default_rng(count + dimensions)
    centres = rng.normal(size=(40, dimensions))
    rows = centres[rng.integers(40, size=count)] + 0.5 * rng.normal(size=(count, dimensions)) + 0.3
    if dtype == "uint8":
        return np.clip(rows * 40 + 100, 0, 255).astype(np.uint8)
    return rows.astype(dtype)


def queries_near(rows: Rows, count: int = 40) -> NDArray[np.float32]:
    """Noisy copies of some rows, so that queries come from where the data is."""
    rng = np.random.default_rng(7)
    picked = rows[rng.integers(len(rows), size=count)].astype(np.float32)
    return (picked + 0.2 * picked.std() * rng.normal(size=picked.shape)).astype(np.float32)


def true_distances(queries: NDArray[np.float32], rows: Rows, metric: str) -> NDArray[np.float64]:
    """All distances [nq, n] by the definitions, in double precision."""
    q, x = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return np.array([((x - one) ** 2).sum(axis=1) for one in q]).reshape(len(q), len(x))
    if metric == "l1":
        return np.array([np.abs(x - one).sum(axis=1) for one in q]).reshape(len(q), len(x))
    if metric == "cosine":
        q, x = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in (q, x))
        return 1 - q @ x.T
    return -q @ x.T


def check_hits(
    hits: Hits, distances: NDArray[np.float64], k: int, allowed: NDArray[np.bool_] | None = None
) -> float:
    """Assert everything a correct answer has, exactness apart; returns its recall, ties counted as found."""
    count = distances.shape[1]
    allowed = np.ones(count, dtype=np.bool_) if allowed is None else allowed
    expected = min(k, int(allowed.sum()))
    assert hits.rows.shape == hits.distances.shape == (len(distances), k)
    assert hits.rows.dtype == np.int64 and hits.distances.dtype == np.float32
    assert (hits.rows[:, expected:] == -1).all() and np.isposinf(hits.distances[:, expected:]).all()
    found, got = hits.rows[:, :expected], hits.distances[:, :expected]
    assert ((found >= 0) & (found < count)).all() and allowed[found].all()
    assert all(len(set(row)) == expected for row in found.tolist()), "a row came back twice"
    in_order = (got[:, :-1] < got[:, 1:]) | ((got[:, :-1] == got[:, 1:]) & (found[:, :-1] < found[:, 1:]))
    assert in_order.all(), "hits are not sorted by distance, then row"
    truth = np.take_along_axis(distances, found, axis=1)
    scale = 1 + np.abs(distances).max()
    np.testing.assert_allclose(got, truth, rtol=1e-4, atol=1e-5 * scale)
    if expected == 0:
        return 1.0
    worst = np.partition(np.where(allowed, distances, np.inf), expected - 1, axis=1)[:, expected - 1]
    return float((truth <= worst[:, None] + 1e-6 * scale).mean())


def words(allowed: NDArray[np.bool_]) -> NDArray[np.uint64]:
    return bitmap.from_bools(allowed)
