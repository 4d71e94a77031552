"""Documents whose tokens lie around a few themes, so that there is something to learn from them."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows

DIMENSIONS, THEMES = 32, 40

Documents = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Tokens float32 [t, 32], back to back, and offsets int64 [n + 1]."""


def themed(count: int, seed: int = 0, empty_each: int = 7) -> Documents:
    """Documents about three of forty themes each; every so many-th has no tokens (0: none)."""
    rng = np.random.default_rng(seed)
    themes = np.random.default_rng(99).standard_normal((THEMES, DIMENSIONS))
    sizes = rng.integers(1, 25, count)
    if empty_each:
        sizes[::empty_each] = 0
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    of_token = rng.integers(0, THEMES, (count, 3))[
        np.repeat(np.arange(count), sizes), rng.integers(0, 3, offsets[-1])
    ]
    tokens = themes[of_token] + 0.7 * rng.standard_normal((offsets[-1], DIMENSIONS))
    return (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32), offsets


def themed_queries(count: int = 20) -> Documents:
    """Documents of their own that have tokens."""
    tokens, offsets = themed(2 * count, seed=5)
    kept = np.flatnonzero(np.diff(offsets))[:count]
    parts = [tokens[offsets[i] : offsets[i + 1]] for i in kept]
    return np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])])


def rotated(documents: Documents) -> Documents:
    """The same with every token turned likewise: as far from each other, and elsewhere."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((DIMENSIONS, DIMENSIONS)))[0]
    return (documents[0] @ rotation).astype(np.float32), documents[1]


def joined(*parts: Documents) -> Documents:
    """All documents, one part after the other."""
    lengths = np.concatenate([np.diff(offsets) for _, offsets in parts])
    return np.concatenate([tokens for tokens, _ in parts]), np.concatenate([[0], np.cumsum(lengths)])


def token_rows(documents: Documents) -> TokenRows:
    """As an index builder takes them."""
    return TokenRows(*documents, TokenEncoding.FLOAT32, DIMENSIONS)


def shared(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """Mean share of the true documents [nq, k] that are found."""
    return float(np.mean([np.isin(b, a).mean() for a, b in zip(found, true, strict=True)]))
