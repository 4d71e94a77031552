"""What can be asked of a collection, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.filter.expression import Filter
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.spec import IndexSpec
from nearfield.engine.point import PointId
from nearfield.engine.schema import UNNAMED


@dataclass(frozen=True)
class PayloadSelector:
    """Which part of a payload an answer carries.

    Args:
        enabled: False for no payload at all.
        include: dotted keys to keep (None: everything).
        exclude: dotted keys to drop.
    """

    enabled: bool = False
    include: Sequence[str] | None = None
    exclude: Sequence[str] = ()


@dataclass(frozen=True)
class SearchParams:
    """How to search one vector.

    Args:
        exact: scan every live row.
        search: per index kind knobs, such as `{"ef": 128}` (hnsw), `{"nprobe": 16}` (ivf) or
            `{"candidates": 200}` (muvera); unknown names are ignored by a kind.
    """

    exact: bool = False
    search: Mapping[str, float] = field(default_factory=dict)


class FusionMethod(StrEnum):
    """How rankings become one; the values are the wire format's words."""

    RRF = "rrf"
    DBSF = "dbsf"


@dataclass(frozen=True)
class Fusion:
    """Stands where a query vector would: the rankings of the prefetches are fused into one.

    Args:
        k: constant of reciprocal rank fusion, at least 1.
        weights: of the prefetches, in reciprocal rank fusion; None for equal ones.
    """

    method: FusionMethod = FusionMethod.RRF
    k: int = 2
    weights: Sequence[float] | None = None


@dataclass(frozen=True)
class Prefetch:
    """A stage before another: finds the candidates that the stage above ranks again, or fuses.

    Args:
        query, using, limit, filter, score_threshold, params: as in `SearchRequest`; the filters of the stages
            above hold here too.
        prefetch: stages before this one.
    """

    query: "NDArray[np.float32] | PointId | Fusion"
    using: str = UNNAMED
    limit: int = 10
    filter: Filter | None = None
    score_threshold: float | None = None
    params: SearchParams = SearchParams()
    prefetch: Sequence["Prefetch"] = ()


@dataclass(slots=True, eq=False)  # not frozen: that takes a microsecond longer to make
class SearchRequest:
    """One nearest-neighbour question.

    Args:
        query: float32 [d], or of a multi-vector the tokens float32 [t, d]; or the id of a stored point, whose
            own vector is used and which is left out of the answer; or, over prefetches, a Fusion.
        using: name of the vector searched.
        limit, offset: the answer is hits[offset : offset + limit].
        filter: which points qualify; None for all.
        score_threshold: drop hits whose score is worse (below for Cosine and Dot, above for Euclid and
            Manhattan).
        with_payload: which payload keys come back.
        with_vectors: True, False, or the names of the vectors to return.
        prefetch: stages that find the candidates; the query then ranks only these, exactly.
    """

    query: NDArray[np.float32] | PointId | Fusion
    using: str = UNNAMED
    limit: int = 10
    offset: int = 0
    filter: Filter | None = None
    score_threshold: float | None = None
    params: SearchParams = SearchParams()
    with_payload: PayloadSelector = PayloadSelector()
    with_vectors: bool | Sequence[str] = False
    prefetch: Sequence[Prefetch] = ()


class Record(NamedTuple):
    """A stored point as answers show it; a tuple, because searches make many.

    Args:
        payload: JSON object as UTF-8 bytes, already reduced by the selector; None when not asked for.
        vectors: by name, float32 [d], or [t, d] of a multi-vector (stored values, Cosine ones normalised);
            None when not asked for.
        order_value: value the scroll was ordered by, if it was.
    """

    id: PointId
    version: int
    payload: bytes | None = None
    vectors: dict[str, NDArray[np.float32]] | None = None
    order_value: float | int | str | None = None


class ScoredPoint(NamedTuple):
    """One hit: its record and its user-facing score."""

    record: Record
    score: float


@dataclass(frozen=True)
class OrderBy:
    """Order of a scroll by a numeric or datetime payload key.

    Args:
        key: dotted payload key.
        descending: largest first.
        start_from: number or datetime string to begin at, inclusive.
    """

    key: str
    descending: bool = False
    start_from: float | int | str | None = None


@dataclass(frozen=True)
class ScrollRequest:
    """A page of points by ascending id, or ordered by a payload key.

    Args:
        limit: page size.
        offset: first id of the page (not with order_by).
    """

    limit: int = 10
    offset: PointId | None = None
    filter: Filter | None = None
    order_by: OrderBy | None = None
    with_payload: PayloadSelector = PayloadSelector(enabled=True)
    with_vectors: bool | Sequence[str] = False


@dataclass(frozen=True)
class ScrollPage:
    """Records, and the id the next page starts at (None at the end, and with order_by)."""

    records: list[Record]
    next_offset: PointId | None


@dataclass(frozen=True)
class PointSelector:
    """The points an operation touches: by ids, or by filter; exactly one is given."""

    ids: Sequence[PointId] | None = None
    filter: Filter | None = None


@dataclass(frozen=True)
class SegmentRecall:
    """How the rows of one vector in one segment are searched, and what recall that was measured to give.

    Args:
        rows: how many they are, deleted ones that still take room included.
        index: what was built over them; None: they are scanned, which finds everything.
        calibration: recall by search width; None where there is no index or it was not measured.
    """

    rows: int
    index: IndexSpec | None
    calibration: Calibration | None


@dataclass(frozen=True)
class CollectionInfo:
    """Counts and state of a collection.

    Args:
        status: `green` (settled), `yellow` (background work pending), `red` (refuses writes; see `error`).
        indexed_vectors: vectors covered by a built index, over all vector names.
        bytes: resident and on-disk bytes per component (`growing`, `vectors`, `indexes`, `field_indexes`,
            `sqlite`).
    """

    status: str
    points: int
    segments: int
    indexed_vectors: int
    error: str | None = None
    bytes: Mapping[str, int] = field(default_factory=dict)
    payload_schema: Mapping[str, Any] = field(default_factory=dict)
