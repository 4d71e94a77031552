"""What the ways to answer a filtered search of a graph cost, and which is the cheapest."""

import math
from bisect import bisect_right
from enum import Enum
from functools import lru_cache
from typing import Final

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


# Every search asks, and the names of an enumeration are looked up slowly.
SCAN_ROWS: Final = Plan.SCAN_ROWS
SCAN_CODES: Final = Plan.SCAN_CODES
_WALK: Final = Plan.WALK


class SearchCosts:
    """Costs over one index.

    Args:
        count: rows.
        row_bytes: of a full-precision row.
    """

    def __init__(self, count: int, row_bytes: int) -> None:
        self._count = count
        self._row_ns = _ROW_LINE_NS * -(-row_bytes // _LINE_BYTES)
        self._most = lru_cache(maxsize=256)(self._scanned_most)  # the same few are asked for by every search

    def plan(self, ef: int, k: int, allowed: int) -> tuple[Plan, int]:
        """The cheapest way to the k nearest of `allowed` rows, and the window of its search."""
        rows_most, codes_most = self._most(ef, k)
        if allowed <= rows_most:
            return SCAN_ROWS, 0
        return (SCAN_CODES, ef) if allowed <= codes_most else (_WALK, self._window(ef, allowed))

    def equivalent_scan_rows(self, ef: int, k: int, allowed: int) -> float:
        """How many full-precision rows a scan reads in the time of that plan."""
        plan, window = self.plan(ef, k, allowed)
        if plan is Plan.SCAN_ROWS:
            return allowed
        if plan is Plan.WALK:
            return (_WALK_START_NS + _CANDIDATE_NS * window) / self._row_ns
        return (_CODES_START_NS + _CODE_NS * allowed) / self._row_ns

    def _scanned_most(self, ef: int, k: int) -> tuple[int, int]:
        """Up to how many allowed rows full rows are scanned, and up to how many codes.

        A scan costs more with every row that is allowed, a walk less: each way has one stretch.
        """

        def place(allowed: int) -> int:
            return self._cheapest(ef, k, allowed).value

        allowed = range(self._count + 1)
        rows, codes = (bisect_right(allowed, plan.value, key=place) - 1 for plan in (SCAN_ROWS, SCAN_CODES))
        return rows, codes

    def _cheapest(self, ef: int, k: int, allowed: int) -> Plan:
        if allowed <= k:
            return SCAN_ROWS
        walk = _WALK_START_NS + _CANDIDATE_NS * self._window(ef, allowed)
        codes = _CODES_START_NS + _CODE_NS * allowed
        if self._row_ns * allowed <= min(codes, walk):
            return SCAN_ROWS
        return SCAN_CODES if codes < walk else _WALK

    def _window(self, ef: int, allowed: int) -> int:
        """A walk meets rows whether they are allowed or not."""
        return ef if allowed >= self._count else min(math.ceil(ef * self._count / allowed), self._count)
