"""Ascending rows as runs of consecutive ones: a segment that lost none is a single run."""

import numpy as np
from numpy.typing import NDArray

RowRuns = NDArray[np.int64]
"""int64 [2, r]: the positions where runs begin, from 0, and the rows there."""


def runs_of(rows: NDArray[np.int64]) -> RowRuns:
    """The runs of ascending rows, int64 [n]."""
    count = len(rows)
    if count and int(rows[-1]) - int(rows[0]) + 1 == count:
        return one_run(int(rows[0]))
    begins = np.flatnonzero(np.diff(rows, prepend=rows[:1] - 2) != 1)
    return np.stack([begins, rows[begins]])


def one_run(first: int) -> RowRuns:
    """Rows from `first` on, without a gap."""
    return np.array([[0], [first]], dtype=np.int64)
