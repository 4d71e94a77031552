"""A small deterministic text vectoriser: latent semantic analysis over hashed words and letter groups.

Texts become sparse tf-idf rows (words, and groups of four letters, which let `compressing` meet `compress`),
hashed into a fixed number of columns; a randomised truncated SVD of the fitted texts gives the dense space.
Terms that are used together end up near each other, so a search finds texts that share no word with it.
numpy only, nothing to download.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

COLUMNS = 1 << 15
"""Hashed features; collisions are rare at the vocabulary of a few thousand texts."""
GROUP_LETTERS = 4
GROUP_WEIGHT = 0.35
"""Weight of one letter group against a whole word: groups help a match, words make it."""
OVERSAMPLED = 32
"""Random directions beyond the wanted dimensions that the SVD works with."""
CHUNK_ENTRIES = 2_000
"""Sparse entries multiplied at once: the dense temporaries (about 2 MB) stay in the cache."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_STOP_WORDS = (
    "a an and are as at be been but by can do does for from get has have how if in into is it its may not of "
    "on or other should so such than that the their then there these they this to used using was when "
    "where whether which will with you your"
)
_IGNORED = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class _Sparse:
    """Rows of (column, weight) entries: those of row i are entries starts[i] : starts[i + 1]."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __matmul__(self, dense: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [rows, m] = self [rows, c] @ dense [c, m]."""
        rows = len(self.starts) - 1
        product = np.zeros((rows, dense.shape[1]), np.float32)
        first = 0
        while first < rows:
            reach = int(self.starts[first]) + CHUNK_ENTRIES
            last = max(first + 1, int(np.searchsorted(self.starts, reach, side="right")) - 1)
            begin, end = int(self.starts[first]), int(self.starts[last])
            lengths = np.diff(self.starts[first : last + 1])
            filled = np.flatnonzero(lengths) + first
            if len(filled):
                terms = dense[self.columns[begin:end]] * self.weights[begin:end, None]
                product[filled] = np.add.reduceat(terms, self.starts[filled] - begin, axis=0)
            first = last
        return product

    def transposed(self, columns: int) -> "_Sparse":
        """The same entries by column."""
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        starts = np.concatenate(([0], np.cumsum(np.bincount(self.columns, minlength=columns))))
        return _Sparse(starts.astype(np.int64), rows[order], self.weights[order])


class TextVectoriser:
    """Turns texts into unit vectors; `fit` once, then `transform` as often as wanted.

    Args:
        size: dimensions of the vectors.
        seed: of the random projection; the same texts, size and seed give the same vectors.
    """

    def __init__(self, size: int = 256, seed: int = 0) -> None:
        self.size = size
        self._seed = seed
        self._rarity = np.ones(COLUMNS, np.float32)
        self._basis = np.zeros((COLUMNS, size), np.float32)

    def fit(self, texts: Sequence[str], on_step: Callable[[], None] = lambda: None) -> NDArray[np.float32]:
        """Learns the space from `texts` and returns their vectors, float32 [n, size].

        Args:
            on_step: called `FIT_STEPS` times while the work goes on.
        """
        counted = _count(texts)
        seen = np.bincount(counted.columns, minlength=COLUMNS)
        self._rarity = np.log((1 + len(texts)) / (1 + seen)).astype(np.float32) + 1
        rows = self._weighted(counted)
        on_step()
        columns = rows.transposed(COLUMNS)
        directions = np.random.default_rng(self._seed).standard_normal(
            (COLUMNS, self.size + OVERSAMPLED), dtype=np.float32
        )
        for _ in range(2):
            spanned = _orthonormal(rows @ directions)
            on_step()
            directions = columns @ spanned
            on_step()
        basis = _orthonormal(directions)[:, : self.size]
        self._basis[:] = 0
        self._basis[:, : basis.shape[1]] = basis
        dense = _unit(rows @ self._basis)
        on_step()
        return dense

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of new texts, float32 [n, size], unit length; zeros for a text without known features."""
        return _unit(self._weighted(_count(texts)) @ self._basis)

    def _weighted(self, counted: _Sparse) -> _Sparse:
        weights = counted.weights * self._rarity[counted.columns]
        rows = np.repeat(np.arange(len(counted.starts) - 1), np.diff(counted.starts))
        norms = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2, len(counted.starts) - 1))
        return _Sparse(counted.starts, counted.columns, (weights / norms[rows]).astype(np.float32))


FIT_STEPS = 6


def _count(texts: Sequence[str]) -> _Sparse:
    """Square roots of weighted feature counts, columns ascending in each row."""
    starts: list[int] = [0]
    columns: list[int] = []
    weights: list[float] = []
    for text in texts:
        counts: dict[int, float] = {}
        for word in _WORD.findall(text):
            for column, weight in _features(word):
                counts[column] = counts.get(column, 0.0) + weight
        row = sorted(counts)
        columns.extend(row)
        weights.extend(counts[column] for column in row)
        starts.append(len(columns))
    counted = np.array(weights, np.float32)
    return _Sparse(np.array(starts, np.int64), np.array(columns, np.int64), np.sqrt(counted))


@lru_cache(maxsize=100_000)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """(column, weight) of one word: itself without a plural s, and its letter groups."""
    word = word.lower()
    if word in _IGNORED or len(word) < 2:
        return ()
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    padded = f"^{word}$"
    groups = {padded[i : i + GROUP_LETTERS] for i in range(len(padded) - GROUP_LETTERS + 1)}
    whole = (_column(f"word:{word}"), 1.0)
    return (whole, *((_column(f"group:{group}"), GROUP_WEIGHT) for group in sorted(groups)))


def _column(feature: str) -> int:
    return crc32(feature.encode()) % COLUMNS


def _orthonormal(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """Left singular vectors, those of the largest singular values first; vanishing ones are left out.

    Through the small Gram matrix: two large products, where a QR decomposition makes thousands of small ones.
    """
    values, vectors = np.linalg.eigh(dense.T @ dense)
    largest = np.flatnonzero(values > values[-1] * 1e-6)[::-1]
    turned: NDArray[np.float32] = dense @ (vectors[:, largest] / np.sqrt(values[largest]))
    return turned


def _unit(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(dense, axis=1, keepdims=True)
    norms[norms == 0] = 1
    unit: NDArray[np.float32] = dense / norms
    return unit
