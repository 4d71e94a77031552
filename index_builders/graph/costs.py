"""What the ways to answer a filtered search of a graph cost, and which is the cheapest."""

from bisect import bisect_right
from enum import Enum
from typing import Final

from nearfield.engine import _native

# Nanoseconds on one thread of a Zen 5 core, one query per call, beyond what every call takes; measured by
# `python -m nearfield.bench.micro.filtered_search`, see decision 0023.
_ROW_LINE_NS: Final = 3.6
"""Of a cache line of a full-precision row somewhere in memory."""
_CODES_START_NS: Final = 2_800.0
"""Projecting and quantising the query, and re-ranking the nearest codes."""
_CODE_NS: Final = 9.0
_WALK_START_NS: Final = 1_600.0
_CANDIDATE_NS: Final = 170.0
_LINE_BYTES: Final = 64


class Plan(Enum):
    """How a filtered search is answered."""

    SCAN_ROWS = 0
    SCAN_CODES = 1
    WALK = 2


class SearchCosts:
    """Costs over one index.

    Args:
        count: rows.
        row_bytes: of a full-precision row.
    """

    EXPANSIONS_LEAST: Final = _CODES_START_NS / _CANDIDATE_NS
    EXPANSIONS_PER_ROW: Final = _CODE_NS / _CANDIDATE_NS
    """A walk that has expanded so many for each allowed row, and those, has cost what a scan would."""

    def __init__(self, count: int, row_bytes: int) -> None:
        self._count = count
        self._row_ns = _ROW_LINE_NS * -(-row_bytes // _LINE_BYTES)

    def plan(self, ef: int, k: int, allowed: int) -> Plan:
        """The cheapest way to the k nearest of `allowed` rows."""
        if allowed <= k:
            return Plan.SCAN_ROWS
        walk = self._walk_ns(ef, k, allowed)
        codes = _CODES_START_NS + _CODE_NS * allowed
        if self._row_ns * allowed <= min(codes, walk):
            return Plan.SCAN_ROWS
        return Plan.SCAN_CODES if codes < walk else Plan.WALK

    def scanned_most(self, ef: int, k: int) -> tuple[int, int]:
        """Up to how many allowed rows full rows are scanned, and up to how many codes.

        A scan costs more with every row that is allowed, a walk less: each way has one stretch.
        """

        def place(allowed: int) -> int:
            return self.plan(ef, k, allowed).value

        allowed = range(self._count + 1)
        rows, codes = (
            bisect_right(allowed, plan.value, key=place) - 1 for plan in (Plan.SCAN_ROWS, Plan.SCAN_CODES)
        )
        return rows, codes

    def equivalent_scan_rows(self, ef: int, k: int, allowed: int) -> float:
        """How many full-precision rows a scan reads in the time of that plan."""
        plan = self.plan(ef, k, allowed)
        if plan is Plan.SCAN_ROWS:
            return allowed
        if plan is Plan.WALK:
            return self._walk_ns(ef, k, allowed) / self._row_ns
        return (_CODES_START_NS + _CODE_NS * allowed) / self._row_ns

    def _walk_ns(self, ef: int, k: int, allowed: int) -> float:
        """Of a walk that goes on until its window is full of allowed nodes, meeting others in proportion."""
        window = _native.GraphFilterPlan.window(k, ef, allowed, self._count)
        return _WALK_START_NS + _CANDIDATE_NS * window * self._count / allowed
