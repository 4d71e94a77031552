"""Learned cells: what MUVERA's random cells and projections become where there is data to learn from.

A document's value in a cell is the mean of its tokens weighted by a softmax of their products with the
centre, less the mean of all tokens; the values of all cells, one behind the other, are weighted by what
tokens of a query ask of them and projected by PCA of a sample of documents. A query is the sum over its
tokens of the inverse weights and the projection of the token's cell. Measured in decision record 0013.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.multivector.encoding import Sets, cancel_flag, parts
from nearfield.index_builders.multivector.responses import ASKING_PER_CELL, fit_query_side

_TOKENS_PER_CELL: Final = 100
_ROUNDS: Final = 10
_CODE_BLOCK: Final = 64
_CELLS_AT_ONCE: Final = 32
# Whole sphering (exponent 1, LeanVec's choice for squared errors over all pairs) and none are both worse
# where only the best documents count: decision 0013.
_SPHERING: Final = 0.5
_POPULARITY: Final = 0.25
_PRIOR_TOKENS: Final = 30.0
_PRIOR_COUNT: Final = 10.0
_EIGENVALUE_LEAST: Final = 1e-4
_SPARE_VECTORS: Final = 48
_SUBSPACE_ROUNDS: Final = 6
_CHOLESKY_RIDGE: Final = 1e-10
_LEAST_VARIANCE: Final = 1e-9
_ARRAYS: Final = ("centres", "mean", "row_codes", "row_scales", "origin", "codes", "scales")


class LearnedEncoding:
    """Everything learned, as arrays.

    Args:
        centres: float32 [cells, d], of unit length.
        mean: float32 [d], of all tokens.
        row_codes: int8 [cells, width, d rounded up to 64] with `row_scales` float32 [cells, width], projects
            documents; only they need it, so it stays on disk.
        origin: float32 [width], subtracted from encodings of documents.
        codes, scales: the same for tokens of queries.
    """

    cells = "kmeans"

    def __init__(
        self,
        centres: NDArray[np.float32],
        mean: NDArray[np.float32],
        row_codes: NDArray[np.int8],
        row_scales: NDArray[np.float32],
        origin: NDArray[np.float32],
        codes: NDArray[np.int8],
        scales: NDArray[np.float32],
    ) -> None:
        self._centres, self._mean, self._origin = centres, mean, origin
        self._row_codes, self._row_scales = row_codes, row_scales
        self._codes, self._scales = codes, scales
        self._sums = codes.sum(axis=2, dtype=np.int32)
        self._native = _native.LearnedCells(centres, mean)
        self._projection: _native.CellProjection | None = None
        self.dimensions: int = centres.shape[1]
        self.width: int = codes.shape[1]

    @classmethod
    def open(cls, load: Callable[[str], Any]) -> "LearnedEncoding":
        """The encoding of an index's files."""
        return cls(*(load(name) for name in _ARRAYS))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See Encoding."""
        return {name: getattr(self, f"_{name}") for name in _ARRAYS}

    def documents(self, sets: Sets, context: BuildContext) -> NDArray[np.float32]:
        """See Encoding."""
        if self._projection is None:
            self._projection = _native.CellProjection(self._row_codes, self._row_scales, self.dimensions)
        return self._native.encode_documents(
            *sets, self._projection, self._origin, shared_pool(context.threads), cancel_flag(context)
        )

    def queries(self, sets: Sets, threads: int) -> NDArray[np.float32]:
        """See Encoding."""
        return self._native.encode_queries(*sets, self._codes, self._scales, self._sums, shared_pool(threads))

    def forget_rows(self) -> None:
        """Lets go of what only documents need, which is read again when there are some."""
        self._projection = None

    def resident_bytes(self) -> int:
        """The centres, once as stored and once packed, and the query side."""
        return 2 * self._centres.nbytes + sum(a.nbytes for a in (self._codes, self._scales, self._sums))


def learn(
    documents: TokenRows, cells: int, width: int, sample_documents: int, context: BuildContext
) -> LearnedEncoding:
    """Cells and projection of a sample of documents.

    Args:
        cells: at most the sample's tokens.
        width: of the encodings; fewer where the sample has fewer documents.

    Raises:
        Cancelled: `context.cancel` was set.
    """
    rng = np.random.default_rng(context.seed)
    with_tokens = np.flatnonzero(np.diff(documents.bounds()))
    picked = with_tokens
    if len(picked) > sample_documents:
        picked = np.sort(rng.choice(with_tokens, sample_documents, replace=False))
    sample = documents.take(picked)
    tokens = sample.decode()
    mean = tokens.mean(axis=0)
    centres = _centres(tokens, min(cells, len(tokens)), context)
    report(context, 0.1)
    native = _native.LearnedCells(centres, mean)
    values = np.empty((sample.count, centres.size), np.float16)
    pool = shared_pool(context.threads)
    for first, sets in parts(sample):
        values[first : first + len(sets[1]) - 1] = native.blocks(*sets, pool, cancel_flag(context))
    asking = tokens if context.training_queries is None else context.training_queries
    weights = _Weights.learn(asking, native.assign(asking, pool), len(centres))
    found = _principal(values, width, weights, context)
    del values  # the largest of all
    row_side = _by_cell(found.axes, weights.of_rows)
    origin = np.einsum("cwd,cd->w", row_side, found.mean.reshape(len(centres), -1))
    rows = _rounded(row_side)
    query_side = _by_cell(found.axes, weights.of_queries)
    if len(found.lengths):  # documents differ
        picked = np.sort(rng.permutation(len(asking))[: ASKING_PER_CELL * len(centres)])
        asking = asking[picked]
        of_cell, own = native.assign(asking, pool), None
        if context.training_queries is None:
            own = np.searchsorted(sample.bounds(), picked, side="right") - 1
        fit_query_side(query_side, asking, of_cell, own, sample, found.vectors, found.lengths, context)
    report(context, 0.4)
    return LearnedEncoding(centres, mean, *rows, origin, *_rounded(query_side))


def _centres(tokens: NDArray[np.float32], cells: int, context: BuildContext) -> NDArray[np.float32]:
    """Spherical k-means on a sample of tokens."""
    rng = np.random.default_rng(context.seed + 1)
    wanted = min(len(tokens), cells * _TOKENS_PER_CELL)
    sample = tokens[np.sort(rng.choice(len(tokens), wanted, replace=False))]
    faiss.omp_set_num_threads(context.threads)
    trained = faiss.Kmeans(
        tokens.shape[1], cells, niter=_ROUNDS, seed=context.seed + 1, spherical=True,
        min_points_per_centroid=1, max_points_per_centroid=_TOKENS_PER_CELL,
    )  # fmt: skip
    trained.train(np.ascontiguousarray(sample))
    return np.array(trained.centroids, dtype=np.float32)


@dataclass(frozen=True)
class _Weights:
    """A symmetric matrix for each cell and its inverse, float32 [cells, d, d]; their product changes nothing.

    Errors of the projection are spread where tokens of queries in that cell have little weight: a root of
    their second moment, times a root of their number.
    """

    of_rows: NDArray[np.float32]
    of_queries: NDArray[np.float32]

    @classmethod
    def learn(cls, tokens: NDArray[np.float32], assigned: NDArray[np.int32], cells: int) -> "_Weights":
        moments = np.empty((cells, tokens.shape[1], tokens.shape[1]), np.float32)
        overall = tokens.T @ tokens / len(tokens)
        order = np.argsort(assigned, kind="stable")
        counts = np.bincount(assigned, minlength=cells)
        for cell, members in enumerate(np.split(order, np.cumsum(counts)[:-1])):
            part = tokens[members]
            moments[cell] = (part.T @ part + _PRIOR_TOKENS * overall) / (len(part) + _PRIOR_TOKENS)
        variances, axes = np.linalg.eigh(moments)
        variances = np.maximum(variances, _EIGENVALUE_LEAST * np.maximum(variances[:, -1:], 1e-30))
        roots = variances ** (_SPHERING / 2)
        common = (counts + _PRIOR_COUNT) / (counts.mean() + _PRIOR_COUNT)
        roots *= (common ** (_POPULARITY / 2)).astype(np.float32)[:, None]
        turned = axes.transpose(0, 2, 1)
        return cls((axes * roots[:, None, :]) @ turned, (axes / roots[:, None, :]) @ turned)


@dataclass(frozen=True)
class _Principal:
    """Principal axes float32 [width, D] of rows [n, D], the mean [D] of those before they were weighted, and
    the rows along the axes, vectors [n, width] * lengths [width].
    """

    axes: NDArray[np.float32]
    mean: NDArray[np.float32]
    vectors: NDArray[np.float32]
    lengths: NDArray[np.float32]


def _principal(
    values: NDArray[np.float16], width: int, weights: _Weights, context: BuildContext
) -> _Principal:
    """Principal axes of weighted rows [n, D] with D far above n.

    They come from the n x n matrix of products of the centred rows.
    """
    count, size = values.shape
    mean = values.mean(axis=0, dtype=np.float32)
    cells, dimensions = weights.of_rows.shape[:2]

    def blocks(done: float, share: float) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for cell in range(0, cells, _CELLS_AT_ONCE):
            report(context, done + share * cell / cells)
            matrices = weights.of_rows[cell : cell + _CELLS_AT_ONCE]
            where = slice(cell * dimensions, (cell + len(matrices)) * dimensions)
            centred = values[:, where].astype(np.float32) - mean[where]
            by_cell = centred.reshape(count, -1, dimensions).transpose(1, 0, 2)
            yield where, (by_cell @ matrices).transpose(1, 0, 2).reshape(count, -1)

    products = np.zeros((count, count), np.float32)
    for _, block in blocks(0.1, 0.15):
        products += block @ block.T
    variances, vectors = _largest(products, min(width, count), context.seed)
    kept = variances > _LEAST_VARIANCE * max(float(variances[0]), 1e-30)
    vectors, lengths = vectors[:, kept], np.sqrt(variances[kept])
    combine = (vectors / lengths).T
    axes = np.zeros((max(len(combine), 1), size), np.float32)
    for where, block in blocks(0.3, 0.1):
        axes[: len(combine), where] = combine @ block
    return _Principal(axes, mean, vectors, lengths)


def _largest(
    products: NDArray[np.float32], wanted: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The largest eigenvalues [wanted] and eigenvectors [n, wanted] of a symmetric matrix, descending.

    A few of many come from subspace iteration (Halko, Martinsson and Tropp, 2011): a whole decomposition
    takes far longer.
    """
    width = wanted + _SPARE_VECTORS
    if 2 * width >= len(products):
        values, vectors = np.linalg.eigh(products)
        return values[::-1][:wanted], vectors[:, ::-1][:, :wanted]
    basis = np.random.default_rng(seed).standard_normal((len(products), width)).astype(np.float32)
    for _ in range(_SUBSPACE_ROUNDS):
        basis = _orthonormal(products @ basis)
    values, vectors = np.linalg.eigh(basis.T @ (products @ basis))
    return values[::-1][:wanted], (basis @ vectors[:, ::-1])[:, :wanted]


