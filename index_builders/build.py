"""The library entry: build, search, save and open an index over an array, without any storage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.protocol import (
    BrowsingIndex,
    BuildContext,
    CalibratedIndex,
    Cancel,
    Progress,
    RangeHits,
    Rows,
    VectorIndex,
)
from nearfield.engine.index.registry import Registry, discover
from nearfield.engine.index.spec import IndexSpec
from nearfield.engine.storage.segment_files import SectionFile, SectionFileWriter
from nearfield.index_builders.arguments import (
    check_allow,
    check_batch,
    check_k,
    check_queries,
    check_radius,
    check_rows,
    check_threads,
)
from nearfield.index_builders.files import new_directory, open_header, save_header
from nearfield.index_builders.row_batches import RowBatches

METRICS: Final = ("l2", "ip", "cosine", "l1")
_ROWS_NAME: Final = "rows.nfs"
_ROWS_SECTION: Final = "rows"
_INDEX_FOLDER: Final = "index"
_KIND: Final = "library"
_FORMAT_VERSION: Final = 2
_BLOCK_ROWS: Final = 16_384
_SEED_MAX: Final = 2**31 - 1
_RANGE_QUERIES: Final = 256
"""Queries of a range search whose rows are counted together."""


class Index:
    """A built index together with the rows it answers from; any number of threads may search it.

    Args:
        spec: kind and every parameter, as built.
        rows: [n, d] float32, float16 or uint8.
        inner: the index over these rows.
    """

    def __init__(self, spec: IndexSpec, rows: Rows, inner: VectorIndex) -> None:
        self.spec = spec
        self._rows = rows
        self._inner = inner
        self._count = inner.count
        self._dimensions = inner.dimensions

    @property
    def kind(self) -> str:
        """The concrete kind (never `auto`)."""
        return self.spec.kind

    @property
    def metric(self) -> str:
        """`l2`, `ip`, `cosine` or `l1`."""
        return self._inner.metric

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._count

    @property
    def dimensions(self) -> int:
        """Number of dimensions."""
        return self._dimensions

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        threads: int = 1,
        allow: NDArray[np.bool_] | NDArray[np.uint64] | None = None,
        **knobs: float | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k nearest rows of each query.

        Args:
            queries: [nq, d], or [d] for one query.
            threads: native threads of this call.
            allow: which rows qualify: bool [n], or a bitmap uint64 [ceil(n / 64)] (bit i of word i // 64);
                None for all.
            knobs: search knobs of the kind, `ef` (graph, lvq, leanvec, hnsw) or `nprobe` (ivf); None is the
                default, and a knob that the kind does not have is ignored, so that one sweep can drive every
                kind. Or `target_recall`, above 0, at most 1: an index that was calibrated at its build
                takes the `ef` that gives it, a flat one gives 1, others refuse. 1 is answered by a scan;
                what `calibration` does not reach gets the largest calibrated `ef`.

        Returns:
            ids int64 [nq, k], -1 pads; distances float32 [nq, k], ascending, +inf pads (l2: squared; ip:
            negative inner product;
            cosine: 1 - cosine; l1).

        Raises:
            InvalidRequest: wrong shape, NaN or infinite values, or a k or knob out of range.
        """
        prepared = check_queries(queries, self._dimensions)
        check_k(k)
        words = None if allow is None else check_allow(allow, self._count)
        knobs["threads"] = threads
        rows, distances = self._inner.search(prepared, int(k), knobs, words)
        return rows, distances

    @property
    def calibration(self) -> Calibration | None:
        """The recall that was measured at the build, by `ef`; None where none was."""
        return self._inner.calibration if isinstance(self._inner, CalibratedIndex) else None

    def range_search(
        self,
        queries: ArrayLike,
        radius: float,
        *,
        ef: int | None = None,
        allow: NDArray[np.bool_] | NDArray[np.uint64] | None = None,
        threads: int = 1,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """All rows within a distance of each query: exactly for `flat`, `hnsw` and `ivf`, which scan.

        The graph kinds walk outwards until `ef` rows in a row, or an eighth of those found, if that is more,
        lie beyond the radius, and scan where that would cost less. What comes back has exact distances; a
        larger `ef` misses less.

        Args:
            queries: [nq, d], or [d] for one query.
            radius: the largest distance, as float32, in the distances that `search` returns (l2: squared; ip:
                negative inner product, so that a product of at least p is the radius -p; cosine: 1 - cosine);
                infinity for all rows.
            ef: see above; None is the index's default, and kinds that scan ignore it.
            allow: which rows qualify, see `search`.
            threads: threads of this call, which share its queries.

        Returns:
            offsets int64 [nq + 1], ids int64 [m], distances float32 [m]: query i has the ids from offsets[i]
            to offsets[i + 1], by distance, then id. All together at most RANGE_ROWS_MAX.

        Raises:
            InvalidRequest: wrong shape, NaN or infinite values, a NaN radius, a knob out of range, or more
                rows than RANGE_ROWS_MAX within the radius.
        """
        prepared = check_queries(queries, self.dimensions)
        reach = check_radius(radius)
        words = check_allow(allow, self.count)
        params = {"ef": ef, "threads": threads}
        inner = self._browsing()
        at_once = max(1, min(_RANGE_QUERIES, limits.RANGE_ROWS_MAX // self.count))
        parts: list[RangeHits] = []
        total = 0
        for start in range(0, len(prepared), at_once):
            parts.append(inner.range_search(prepared[start : start + at_once], reach, params, words))
            total += len(parts[-1].rows)
            if total > limits.RANGE_ROWS_MAX:
                raise InvalidRequest(
                    f"a range search may find {limits.RANGE_ROWS_MAX} rows; the first {start + at_once} of "
                    f"{len(prepared)} queries found {total}: ask for fewer queries or a smaller radius",
                    "radius",
                )
        hits = RangeHits.joined(parts)
        return hits.offsets, hits.rows, hits.distances

    def iterate(
        self,
        query: ArrayLike,
        *,
        batch: int = 100,
        allow: NDArray[np.bool_] | NDArray[np.uint64] | None = None,
        ef: int | None = None,
    ) -> RowBatches:
        """All rows outwards from a query, batch after batch, for whoever cannot know k beforehand.

        The graph kinds go on from where the last batch ended; the others compute all distances first. Every
        allowed row comes exactly once. The order is that of the distances, exactly for `flat`, `hnsw` and
        `ivf`; for graph kinds nearly: a row may come late where the codes or the links misled, and a larger
        `ef` makes that rarer.

        Args:
            query: [d].
            batch: rows of a batch.
            allow: which rows qualify, see `search`.
            ef: rows known beyond those handed out; None is the index's default.

        Returns:
            An iterator of batches, ids int64 [m] and distances float32 [m] ascending, m = `batch` but in the
            last one. It holds up to 20 bytes a row met until it is exhausted or closed. Threads may share it.

        Raises:
            InvalidRequest: wrong shape, NaN or infinite values, or a batch or knob out of range.
        """
        if np.ndim(query) != 1:
            raise InvalidRequest(
                f"query must be an array [{self.dimensions}], got shape {list(np.shape(query))}", "query"
            )
        prepared = check_queries(query, self.dimensions, "query")[0].copy()
        rows = check_batch(batch)
        words = check_allow(allow, self.count)
        return RowBatches(self._browsing().iterate(prepared, rows, {"ef": ef}, words), rows)

    def _browsing(self) -> BrowsingIndex:
        if not isinstance(self._inner, BrowsingIndex):
            raise InvalidRequest(f"index kind `{self.kind}` searches for the k nearest rows only", "kind")
        return self._inner

    def resident_bytes(self) -> int:
        """Bytes the index holds in memory beside the rows."""
        return self._inner.resident_bytes()

    def save(self, path: str | Path) -> None:
        """Write rows and index into a directory, made if need be; `open_index` reads it.

        Raises:
            InvalidRequest: the directory holds something already.
        """
        directory = new_directory(path)
        (directory / _INDEX_FOLDER).mkdir()
        self._inner.save(directory / _INDEX_FOLDER)
        with SectionFileWriter(directory / _ROWS_NAME) as out:
            blocks = (self._rows[at : at + _BLOCK_ROWS] for at in range(0, self.count, _BLOCK_ROWS))
            out.add(_ROWS_SECTION, self._rows.dtype, self._rows.shape, blocks)
        facts = {"spec": self.spec.to_json(), "metric": self.metric}
        save_header(directory, _KIND, _FORMAT_VERSION, facts, [directory / _ROWS_NAME])


def build_index(
    vectors: ArrayLike,
    *,
    metric: str,
    kind: str = "auto",
    params: Mapping[str, Any] | None = None,
    threads: int = 2,
    seed: int = 0,
    training_queries: ArrayLike | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    registry: Registry | None = None,
) -> Index:
    """Build an index over an array.

    Args:
        vectors: [n, d], n >= 1; float32, float16 and uint8 are kept as they are (and referenced, not copied,
            where contiguous), float64 becomes float32.
        metric: `l2`, `ip`, `cosine` or `l1`.
        kind: `auto` or a registered kind (`flat`, `hnsw`, `ivf`, ...).
        params: parameters of that kind; what is left out gets its default.
        threads: worker threads.
        seed: same seed and input, same index (hnsw: on one thread, or with `deterministic`).
        training_queries: [m, d] sample of real queries, for kinds that learn from them: `graph` and
            `leanvec`, from up to 20,000, what to project away and what rows get back of it. They gain most
            where few dimensions are left.
        progress: called with the share done, 0..1.
        cancel: polled; the build stops with `Cancelled` soon after its `is_set()` turns true.
        registry: where kinds are looked up; None for those of the installed packages.

    Raises:
        InvalidRequest: unusable vectors, an unknown metric, kind or parameter, a seed out of range.
        Cancelled: `cancel` was set.
    """
    rows = check_rows(vectors, "vectors")
    if metric not in METRICS:
        raise InvalidRequest(f"metric must be one of {', '.join(METRICS)}, got {metric!r:.80}", "metric")
    check_threads(threads)
    if not 0 <= seed <= _SEED_MAX:
        raise InvalidRequest(f"seed must be from 0 to {_SEED_MAX}, got {seed}", "seed")
    training = None
    if training_queries is not None:
        training = check_queries(training_queries, rows.shape[1], "training_queries")
    registry = registry or discover()
    spec = registry.resolve({"kind": kind, "params": dict(params or {})}, len(rows), rows.shape[1], metric)
    context = BuildContext(threads, seed, training, progress, cancel)
    return Index(spec, rows, registry.builder(spec.kind).build(rows, metric, spec.params, context))


def open_index(path: str | Path, *, verify: bool = False, registry: Registry | None = None) -> Index:
    """Open what `Index.save` wrote; the rows are memory-mapped.

    Args:
        verify: read all files and compare their checksums. Otherwise indexes that are mapped (`flat` and the
            graph kinds) open at once, whatever their size: rows are verified when a search returns them, and
            damage in links and codes, which decide where a search goes, can only make it miss rows.

    Raises:
        Corrupted: a file is missing or damaged. A search raises it when it meets damaged rows.
    """
    directory = Path(path)
    facts = open_header(directory, _KIND, _FORMAT_VERSION, () if verify else (_ROWS_NAME,))
    spec = IndexSpec.from_json(facts["spec"])
    section = SectionFile(directory / _ROWS_NAME).section(_ROWS_SECTION)
    registry = registry or discover()
    folder, metric = directory / _INDEX_FOLDER, facts["metric"]
    if verify or not registry.maps(spec.kind):
        return Index(spec, section.array(), registry.open(spec, folder, section.array(), metric))
    inner = registry.open_mapped(spec, folder, section.unread(), metric, section)
    return Index(spec, section.unread(), inner)
