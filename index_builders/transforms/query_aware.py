"""Pairs of maps A, B [d, D] that keep <q, x> ~ <A q, B x> for queries unlike the rows.

All work on second moments alone: K_Q of the queries, K_X of the rows, so that what they cost does not depend
on how many there are. Less is lost from one to the next on any moments: principal directions, eigenvector
search, Frank-Wolfe, sphering (arXiv 2312.16335, section 2; sphering: arXiv 2410.22347).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_EIGENVALUE_LEAST: Final = 1e-6
"""Of the largest: smaller query variances are lifted to this when their root is inverted."""
_GOLDEN: Final = (5**0.5 - 1) / 2
_MIXTURE_PRECISION: Final = 0.02
_FRANK_WOLFE_STEPS: Final = 500
_FRANK_WOLFE_GAIN_LEAST: Final = 1e-3


@dataclass(frozen=True)
class Moments:
    """Second moments of centred rows and of queries, float64 [D, D]."""

    rows: NDArray[np.float64]
    queries: NDArray[np.float64]

    @classmethod
    def of(cls, rows: NDArray[np.float32], queries: Iterable[NDArray[np.float32]] | None) -> Self:
        """Of centred rows [m, D], and queries in blocks [t, D] centred like the metric wants; None: as rows.

        Few queries say little about directions they do not take: their moment is mixed with that of the rows,
        which counts like D queries. Without, maps for 200 queries of arxiv lose 1.7 times what PCA does.
        """
        of_rows = (rows.T @ rows).astype(np.float64) / max(len(rows), 1)
        of_queries, count = np.zeros_like(of_rows), 0
        for block in queries or ():
            of_queries += block.T @ block
            count += len(block)
        if not count:
            return cls(of_rows, of_rows)
        of_queries /= count
        share = len(of_rows) / (len(of_rows) + count)
        of_queries *= 1 - share
        of_queries += of_rows * (share * np.trace(of_queries) / (1 - share) / max(np.trace(of_rows), 1e-300))
        return cls(of_rows, of_queries)

    def loss(self, query_side: NDArray[np.float64], row_side: NDArray[np.float64]) -> float:
        """Share of the squared inner products that A, B lose: E(<q, x> - <A q, B x>)^2 / E <q, x>^2."""
        error = query_side.T @ row_side - np.eye(len(self.rows))
        lost = np.einsum("ij,ij->", self.queries @ error, error @ self.rows)
        total = np.einsum("ij,ij->", self.queries, self.rows)
        return float(lost / total) if total > 0 else 0.0


def principal(moment: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    """The directions of most variance, float64 [dimensions, D], falling."""
    return np.linalg.eigh(moment)[1][:, ::-1][:, :dimensions].T


def sphering(moments: Moments, dimensions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least loss over all products of that rank: A = P W^-1, B = P W with W = K_Q^1/2 and P the principal
    directions of W K_X W.
    """
    roots, axes = _roots(moments.queries)
    root = (axes * roots) @ axes.T
    top = principal(root @ moments.rows @ root, dimensions)
    return ((top @ axes) / roots) @ axes.T, top @ root


def eigenvector_search(moments: Moments, dimensions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A = B, the principal directions of that mixture of K_Q and K_X which loses least.

    Golden-section search; the paper finds a single minimum. The ends, queries or rows alone, are tried too.
    """
    queries = moments.queries / max(np.trace(moments.queries), 1e-300)
    rows = moments.rows / max(np.trace(moments.rows), 1e-300)
    tried: dict[float, tuple[float, NDArray[np.float64]]] = {}

    def loss(share: float) -> float:
        if share not in tried:
            side = principal((1 - share) * queries + share * rows, dimensions)
            tried[share] = (moments.loss(side, side), side)
        return tried[share][0]

    loss(0.0), loss(1.0)
    low, high = 0.0, 1.0
    left, right = 1 - _GOLDEN, _GOLDEN
    while high - low > _MIXTURE_PRECISION:
        if loss(left) <= loss(right):
            high, right = right, left
            left = high - _GOLDEN * (high - low)
        else:
            low, left = left, right
            right = low + _GOLDEN * (high - low)
    side = min(tried.values(), key=lambda found: found[0])[1]
    return side, side


def frank_wolfe(moments: Moments, dimensions: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frank-Wolfe over A, then B, in the unit ball of the spectral norm, from what eigenvector search finds.

    The loss is quadratic in each side, so that the best step is known and no step makes it larger.
    """
    query_side, row_side = eigenvector_search(moments, dimensions)
    loss = moments.loss(query_side, row_side)
    for _ in range(_FRANK_WOLFE_STEPS):
        query_side = _stepped(query_side, row_side, moments.queries, moments.rows)
        row_side = _stepped(row_side, query_side, moments.rows, moments.queries)
        before, loss = loss, moments.loss(query_side, row_side)
        if before - loss < _FRANK_WOLFE_GAIN_LEAST * before:
            break
    return query_side, row_side


def balanced(
    moments: Moments, query_side: NDArray[np.float64], row_side: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spread over both sides alike, which is best for codes after a rotation; products do not change."""
    query_spread = np.sqrt(np.einsum("ij,jk,ik->i", query_side, moments.queries, query_side, optimize=True))
    row_spread = np.sqrt(np.einsum("ij,jk,ik->i", row_side, moments.rows, row_side, optimize=True))
    balance = np.sqrt(np.maximum(query_spread, 1e-30) / np.maximum(row_spread, 1e-30))[:, None]
    return query_side / balance, row_side * balance


def _stepped(
    side: NDArray[np.float64],
    other: NDArray[np.float64],
    own_moment: NDArray[np.float64],
    other_moment: NDArray[np.float64],
) -> NDArray[np.float64]:
    """One step of one side: towards the matrix of the ball that the gradient points to, as far as is best."""
    weights = other @ other_moment
    spread = weights @ other.T
    gradient = 2 * (spread @ side - weights) @ own_moment
    left, _, right = np.linalg.svd(-gradient, full_matrices=False)
    towards = left @ right - side
    slope = np.einsum("ij,ij->", gradient, towards)
    curvature = 2 * np.einsum("ij,ij->", spread @ towards, towards @ own_moment)
    length = min(max(-slope / curvature, 0.0), 1.0) if curvature > 0 else 0.0
    moved: NDArray[np.float64] = side + length * towards
    return moved


def _roots(moment: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Roots of a positive semidefinite matrix's eigenvalues, the least of them lifted; its eigenvectors."""
    values, vectors = np.linalg.eigh(moment)
    return np.sqrt(np.maximum(values, _EIGENVALUE_LEAST * max(values[-1], 1e-30))), vectors
