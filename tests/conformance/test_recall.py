"""Every kind finds what is there: recall floors, exact distances, every metric and stored type."""

import numpy as np
import pytest

from nearfield.engine.errors import InvalidRequest
from tests.conformance import cases
from tests.helpers import shared_data

FLOOR = 0.95


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_default_parameters_reach_the_floor(kind: str, metric: str, dtype: str) -> None:
    rows = cases.clustered(dtype)
    queries = cases.queries_near(rows)
    index = cases.build(kind, rows, metric)
    assert (index.kind, index.metric, index.count, index.dimensions) == (kind, metric, *rows.shape)
    distances = cases.true_distances(queries, rows, metric)
    for k in (1, 10, 100):
        assert cases.check_hits(index.search(queries, k, {}), distances, k) >= FLOOR


@pytest.mark.parametrize("kind", cases.KINDS)
def test_real_images(kind: str) -> None:
    images = shared_data.load("mnist-784-l2")
    rows = np.ascontiguousarray(images.base[:6_000])
    index = (
        cases.build(kind, rows, "l2", m=12, ef_construction=80)
        if kind == "hnsw"
        else cases.build(kind, rows, "l2")
    )
    queries = images.queries[:50]
    assert (
        cases.check_hits(index.search(queries, 10, {}), cases.true_distances(queries, rows, "l2"), 10)
        >= FLOOR
    )


@pytest.mark.parametrize("kind", cases.KINDS)
def test_rows_far_from_the_origin(kind: str) -> None:
    # What half-precision codes or a squared expansion would lose: small differences on top of a large offset.
    rows = (cases.clustered("float32") + np.float32(300)).astype(np.float32)
    queries = cases.queries_near(cases.clustered("float32")) + np.float32(300)
    distances = cases.true_distances(queries, rows, "l2")
    assert cases.check_hits(cases.build(kind, rows, "l2").search(queries, 10, {}), distances, 10) >= FLOOR


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_rows_of_extreme_magnitude(kind: str, factor: float) -> None:
    rows = cases.clustered("float32") * np.float32(factor)
    queries = cases.queries_near(cases.clustered("float32")) * np.float32(factor)
    exact = cases.build("flat", rows, "l2").search(queries, 10, {})
    found = cases.build(kind, rows, "l2").search(queries, 10, {})
    assert (
        np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(found.rows, exact.rows, strict=True)])
        >= FLOOR
    )


@pytest.mark.parametrize("kind", cases.KINDS)
def test_a_metric_is_declared_or_refused(kind: str) -> None:
    for metric in ("l2", "ip", "cosine", "l1"):
        if metric in cases.REGISTRY.builder(kind).metrics:
            assert cases.REGISTRY.resolve({"kind": kind}, 50_000, 8, metric).kind == kind
        else:
            with pytest.raises(InvalidRequest, match=f"`{kind}` computes .*, not {metric}"):
                cases.REGISTRY.resolve({"kind": kind}, 50_000, 8, metric)


@pytest.mark.parametrize("knob", ["ef", "nprobe", "threads"])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_knobs_are_integers_of_at_least_one(kind: str, knob: str) -> None:
    index = cases.build(kind, cases.clustered("float32"), "l2")
    queries = cases.queries_near(cases.clustered("float32"), 2)
    understood = {"flat": {"threads"}, "hnsw": {"ef", "threads"}, "ivf": {"nprobe", "threads"}}
    for value in (0, -1, 2.5, "3", True):
        if knob in understood.get(kind, set()):
            with pytest.raises(InvalidRequest, match=f"{knob} must be an integer"):
                index.search(queries, 3, {knob: value})
    index.search(queries, 3, {"no_such_knob": "ignored"})
