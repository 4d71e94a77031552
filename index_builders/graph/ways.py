"""How searches of a graph are answered: how wide they walk, what they re-rank, and when they scan instead."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nearfield.engine import _native
from nearfield.engine.index.calibration import Calibration
from nearfield.index_builders.base_rows import BaseRows
from nearfield.index_builders.graph.adaptive_window import AdaptiveWindow
from nearfield.index_builders.graph.arrays import GraphArrays
from nearfield.index_builders.graph.costs import SearchCosts
from nearfield.index_builders.params import not_calibrated

CALIBRATED_ROWS_MIN: Final = 1_000
"""A scan of fewer rows answers fast enough whatever recall is asked for."""
IN_FLIGHT: Final = 3
"""Queries that a thread takes turns between."""
EF: Final = 48
"""Search window of an index that was not calibrated; of ranges and streams, whose recall never is."""

_RERANK_LEAST: Final = 10
"""Re-ranking treats a smaller k like this one."""
_FEW_DIMENSIONS: Final = 64
"""Full rows of so few cost hardly more than codes, and more of them are read (measured: decision 0026)."""
_BLUR_MOST: Final = 0.003
"""Blur of codes beyond which they are not trusted to rank what is near (decision 0026)."""
_AFTER_WALK: Final = 0.25
"""Share of `ef` that full rows re-rank after coarse codes, beside what the projection lost."""
_AFTER_SCAN: Final = 0.1
"""The same after a scan of few rows: their nearest lie further apart, and none is missed (decision 0023)."""
_AGREEMENT_LEAST: Final = 0.5
"""Correlation of the distances by codes with the exact ones, over what is re-ranked (decision 0030)."""
_HOPELESS: Final = 0.5
"""Share of the recall asked for that the widest search must reach, else codes tell nothing."""
_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class SearchWay:
    """How searches of one k and one recall are answered.

    Args:
        ef: window of a search without a filter.
        adaptive: what becomes of it for each query; None: nothing.
        reranked: candidates that it re-ranks with the secondary codes, and with full rows.
        scanned_rows: a scan of so many rows would cost as much.
        codes_most: with a filter, up to so many allowed rows the graph is not walked.
        plan: with a filter; `scan_plan` for what a walk gives up.
    """

    ef: int
    adaptive: _native.GraphAdaptiveWindow | None
    reranked: tuple[int, int]
    scanned_rows: float
    codes_most: int
    plan: _native.GraphFilterPlan
    scan_plan: _native.GraphFilterPlan


class SearchWays:
    """The ways of one index. They are kept, since most searches ask for the same few.

    Args:
        arrays: None: all searches scan.
        params, calibration, adaptive: see GraphIndex.
    """

    def __init__(
        self,
        kind: str,
        base: BaseRows,
        arrays: GraphArrays | None,
        params: Mapping[str, Any],
        calibration: Calibration | None,
        adaptive: AdaptiveWindow | None,
    ) -> None:
        self._kind = kind
        self._count = base.count
        self._arrays = arrays
        self._params = params
        self._calibration = calibration
        self._adaptive = adaptive
        self._known: dict[tuple[int, int | None, float | None], SearchWay] = {}
        self.costs = SearchCosts(base.count, base.dimensions * base.rows.itemsize)

    def of(self, k: int, ef: int | None, target: float | None) -> SearchWay | None:
        """The way of searches that ask for a width, a recall or neither; None: a scan of the full rows.

        Raises:
            InvalidRequest: a recall is asked for that was never measured.
        """
        known = self._known.get((k, ef, target))
        if known is not None:
            return known
        if self._arrays is None or 2 * k > self._count or self._scans_for(self._target(ef, target)):
            return None
        way = self._found(k, self.width(k, ef, target))
        if len(self._known) >= _KEPT:
            self._known = {}
        self._known[k, ef, target] = way
        return way

    def width(self, k: int, ef: int | None = None, target: float | None = None) -> int:
        """The window of searches, at least k.

        Raises:
            InvalidRequest: a recall is asked for that was never measured.
        """
        if ef is not None:
            return max(ef, k)
        target = self._target(ef, target)
        if target is None:
            return max(self._params["ef"] or EF, 2 * k)
        if self._calibration is None:
            raise not_calibrated(self._kind)
        return self._calibration.width_for(target, k)

    def walk(self, k: int, ef: int) -> tuple[tuple[int, int], _native.GraphAdaptiveWindow | None]:
        """Of a search without a filter: what it re-ranks, and what becomes of its window."""
        return self._reranked(k, ef, _AFTER_WALK), self._window(k, ef)

    def filter_plan(self, k: int, ef: int, rows_most: int, codes_most: int) -> _native.GraphFilterPlan:
        """Of a search with a filter, that scans up to so many allowed rows, else their codes, else walks."""
        after_scan, after_walk = (self._reranked(k, ef, share) for share in (_AFTER_SCAN, _AFTER_WALK))
        return _native.GraphFilterPlan(
            k, ef, rows_most, codes_most, after_scan, after_walk,
            SearchCosts.EXPANSIONS_LEAST, SearchCosts.EXPANSIONS_PER_ROW, _AGREEMENT_LEAST, IN_FLIGHT,
            self._window(k, ef),
        )  # fmt: skip

    def _target(self, ef: int | None, target: float | None) -> float | None:
        """The recall that is asked for, or else the build's; None where it is a window."""
        if ef is None and target is None and self._params["ef"] is None and self._calibration is not None:
            target = self._params["target_recall"]
        return target

    def _found(self, k: int, ef: int) -> SearchWay:
        rows_most, codes_most = self.costs.scanned_most(ef, k)
        reranked, adaptive = self.walk(k, ef)
        return SearchWay(
            ef=ef,
            adaptive=adaptive,
            reranked=reranked,
            scanned_rows=self.costs.equivalent_scan_rows(ef, k, self._count),
            codes_most=codes_most,
            plan=self.filter_plan(k, ef, rows_most, codes_most),
            scan_plan=self.filter_plan(k, ef, 0, self._count),
        )

    def _window(self, k: int, ef: int) -> _native.GraphAdaptiveWindow | None:
        return None if self._adaptive is None else self._adaptive.native(k, ef)

    def _reranked(self, k: int, ef: int, share: float) -> tuple[int, int]:
        """At most how many candidates are re-ranked with the secondary codes, and with full rows.

        A larger `ef` promises more recall, which the errors of the codes must not spoil. Coarse codes leave
        to the full rows what finer ones would have settled, the more the projection lost.

        Args:
            share: of `ef` that is re-ranked after coarse codes, beside what the projection lost.
        """
        wanted = max(k, _RERANK_LEAST)
        secondary = min(self._count, (4 if ef <= 6 * wanted else 6) * wanted)
        assert self._arrays is not None
        if not _last_codes_are_fine(self._arrays):
            exact = math.ceil(1.5 * wanted + (share + self._arrays.residue) * ef)
            return secondary, min(self._count, exact)
        factor = 1.0 if ef <= 2.5 * wanted else 1.2 if ef <= 6 * wanted else 1.6
        return secondary, math.ceil(factor * wanted)

    def _scans_for(self, target: float | None) -> bool:
        """Whether only a scan is sure to find what is asked for, or costs too little to do less."""
        if target is None:
            return False
        if target == 1.0 or self._count < CALIBRATED_ROWS_MIN:
            return True
        return self._calibration is not None and not self._calibration.reaches(_HOPELESS * target)


def _last_codes_are_fine(arrays: GraphArrays) -> bool:
    """Whether what is read before the full rows has 8 bits of every dimension, or two levels.

    Never for few dimensions, nor in clusters far apart: there 8 bits confuse what lies near each other.
    """
    if len(arrays.mean) <= _FEW_DIMENSIONS:
        return False
    if arrays.secondary_is_residual:
        return True
    last = arrays.primary if arrays.secondary is None else arrays.secondary
    if last is arrays.primary and arrays.blur > _BLUR_MOST:
        return False
    return last.bits == 8 and last.dimensions == len(arrays.mean)
