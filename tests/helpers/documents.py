"""Random documents of many vectors, and MaxSim in float64 as the oracle."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import Distance

Tokens = NDArray[np.float32]


def documents(count: int, seed: int = 0, size: int = 8, longest: int = 6) -> list[Tokens]:
    """Random matrices float32 [1..longest, size]."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, count)
    return [rng.standard_normal((length, size)).astype(np.float32) for length in lengths]


def score(query: Tokens, document: Tokens, distance: Distance) -> float:
    """The user-facing score of a query matrix against a document."""
    q, d = query.astype(np.float64), document.astype(np.float64)
    if distance is Distance.COSINE:
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
        d = d / np.linalg.norm(d, axis=1, keepdims=True)
    if distance.larger_is_nearer:
        return float((q @ d.T).max(axis=1).sum())
    differences: Any = q[:, None] - d[None]
    if distance is Distance.EUCLID:
        return float(np.sqrt((differences**2).sum(axis=2).min(axis=1).sum()))
    return float(np.abs(differences).sum(axis=2).min(axis=1).sum())


def ranking(query: Tokens, stored: Sequence[Tokens], distance: Distance) -> list[tuple[float, int]]:
    """Score and position of every document, best first."""
    scores = [score(query, document, distance) for document in stored]
    sign = -1 if distance.larger_is_nearer else 1
    return sorted(((found, at) for at, found in enumerate(scores)), key=lambda pair: sign * pair[0])
