"""A made-up data set for trying the benchmark without downloading anything.

It imitates what matters of embeddings: clusters of very unequal size, each a low-dimensional sheet with
a decaying spectrum, around a common offset. Results on it show that the tool works, not how an index does on
real data.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GENERATED = "generated"
ROWS = 50_000
QUERIES = 1_000
DIMENSIONS = 128

_CLUSTERS = 256
_LATENT = 24
_OFFSET = 0.35
_SPREAD = 0.55
_NOISE = 0.05


@dataclass(frozen=True)
class Generated:
    """Vectors of unit length (float32) compared by inner product."""

    metric: str
    base: NDArray[np.float32]
    queries: NDArray[np.float32]
    training_queries: NDArray[np.float32]
    source: str


def generate(
    rows: int | None = None, queries: int | None = None, *, dimensions: int = DIMENSIONS, seed: int = 0
) -> Generated:
    """The generated set; the same arguments always give the same bytes.

    Args:
        rows: base rows (default 50,000).
        queries: test queries (default 1,000); as many training queries are drawn beside them.
    """
    count = ROWS if rows is None else rows
    asked = QUERIES if queries is None else queries
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, _CLUSTERS + 1)
    weights /= weights.sum()
    centres = rng.standard_normal((_CLUSTERS, dimensions)) / np.sqrt(dimensions)
    offset = rng.standard_normal(dimensions)
    centres += _OFFSET * offset / np.linalg.norm(offset)
    latent = min(_LATENT, dimensions)
    spectrum = 1.0 / np.sqrt(np.arange(1, latent + 1))
    spectrum *= _SPREAD / np.linalg.norm(spectrum)
    sheets = (
        rng.standard_normal((_CLUSTERS, latent, dimensions)) * spectrum[None, :, None] / np.sqrt(dimensions)
    )

    total = count + 2 * asked
    cluster = rng.choice(_CLUSTERS, size=total, p=weights)
    vectors = np.empty((total, dimensions), np.float32)
    for index in range(_CLUSTERS):
        members = np.flatnonzero(cluster == index)
        inside = rng.standard_normal((len(members), latent)) @ sheets[index]
        noise = rng.standard_normal((len(members), dimensions)) * (_NOISE / np.sqrt(dimensions))
        vectors[members] = centres[index] + inside * np.sqrt(dimensions / latent) + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Generated(
        metric="ip",
        base=vectors[:count],
        queries=vectors[count : count + asked],
        training_queries=vectors[count + asked :],
        source=f"generated mixture of {_CLUSTERS} clusters, seed {seed} (not real data)",
    )
