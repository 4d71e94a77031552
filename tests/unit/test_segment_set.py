"""Where rows are in a set of segments, with and without gaps between a segment's rows."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from nearfield.engine.segment import bitmap
from nearfield.engine.segment.segment_set import Segment, SegmentSet, local_positions

RUN = np.arange(100, 300)
GAPS = np.array([7, 9, 10, 400, 405, 900])
NONE = np.zeros(0, dtype=np.int64)


def segment(rows: np.ndarray, dead: list[int]) -> Segment:
    live = bitmap.without(None, len(rows), np.flatnonzero(np.isin(rows, dead))) if dead else None
    return cast(Segment, SimpleNamespace(rows=rows, live=live, live_count=len(rows) - len(dead)))


@pytest.mark.parametrize("rows", [RUN, GAPS, GAPS[:1], NONE], ids=["run", "gaps", "one", "none"])
def test_rows_are_found_where_they_are(rows: np.ndarray) -> None:
    asked = np.arange(-5, 1_000)
    local, inside = local_positions(segment(rows, []), asked)
    np.testing.assert_array_equal(inside, np.isin(asked, rows))
    np.testing.assert_array_equal(rows[local[inside]], asked[inside])
    assert len(local_positions(segment(rows, []), NONE)[0]) == 0


def test_rows_live_in_the_segment_that_has_them() -> None:
    pinned = SegmentSet((segment(RUN, [100, 101, 299]), segment(GAPS, [9, 900]), segment(NONE, [])))
    asked = np.random.default_rng(0).permutation(np.arange(1_000))
    lives = np.isin(asked, np.concatenate([RUN[2:-1], [7, 10, 400, 405]]))
    np.testing.assert_array_equal(pinned.are_live(asked), lives)
