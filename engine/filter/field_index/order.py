"""Rows in the order of a payload key."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter.datetime_value import parse_microseconds
from nearfield.engine.filter.evaluate import comparable
from nearfield.engine.filter.field_index.bounds import INT64_MAX

_EXACT_MAX = 2**53
"""The integers up to here are floats as well."""


def order_start(value: float | str, path: str = "order_by.start_from") -> float:
    """The value an order may begin at: a number, or a datetime string as microseconds since 1970 UTC.

    Raises:
        InvalidRequest: neither of the two.
    """
    number = parse_microseconds(value) if isinstance(value, str) else comparable(value)
    if number is None:
        raise InvalidRequest(f"expected a number or a datetime string, got {repr(value)[:80]}", path)
    return number


def _lose_digits(parts: list[NDArray[Any]]) -> bool:
    """Whether floats stand beside integers that floats cannot hold."""
    integers = [values for values in parts if values.dtype == np.int64]
    large = any(values.max() > _EXACT_MAX or values.min() < -_EXACT_MAX for values in integers)
    return large and len(integers) < len(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """(row, value) pairs by ascending value, then row. A row with several values is there once for each.

    Args:
        rows: int64 [n].
        values: numbers, and datetimes as microseconds since 1970 UTC; int64 [n], or float64 [n] with
            floats among them, or Python's numbers [n] where float64 would not do.
    """

    rows: NDArray[np.int64]
    values: NDArray[Any]

    @classmethod
    def of(cls, parts: list[tuple[NDArray[np.int64], NDArray[Any]]]) -> "Order":
        """The order of (rows, values) pairs that come in any order, repeats removed."""
        # An empty part must not turn integers into floats.
        given = [part for part in parts if len(part[0])]
        if not given:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        if _lose_digits([values for _, values in given]):
            pairs = sorted(
                {pair for rows, values in given for pair in zip(values.tolist(), rows.tolist(), strict=True)}
            )
            exact = np.array([value for value, _ in pairs], dtype=object)
            return cls(np.array([row for _, row in pairs], np.int64), exact)
        rows = np.concatenate([rows for rows, _ in given])
        values = np.concatenate([values for _, values in given])
        order = np.lexsort((rows, values))
        rows, values = rows[order], values[order]
        first = np.ones(len(rows), bool)
        first[1:] = (rows[1:] != rows[:-1]) | (values[1:] != values[:-1])
        return cls(rows[first], values[first])

    def page(
        self,
        limit: int,
        descending: bool = False,
        start_from: float | None = None,
        allowed: NDArray[np.int64] | None = None,
    ) -> "Order":
        """The first pairs from a value on, inclusive; descending, the exact reverse.

        Args:
            allowed: rows to choose from; None for all.
        """
        rows, values = self.rows, self.values
        if start_from is not None:
            if values.dtype == np.int64 and abs(start_from) < INT64_MAX:
                # An integer compares exactly.
                start_from = math.floor(start_from) if descending else math.ceil(start_from)
            cut = int(np.searchsorted(values, start_from, "right" if descending else "left"))
            kept = slice(0, cut) if descending else slice(cut, None)
            rows, values = rows[kept], values[kept]
        if allowed is not None:
            chosen = np.isin(rows, allowed)
            rows, values = rows[chosen], values[chosen]
        if descending:
            rows, values = rows[::-1], values[::-1]
        return Order(rows[:limit], values[:limit])
