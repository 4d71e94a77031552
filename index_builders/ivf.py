"""IVF through faiss: rows grouped by nearest centre, half-precision codes, exact distances in answers."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.protocol import BuildContext, Hits, Rows
from nearfield.engine.segment import bitmap
from nearfield.index_builders.base_rows import BaseRows, padded, report
from nearfield.index_builders.files import open_header, save_header
from nearfield.index_builders.ivf_lists import Coder, cluster, fill_lists, list_of_rows
from nearfield.index_builders.params import IntParam, knob, not_calibrated, parse, target_recall
from nearfield.index_builders.scans import ByScan

KIND: Final = "ivf"
FORMAT_VERSION: Final = 1
LISTS_NAME: Final = "ivf.faiss"
CENTRE_NAME: Final = "centre.npy"

PARAMS: Final = (IntParam("nlist", None, 1, 1_000_000), IntParam("nprobe", None, 1, 1_000_000))

# Candidates beyond k whose exact distances are computed: half-precision codes may swap near neighbours.
_EXTRA_CANDIDATES: Final = 8
# Without a given nprobe, at least this many rows are met per wanted hit.
_ROWS_MET_PER_HIT: Final = 10
# A probed row costs about this many scanned rows (codes of 2 bytes, one list after another); a rejected one
# next to nothing.
_SCAN_ROWS_PER_PROBED_ROW: Final = 0.7
_SCAN_ROWS_PER_REJECTED_ROW: Final = 0.05


class IvfIndex(ByScan):
    """Inverted lists of half-precision codes of the centred rows."""

    kind = KIND

    def __init__(self, base: BaseRows, coder: Coder, lists: Any, params: Mapping[str, Any]) -> None:
        self._base = base
        self._coder = coder
        self._lists = lists
        self._list_of_row = list_of_rows(lists)
        self._nprobe: int = params["nprobe"] or default_nprobe(lists.nlist)
        self.metric = base.metric
        self.count = base.count
        self.dimensions = base.dimensions

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; knobs: `nprobe`, `threads`.

        A filter makes a query probe lists, nearest first, until it has met as many allowed rows as `nprobe`
        lists hold on average; where that takes unusually many lists, or a scan of the allowed rows costs
        less, these are scanned.
        """
        threads = knob(params, "threads") or 1
        allowed = self.count if allow is None else bitmap.count(allow)
        if allowed == 0 or self.equivalent_scan_rows(k, params, allowed) >= allowed:
            return self._base.scan(queries, k, allow, threads)
        nprobe = self._probes(k, params)
        prepared = self._base.prepared(queries)
        encoded = self._coder.queries(prepared)
        wanted = min(k + _EXTRA_CANDIDATES, self.count)
        faiss.omp_set_num_threads(threads)  # of the calling thread only
        if allow is None:
            _, rows = self._lists.search(encoded, wanted, params=_options(nprobe))
        else:
            rows = self._probe_allowed(encoded, wanted, nprobe, allow)
        return self._complete(queries, prepared, rows, k, min(k, allowed), allow, threads)

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """See VectorIndex: the centres, the allowed rows that are met, and those rejected on the way."""
        nlist = self._lists.nlist
        nprobe = self._probes(k, params)
        met = max(nprobe * self.count / nlist, k)
        rejected = met * (self.count / max(allowed, 1) - 1)
        return float(nlist + _SCAN_ROWS_PER_PROBED_ROW * met + _SCAN_ROWS_PER_REJECTED_ROW * rejected)

    def save(self, directory: Path) -> list[Path]:
        """Write faiss's file, the centre, inverse norms where there are any, and the header."""
        files = [*self._base.save(directory), directory / LISTS_NAME, directory / CENTRE_NAME]
        faiss.write_index(self._lists, str(directory / LISTS_NAME))
        np.save(directory / CENTRE_NAME, self._coder.centre)
        facts = {**self._base.facts(), "code_scale": self._coder.scale}
        return [*files, save_header(directory, KIND, FORMAT_VERSION, facts, files)]

    def resident_bytes(self) -> int:
        """Codes, ids, the list of each row, and centres."""
        per_row = self._lists.code_size + 8 + self._list_of_row.itemsize
        centres = self._lists.nlist * 4 * self.dimensions
        return int(self.count * per_row + centres) + self._base.resident_bytes()

    def _probes(self, k: int, params: Mapping[str, Any]) -> int:
        if target_recall(params) is not None:
            raise not_calibrated(KIND)
        nlist: int = self._lists.nlist
        wide_enough = math.ceil(_ROWS_MET_PER_HIT * k * nlist / max(self.count, 1))
        return min(knob(params, "nprobe") or max(self._nprobe, wide_enough), nlist)

    def _probe_allowed(
        self, encoded: NDArray[np.float32], wanted: int, nprobe: int, allow: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Rows [nq, wanted], -1 padded, from the nearest lists that together hold enough allowed rows."""
        lists, distances = self._lists_with_enough(encoded, wanted, nprobe, allow)
        width = lists.shape[1]
        selector = faiss.IDSelectorBitmap(8 * len(allow), faiss.swig_ptr(allow.view(np.uint8)))
        options = _options(width)
        options.sel = selector
        found = np.empty((len(encoded), wanted), dtype=np.int64)
        scores = np.empty((len(encoded), wanted), dtype=np.float32)
        self._lists.search_preassigned_c(
            len(encoded), faiss.swig_ptr(encoded), wanted, faiss.swig_ptr(lists), faiss.swig_ptr(distances),
            faiss.swig_ptr(scores), faiss.swig_ptr(found), False, options,
        )  # fmt: skip
        return found

    def _lists_with_enough(
        self, encoded: NDArray[np.float32], wanted: int, nprobe: int, allow: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Each query's nearest lists, -1 after the last it needs, and their distances, both [nq, width].

        A query that needs one and a half times the lists that an unrelated filter would make it probe gets
        none: what it looks for lies far away, where the nearest lists say little.
        """
        nlist = self._lists.nlist
        per_list = np.bincount(self._list_of_row[bitmap.positions(allow, self.count)], minlength=nlist)
        allowed = int(per_list.sum())
        enough = min(max(nprobe * self.count / nlist, wanted), allowed)
        width = min(nlist, math.ceil(1.5 * nprobe * self.count / allowed))
        distances, lists = self._lists.quantizer.search(encoded, width)
        met = np.cumsum(per_list[lists], axis=1)
        needed = (met < enough).sum(axis=1) + 1
        needed[needed > width] = 0
        width = max(1, int(needed.max(initial=0)))
        lists = np.where(np.arange(width) < needed[:, None], lists[:, :width], -1)
        return lists, np.ascontiguousarray(distances[:, :width])

    def _complete(
        self,
        queries: NDArray[np.float32],
        prepared: NDArray[np.float32],
        rows: NDArray[np.int64],
        k: int,
        expected: int,
        allow: NDArray[np.uint64] | None,
        threads: int,
    ) -> Hits:
        """Candidates ranked by exact distance; queries with fewer than `expected` of them are scanned."""
        hits = padded(self._base.rank(prepared, rows, k), k)
        short = (rows >= 0).sum(axis=1) < expected
        if short.any():
            scanned = self._base.scan(queries[short], k, allow, threads)
            hits.rows[short], hits.distances[short] = scanned.rows, scanned.distances
        return hits


def _options(nprobe: int) -> Any:
    options: Any = faiss.SearchParametersIVF()
    options.nprobe = nprobe
    return options


def default_nlist(count: int) -> int:
    """Lists for that many rows: 4 sqrt(n)."""
    return max(1, min(int(4 * math.sqrt(count)), count))


def default_nprobe(nlist: int) -> int:
    """Lists probed by default: 3 sqrt(nlist), for a recall@10 above 0.96 on the text and image sets tried."""
    return min(nlist, math.ceil(3 * math.sqrt(nlist)))


class IvfBuilder:
    """Clusters a sample, then sorts every row into the list of its nearest centre."""

    kind = KIND
    format_version = FORMAT_VERSION
    metrics = frozenset({"l2", "ip", "cosine"})

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """`nlist` (null: 4 sqrt(n)) and default `nprobe` (null: 3 sqrt(nlist))."""
        return parse(KIND, PARAMS, params)

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Codes of 2 bytes a dimension, 12 bytes a row of bookkeeping, and float32 centres."""
        nlist = params["nlist"] or default_nlist(count)
        return count * (2 * dimensions + 12) + nlist * 4 * dimensions

    def build(self, rows: Rows, metric: str, params: Mapping[str, Any], context: BuildContext) -> IvfIndex:
        """Reads the rows three times: centre and range, clusters, lists."""
        report(context, 0.0)
        base = BaseRows.measure(rows, metric)
        faiss.omp_set_num_threads(max(context.threads, 1))
        coder = Coder.measure(base)
        nlist = min(params["nlist"] or default_nlist(base.count), max(base.count, 1))
        centres = cluster(base, coder, nlist, context)
        return IvfIndex(base, coder, fill_lists(base, coder, centres, context), params)

    def open(self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any]) -> IvfIndex:
        """See IndexBuilder.open."""
        facts = open_header(directory, KIND, FORMAT_VERSION)
        base = BaseRows.open(directory, rows, metric, facts)
        try:
            lists = faiss.read_index(str(directory / LISTS_NAME))
        except RuntimeError as error:
            raise Corrupted(f"faiss cannot read {directory / LISTS_NAME}: {error}") from error
        if (lists.ntotal, lists.d) != (base.count, base.dimensions):
            raise Corrupted(
                f"{directory / LISTS_NAME} holds [{lists.ntotal}, {lists.d}], expected {list(rows.shape)}"
            )
        coder = Coder(np.load(directory / CENTRE_NAME), facts["code_scale"], metric)
        return IvfIndex(base, coder, lists, params)
