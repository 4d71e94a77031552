"""Making faiss inverted lists: clustering a sample, assigning rows, and filling the lists without slack."""

import math
from dataclasses import dataclass
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext
from nearfield.index_builders.base_rows import BLOCK_ROWS, BaseRows, report

# Recall at equal work was the same with 64 points and 10 rounds, in a third of the time.
_POINTS_PER_CENTRE: Final = 24
_ROUNDS: Final = 6
_CLUSTERING_SHARE: Final = 0.7

_CODE_MAX: Final = 2.0**14
_CODE_MIN: Final = 2.0**-4


@dataclass(frozen=True)
class Coder:
    """Moves rows to where half precision resolves them: subtracts the mean, scales by a power of two.

    Neither changes who is nearest: l2 does not see a shift, and for ip it adds the same to every row's score.

    Args:
        centre: float32 [d].
        scale: power of two; 1 unless the rows are very large or very small.
        metric: as of the index.
    """

    centre: NDArray[np.float32]
    scale: float
    metric: str

    @classmethod
    def measure(cls, base: BaseRows) -> "Coder":
        """The mean of the rows, and a scale that keeps the largest deviation inside half precision."""
        total, largest = np.zeros(base.dimensions), 0.0
        for start in range(0, base.count, BLOCK_ROWS):
            total += base.block(slice(start, start + BLOCK_ROWS)).sum(axis=0, dtype=np.float64)
        centre = (total / max(base.count, 1)).astype(np.float32)
        for start in range(0, base.count, BLOCK_ROWS):
            largest = max(largest, float(np.abs(base.block(slice(start, start + BLOCK_ROWS)) - centre).max()))
        fits = largest == 0 or _CODE_MIN <= largest <= _CODE_MAX
        return cls(centre, 1.0 if fits else 2.0 ** -math.ceil(math.log2(largest)), base.metric)

    def rows(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centred and scaled rows, in place."""
        block -= self.centre
        if self.scale != 1.0:
            block *= np.float32(self.scale)
        return block

    def queries(self, prepared: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries to compare with such rows."""
        if self.metric == "l2":
            return self.rows(prepared.copy())
        return prepared


def cluster(base: BaseRows, coder: Coder, nlist: int, context: BuildContext) -> NDArray[np.float32]:
    """Cluster centres [nlist, d] of a sample of the rows, by k-means.

    Raises:
        Cancelled: `context.cancel` was set.
    """
    count = min(base.count, _POINTS_PER_CENTRE * nlist)
    if count == 0:
        return np.zeros((nlist, base.dimensions), dtype=np.float32)
    chosen = np.random.default_rng(context.seed).choice(base.count, count, replace=False)
    chosen.sort()
    sample = coder.rows(base.block(chosen))
    centres: NDArray[np.float32] | None = None
    for finished in range(_ROUNDS):
        report(context, _CLUSTERING_SHARE * finished / _ROUNDS)
        kmeans = faiss.Kmeans(
            base.dimensions, nlist, niter=1, seed=context.seed,
            min_points_per_centroid=1, max_points_per_centroid=_POINTS_PER_CENTRE,
        )  # fmt: skip
        kmeans.train(sample, init_centroids=centres)
        centres = kmeans.centroids
    assert centres is not None
    return centres


def fill_lists(base: BaseRows, coder: Coder, centres: NDArray[np.float32], context: BuildContext) -> Any:
    """The faiss index with every row in the list of its nearest centre, each list exactly as long as needed.

    Raises:
        Cancelled: `context.cancel` was set.
    """
    nearest = faiss.IndexFlatL2(base.dimensions)
    nearest.add(centres)
    list_of_row = np.empty(base.count, dtype=np.int64)
    for start, block in base.blocks(context, _CLUSTERING_SHARE, 0.5 * (1 - _CLUSTERING_SHARE)):
        list_of_row[start : start + len(block)] = nearest.search(coder.rows(block), 1)[1][:, 0]
    lists = _empty_lists(centres, base.metric)
    order = np.argsort(list_of_row, kind="stable")
    ends = np.cumsum(np.bincount(list_of_row, minlength=len(centres)))
    start = 0
    for number, end in enumerate(ends.tolist()):
        report(context, 1.0 - 0.5 * (1 - _CLUSTERING_SHARE) * (1 - end / max(base.count, 1)))
        _fill_list(lists.invlists, number, order[start:end], base, coder)
        start = end
    lists.ntotal = base.count
    return lists


def list_of_rows(lists: Any) -> NDArray[np.int32]:
    """The number of the list each row is in, int32 [n]."""
    found = np.empty(lists.ntotal, dtype=np.int32)
    for number in range(lists.nlist):
        size = lists.invlists.list_size(number)
        if size:
            found[faiss.rev_swig_ptr(lists.invlists.get_ids(number), size)] = number
    return found


def _empty_lists(centres: NDArray[np.float32], metric: str) -> Any:
    nlist, dimensions = centres.shape
    inner_product = metric != "l2"
    quantizer = faiss.IndexFlatIP(dimensions) if inner_product else faiss.IndexFlatL2(dimensions)
    quantizer.add(centres)
    lists = faiss.IndexIVFScalarQuantizer(
        quantizer, dimensions, nlist, faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT if inner_product else faiss.METRIC_L2, False,
    )  # fmt: skip
    lists.is_trained = True
    return lists


def _fill_list(invlists: Any, number: int, rows: NDArray[np.int64], base: BaseRows, coder: Coder) -> None:
    """Write one list in blocks; `resize` first, since appending would leave slack."""
    invlists.resize(number, len(rows))
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        codes = coder.rows(base.block(part)).astype(np.float16)
        invlists.update_entries(
            number, start, len(part), faiss.swig_ptr(part), faiss.swig_ptr(codes.view(np.uint8))
        )
