"""What the ways to answer a filtered search of a graph cost, and which is the cheapest."""

import math
from enum import Enum
from typing import Final

# Nanoseconds on one thread of a Zen 5 core, one query per call, beyond what every call takes; measured by
# `python -m nearfield.bench.micro.filtered_search`, see decision 0023.
_ROW_LINE_NS: Final = 3.6
"""Of a cache line of a full-precision row somewhere in memory."""
_CODES_START_NS: Final = 2_800.0
"""Projecting and quantising the query, and re-ranking the nearest codes."""
_CODE_NS: Final = 9.0
_WALK_START_NS: Final = 1_600.0
_CANDIDATE_NS: Final = 250.0
"""Of a node that a walk expands (decision 0030)."""
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
        rows_most, codes_most = self.scanned_most(ef, k)
        if allowed <= rows_most:
            return Plan.SCAN_ROWS
        return Plan.SCAN_CODES if allowed <= codes_most else Plan.WALK

    def scanned_most(self, ef: int, k: int) -> tuple[int, int]:
        """Up to how many allowed rows full rows are scanned, and up to how many codes.

        A scan costs more with every row that is allowed, a walk less: each way has one stretch.
        """
        rows_or_codes = _CODES_START_NS / (self._row_ns - _CODE_NS) if self._row_ns > _CODE_NS else math.inf
        rows_or_walk = self._walked_least(ef, k, 0.0, self._row_ns)
        codes_or_walk = self._walked_least(ef, k, _CODES_START_NS, _CODE_NS)
        rows_most = min(max(min(rows_or_codes, rows_or_walk), k), self._count)
        return int(rows_most), int(min(max(codes_or_walk, rows_most), self._count))

    def equivalent_scan_rows(self, ef: int, k: int, allowed: int) -> float:
        """How many full-precision rows a scan reads in the time of that plan."""
        plan = self.plan(ef, k, allowed)
        if plan is Plan.SCAN_ROWS:
            return allowed
        if plan is Plan.SCAN_CODES:
            return (_CODES_START_NS + _CODE_NS * allowed) / self._row_ns
        expanded = k * self._count / allowed + max(ef - k, 0)
        return (_WALK_START_NS + _CANDIDATE_NS * expanded) / self._row_ns

    def _walked_least(self, ef: int, k: int, start_ns: float, each_ns: float) -> float:
        """How many allowed rows a walk reaches in the time of their scan.

        Where it meets n / allowed nodes for each of the k nearest, and ef - k more: a quadratic equation.
        """
        half = (_WALK_START_NS + _CANDIDATE_NS * max(ef - k, 0) - start_ns) / (2 * each_ns)
        return half + math.sqrt(half * half + _CANDIDATE_NS * k * self._count / each_ns)
