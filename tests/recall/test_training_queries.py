"""Training queries help: recall with them against without, at equal dimensions, `ef` and work.

`nearfield bench --scenario projections` prints the comparison over whole sets.
"""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.index_builders import Index, build_index
from tests.helpers import shared_data
from tests.recall import measure

K: Final = 10
EFS: Final = (16, 32, 64, 128)
SETS: Final = ("arxiv-minilm-384-ip", "arxiv-minilm-meanmax-768-ip")
ROWS: Final = 10_000
ERRORS: Final = 3
"""Standard errors of the gain, over the same queries, that it must exceed where codes are short."""


@dataclass(frozen=True)
class Data:
    """Rows, test queries with `truth` int64 [nq, K] by exact scan, and training queries apart from these."""

    rows: NDArray[np.float16]
    queries: NDArray[np.float32]
    truth: NDArray[np.int64]
    training: NDArray[np.float32]


@functools.cache
def data(name: str) -> Data:
    """The first rows of a set; skips the test where it is not installed."""
    loaded, folder = shared_data.load(name), shared_data.directory(name)
    base = np.ascontiguousarray(loaded.base[:ROWS])
    training = np.load(folder / "train_queries.npy").astype(np.float32)
    exact = build_index(base, metric="ip", kind="flat", registry=measure.REGISTRY)
    return Data(base, loaded.queries, exact.search(loaded.queries, K, threads=2)[0], training)


def built(given: Data, dimensions: int, learned: bool) -> Index:
    """LeanVec of some dimensions, with training queries or without."""
    return build_index(
        given.rows, metric="ip", kind="leanvec", registry=measure.REGISTRY,
        params={"reduced_dimensions": dimensions, "calibrate": False},
        training_queries=given.training if learned else None,
    )  # fmt: skip


def recalls(index: Index, given: Data, ef: int) -> NDArray[np.float64]:
    """Of each query, float64 [nq]."""
    found = index.search(given.queries, K, ef=ef, threads=2)[0]
    return (found[:, :, None] == given.truth[:, None, :]).any(axis=2).mean(axis=1)


def gain(with_queries: NDArray[np.float64], without: NDArray[np.float64]) -> tuple[float, float]:
    """The mean gain and its standard error."""
    differences = with_queries - without
    return float(differences.mean()), float(differences.std() / len(differences) ** 0.5)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("dimensions", "errors"),
    [
        pytest.param(112, ERRORS, id="gain where codes are short"),
        pytest.param(240, 1, id="gain where the graph is the limit"),
    ],
)
def test_training_queries(name: str, dimensions: int, errors: int) -> None:
    given = data(name)
    with_queries, without = built(given, dimensions, True), built(given, dimensions, False)
    for ef in EFS:
        mean, error = gain(recalls(with_queries, given, ef), recalls(without, given, ef))
        assert mean > errors * error, f"ef {ef}: {mean:+.4f}, standard error {error:.4f}"
