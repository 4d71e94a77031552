"""The four bounds of a range as one bound each side, for float and for integer values."""

import math
from typing import NamedTuple

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class Bounds(NamedTuple):
    """`low` and `high` (None: no bound), and whether each is open, that is, not itself inside."""

    low: float | None
    high: float | None
    low_open: bool = False
    high_open: bool = False


NOTHING = Bounds(1, 0)


def float_bounds(gt: float | None, gte: float | None, lt: float | None, lte: float | None) -> Bounds:
    """The tighter bound of each side."""
    low, low_open = (gt, True) if gte is None or (gt is not None and gt >= gte) else (gte, False)
    high, high_open = (lt, True) if lte is None or (lt is not None and lt <= lte) else (lte, False)
    return Bounds(low, high, low_open, high_open)


def integer_bounds(gt: float | None, gte: float | None, lt: float | None, lte: float | None) -> Bounds:
    """The same for int64 values, without rounding them to floats: closed integer bounds."""
    low, high, low_open, high_open = float_bounds(gt, gte, lt, lte)
    least = greatest = None
    if low is not None and low >= INT64_MIN:
        if low > INT64_MAX - low_open:
            return NOTHING
        least = math.floor(low) + 1 if low_open else math.ceil(low)
    if high is not None and high <= INT64_MAX:
        if high < INT64_MIN + high_open:
            return NOTHING
        greatest = math.ceil(high) - 1 if high_open else math.floor(high)
    return Bounds(least, greatest)
