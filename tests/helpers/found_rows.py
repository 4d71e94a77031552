"""What a filter found, as rows."""

from collections.abc import Iterable

import numpy as np

from nearfield.engine.filter.field_index.slots import SlotMatches
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.row_runs import runs_of


def found_rows(found: SlotMatches, rows: Iterable[int], parts: int = 1) -> list[int]:
    """Those of `rows` that were found, ascending; they are the rows of `parts` segments that interleave."""
    ordered = np.array(sorted(rows), np.int64)
    found_in: list[int] = []
    for part in range(parts):
        own = ordered[part::parts]
        words = found.within(runs_of(own), len(own))
        found_in += own[bitmap.positions(words, len(own))].tolist()
    return sorted(found_in)
