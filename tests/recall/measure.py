"""Measures the recall of every index kind on fixed data; run as a module it pins what it measured.

python -m tests.recall.measure
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders import Index, build_index, default_registry
from tests.helpers import shared_data

PINNED = Path(__file__).with_name("pinned.json")
TOLERANCE = 0.01
"""Builds on two threads differ a little from run to run."""
K = 10
REGISTRY = default_registry()


@dataclass(frozen=True)
class Data:
    """A set small enough to build in seconds; `truth` int64 [nq, K] by exact scan."""

    rows: NDArray[Any]
    queries: NDArray[np.float32]
    metric: str
    truth: NDArray[np.int64]


SETS = {"generated": 20_000, "arxiv-minilm-384-ip": 12_000, "mnist-784-l2": 10_000}
"""Sets, and how many of their first rows are used."""
KNOBS: dict[str, list[dict[str, int]]] = {
    "flat": [{}],
    "hnsw": [{}, {"ef": 16}, {"ef": 200}],
    "ivf": [{}, {"nprobe": 8}, {"nprobe": 200}],
    "graph": [{}],
    "lvq": [{}],
    "leanvec": [{}, {"ef": 16}, {"ef": 200}],
}
CASES = [(name, kind, knobs) for name in SETS for kind in KNOBS for knobs in KNOBS[kind]]
FILTER_CASES = [
    (family, kind) for family in ("own_primary_cat", "year_ge_2017", "year_within_1") for kind in KNOBS
]


def key(name: str, kind: str, detail: Any) -> str:
    """The name of a case in the pinned file."""
    return f"{name} {kind} {json.dumps(detail)}"


@functools.cache
def data(name: str) -> Data:
    """A data set by name; skips the test where it is not installed."""
    if name == "generated":
        rng = np.random.default_rng(11)
        centres = rng.normal(size=(200, 48))
        points = centres[rng.integers(200, size=SETS[name] + 300)]
        points = (points + 0.7 * rng.normal(size=points.shape)).astype(np.float32)
        rows, queries, metric = points[300:], points[:300], "cosine"
    else:
        loaded = shared_data.load(name)
        rows, queries, metric = (
            np.ascontiguousarray(loaded.base[: SETS[name]]),
            loaded.queries[:300],
            loaded.metric,
        )
    truth, _ = build_index(rows, metric=metric, kind="flat", registry=REGISTRY).search(queries, K, threads=2)
    return Data(rows, queries, metric, truth)


@functools.cache
def built(name: str, kind: str) -> Index:
    """The index of a kind with default parameters."""
    given = data(name)
    return build_index(given.rows, metric=given.metric, kind=kind, threads=2, registry=REGISTRY)


def measure(name: str, kind: str, knobs: dict[str, int]) -> float:
    """Recall at K."""
    given = data(name)
    return shared_data.recall(built(name, kind).search(given.queries, K, **knobs)[0], given.truth, K)


def measure_filtered(family: str, kind: str) -> float:
    """Recall at K over filtered queries of the papers, each with its own filter."""
    name = "arxiv-minilm-384-ip"
    given, filters = data(name), shared_data.Filters(shared_data.directory(name))
    exact, index = built(name, "flat"), built(name, kind)
    found, truth = [], []
    for query, conditions in zip(given.queries[:100], filters.conditions(family), strict=False):
        allow = filters.mask(conditions)[: SETS[name]]
        found.append(index.search(query, K, allow=allow)[0][0])
        truth.append(exact.search(query, K, allow=allow)[0][0])
    return shared_data.recall(np.array(found), np.array(truth), K)


def main() -> None:
    """Rewrite the pinned file."""
    pinned = {key(*case): round(measure(*case), 4) for case in CASES}
    for family, kind in FILTER_CASES:
        pinned[key("arxiv-minilm-384-ip", kind, family)] = round(measure_filtered(family, kind), 4)
    PINNED.write_text(json.dumps(pinned, indent=2) + "\n")


if __name__ == "__main__":
    main()
