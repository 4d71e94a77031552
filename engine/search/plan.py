"""How one segment is searched for one group of queries. Pure: numbers in, a decision with its reason out."""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What is done with a segment."""

    SKIP = "skip"
    SCAN = "scan"
    FILTERED_SCAN = "filtered_scan"
    INDEX = "index"


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """The decision for one segment.

    Args:
        step: what is done.
        reason: why, as a sentence part for `explain`.
    """

    step: Step
    reason: str


_EMPTY = SegmentPlan(Step.SKIP, "no row of the segment qualifies")
_EXACT = SegmentPlan(Step.SCAN, "an exact search was asked for")
_NO_INDEX = SegmentPlan(Step.SCAN, "the segment has no index")
_FILTERED_EXACT = SegmentPlan(Step.FILTERED_SCAN, "an exact search was asked for")
_FILTERED_NO_INDEX = SegmentPlan(Step.FILTERED_SCAN, "the segment has no index")
_FEW_ALLOWED = SegmentPlan(
    Step.FILTERED_SCAN, "so few rows qualify that scanning them costs less than the index"
)
_ALL_WANTED = SegmentPlan(Step.SCAN, "so many hits are wanted that a scan costs less than the index")
_INDEX = SegmentPlan(Step.INDEX, "the index reads fewer rows than a scan")


def plan_segment(*, count: int, allowed: int, exact: bool, index_rows_read: float | None) -> SegmentPlan:
    """Choose between a scan of the qualifying rows and the index.

    Args:
        count: rows of the segment.
        allowed: rows that live, have the vector and pass the filter.
        exact: the caller wants the exact answer.
        index_rows_read: scanned rows that an index search of this k and filter costs as much as; None without
            an index.
    """
    filtered = allowed < count
    if allowed == 0:
        return _EMPTY
    if exact:
        return _FILTERED_EXACT if filtered else _EXACT
    if index_rows_read is None:
        return _FILTERED_NO_INDEX if filtered else _NO_INDEX
    if index_rows_read >= allowed:
        return _FEW_ALLOWED if filtered else _ALL_WANTED
    return _INDEX