def _orthonormal(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """A basis of the columns' span by Cholesky's factor of their products: matrix products all through."""
    wide = columns.astype(np.float64)
    products = wide.T @ wide
    scale = 1 / np.sqrt(np.maximum(np.diag(products), np.finfo(np.float64).tiny))
    products = products * scale[:, None] * scale
    products[np.diag_indices_from(products)] += _CHOLESKY_RIDGE
    factor = np.linalg.inv(np.linalg.cholesky(products))
    return np.asarray(wide @ (scale[:, None] * factor.T), np.float32)


def _by_cell(axes: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Axes [width, cells * d] times each cell's symmetric weights: [cells, width, d]."""
    cells, dimensions = weights.shape[:2]
    product: NDArray[np.float32] = axes.reshape(len(axes), cells, dimensions).transpose(1, 0, 2) @ weights
    return product


def _rounded(matrices: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Matrices [cells, width, d] as int8 with a scale for every row."""
    cells, width, dimensions = matrices.shape
    largest = np.abs(matrices).max(axis=2)
    scales = np.ascontiguousarray(np.where(largest > 0, largest / 127, 1), np.float32)
    codes = np.zeros((cells, width, -(-dimensions // _CODE_BLOCK) * _CODE_BLOCK), np.int8)
    for code, matrix, scale in zip(codes, matrices, scales, strict=True):
        code[:, :dimensions] = np.rint(matrix / scale[:, None])
    return codes, scales
