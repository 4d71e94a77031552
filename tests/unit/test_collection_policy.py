"""The maintenance policy is a pure function: states in, jobs out."""

import random
from dataclasses import replace

import pytest

from nearfield.engine.maintenance.policy import (
    INDEX_ROWS_WHILE_WRITING,
    Build,
    CollectionState,
    Freeze,
    Merge,
    Open,
    Seal,
    SegmentState,
    Thresholds,
    Vacuum,
    rewrite_job,
    urgent_job,
)

LIMITS = Thresholds(
    index_rows_min=10_000, sealed_segments_target=4, sealed_rows_max=5_000_000, deleted_share_vacuum=0.2
)


def unbuilt(id: str, rows: int) -> SegmentState:
    return SegmentState(id, rows, rows, unbuilt=("v",) if rows >= LIMITS.index_rows_min else ())


def built(id: str, rows: int) -> SegmentState:
    return SegmentState(id, rows, rows, indexed=True)


def state(
    *sealed: SegmentState, frozen: tuple[int, ...] = (), paused: bool = True, wants: bool = False
) -> CollectionState:
    return CollectionState(frozen, sealed, growing_rows=0, wants_index=wants, paused=paused)


def test_sealing_comes_first_and_oldest_first() -> None:
    crowded = state(replace(built("a", 20_000), unopened=("v",)), frozen=(5, 9), wants=True)
    assert urgent_job(crowded) == Seal(5)
    assert urgent_job(replace(crowded, frozen=())) == Freeze()
    assert urgent_job(replace(crowded, frozen=(), paused=False)) == Open("a", "v")
    assert urgent_job(state(built("a", 20_000))) is None


@pytest.mark.parametrize(
    ("dead", "job"), [(0, None), (1, None), (3_999, None), (4_000, Vacuum("a")), (20_000, Vacuum("a"))]
)
def test_vacuum_from_the_share_of_dead_rows(dead: int, job: Vacuum | None) -> None:
    assert rewrite_job(state(replace(built("a", 20_000), live_rows=20_000 - dead)), LIMITS) == job


def test_a_vacuum_takes_in_what_is_small_and_fresh() -> None:
    worn = replace(built("a", 100_000), live_rows=80_000)
    small = [unbuilt("b", 12_000), unbuilt("c", 500), built("d", 11_000), unbuilt("e", 60_000)]
    assert rewrite_job(state(worn, *small), LIMITS) == Merge(("a", "c", "b"))
    assert rewrite_job(state(worn, built("d", 11_000), unbuilt("e", 60_000)), LIMITS) == Vacuum("a")
    # Without an index there is nothing to extend, and a full segment takes in no more.
    assert rewrite_job(state(replace(worn, indexed=False), *small), LIMITS) == Vacuum("a")
    full = replace(LIMITS, sealed_rows_max=81_000)
    assert rewrite_job(state(worn, *small), full) == Merge(("a", "c"))


def test_after_an_import_all_is_merged_and_then_indexed_once() -> None:
    imported = [
        unbuilt(name, rows) for name, rows in [("a", 22_000), ("b", 22_000), ("c", 22_000), ("d", 9_000)]
    ]
    assert rewrite_job(state(*imported, paused=False), LIMITS) is None
    assert rewrite_job(state(*imported), LIMITS) == Merge(("d", "a", "b", "c"))
    assert rewrite_job(state(*imported, frozen=(1,)), LIMITS) is None
    assert rewrite_job(state(unbuilt("e", 75_000)), LIMITS) == Build("e", "v")
    assert rewrite_job(state(built("e", 75_000)), LIMITS) is None


def test_a_large_segment_is_indexed_while_writing_goes_on() -> None:
    assert rewrite_job(state(unbuilt("a", INDEX_ROWS_WHILE_WRITING), paused=False), LIMITS) == Build("a", "v")
    assert rewrite_job(state(unbuilt("a", INDEX_ROWS_WHILE_WRITING - 1), paused=False), LIMITS) is None


def test_an_indexed_segment_is_not_rewritten_for_a_few_more_rows() -> None:
    assert rewrite_job(state(built("a", 1_000_000), unbuilt("b", 20_000)), LIMITS) == Build("b", "v")
    assert rewrite_job(state(built("a", 1_000_000), built("b", 20_000), unbuilt("c", 500)), LIMITS) is None


def test_indexed_segments_of_one_size_are_merged_when_they_are_many() -> None:
    small = [built(name, 20_000) for name in "bcde"]
    assert rewrite_job(state(built("a", 1_000_000), *small), LIMITS) == Merge(("b", "c", "d", "e"))


def test_nothing_grows_beyond_the_largest_size() -> None:
    huge = [unbuilt(name, 3_000_000) for name in "abcde"]
    assert isinstance(rewrite_job(state(*huge, paused=True), LIMITS), Build)


def test_a_long_import_ends_settled_with_little_rewriting() -> None:
    """Plays the policy against an import of 2 million rows with random pauses; counts the work."""
    rng = random.Random(0)
    sealed: dict[str, SegmentState] = {}
    written = indexed = number = total = 0
    while total < 2_000_000:
        number += 1
        sealed[f"s{number}"] = unbuilt(f"s{number}", 20_000)
        total += 20_000
        written += 20_000
        paused = rng.random() < 0.1 or total >= 2_000_000
        while (job := rewrite_job(state(*sealed.values(), paused=paused), LIMITS)) is not None:
            if isinstance(job, Build):
                indexed += sealed[job.segment].rows
                sealed[job.segment] = built(job.segment, sealed[job.segment].rows)
                continue
            assert isinstance(job, Merge)
            number += 1
            parts = [sealed.pop(id) for id in job.segments]
            rows = sum(part.rows for part in parts)
            written += rows
            keeps_index = any(part.indexed for part in parts)
            indexed += rows if keeps_index else 0
            sealed[f"s{number}"] = (built if keeps_index else unbuilt)(f"s{number}", rows)
    assert sum(segment.rows for segment in sealed.values()) == total
    assert len(sealed) <= 2 * LIMITS.sealed_segments_target
    assert all(segment.indexed for segment in sealed.values())
    assert written < 6 * total
    assert indexed < 5 * total
