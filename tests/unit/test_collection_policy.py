"""The maintenance policy is a pure function: states in, jobs out."""

import math
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
    Verify,
    rewrite_job,
    urgent_job,
    verify_job,
)

LIMITS = Thresholds(
    index_rows_min=10_000,
    settle_rows_min=1_000,
    sealed_segments_target=4,
    sealed_rows_max=5_000_000,
    deleted_share_vacuum=0.2,
    idle_s_min=10.0,
)


def unbuilt(id: str, rows: int) -> SegmentState:
    return SegmentState(id, rows, rows, unbuilt=("v",) if rows >= LIMITS.index_rows_min else ())


def built(id: str, rows: int) -> SegmentState:
    return SegmentState(id, rows, rows, indexed=True)


def state(
    *sealed: SegmentState,
    frozen: tuple[int, ...] = (),
    paused: bool = True,
    wants: bool = False,
    growing: int = 0,
    idle_s: float = 1.0,
) -> CollectionState:
    return CollectionState(frozen, sealed, growing, wants_index=wants, paused=paused, idle_s=idle_s)


def test_sealing_comes_first_and_oldest_first() -> None:
    crowded = state(replace(built("a", 20_000), unopened=("v",)), frozen=(5, 9), wants=True)
    assert urgent_job(crowded, LIMITS) == Seal(5)
    assert urgent_job(replace(crowded, frozen=()), LIMITS) == Freeze()
    assert urgent_job(replace(crowded, frozen=(), paused=False), LIMITS) == Open("a", "v")
    assert urgent_job(state(built("a", 20_000)), LIMITS) is None


def test_what_was_opened_unread_is_verified_beside_everything_else() -> None:
    unread = replace(built("b", 20_000), unverified=("v", "w"))
    busy = state(built("a", 20_000), unread, frozen=(5,), paused=False)
    assert verify_job(busy) == Verify("b", "v")
    assert verify_job(state(built("a", 20_000))) is None
    assert urgent_job(state(unread), LIMITS) is None


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


@pytest.mark.parametrize(
    ("sealed", "growing", "idle_s", "freezes"),
    [
        ([], 9_999, math.inf, False),  # too few for any index
        ([unbuilt("a", 90_000)], 999, math.inf, False),
        ([unbuilt("a", 90_000)], 1_000, 1.0, True),  # it will be built anyway
        ([unbuilt("a", 90_000), unbuilt("b", 4_001)], 1_000, 1.0, False),  # fewer, larger seals meanwhile
        ([built("a", 80_000)], 9_999, 1.0, False),
        ([built("a", 80_000)], 10_000, 1.0, True),
        ([built("a", 80_000), unbuilt("b", 3_000)], 7_000, 1.0, True),
        ([built("a", 80_000)], 1_249, 10.0, False),
        ([built("a", 80_000)], 1_250, 10.0, True),
        ([built("a", 80_000)], 1_250, 9.9, False),
        ([built("a", 1_000_000)], 20_000, 99.0, False),  # the larger the index, the longer the wait
        ([built("a", 1_000_000)], 20_000, 100.0, True),
        ([built("a", 4_999_000)], 9_000, math.inf, False),  # no room
    ],
)
def test_growing_rows_are_sealed_when_an_index_will_take_them_in(
    sealed: list[SegmentState], growing: int, idle_s: float, freezes: bool
) -> None:
    found = state(*sealed, growing=growing, idle_s=idle_s)
    assert urgent_job(found, LIMITS) == (Freeze() if freezes else None)
    assert urgent_job(replace(found, paused=False), LIMITS) is None


def test_small_segments_join_the_largest_index() -> None:
    large, small, settled = built("a", 80_000), unbuilt("b", 7_500), built("c", 12_000)
    assert rewrite_job(state(large, small), LIMITS) is None
    assert rewrite_job(state(large, small, idle_s=10.0), LIMITS) == Merge(("a", "b"))
    assert rewrite_job(state(large, small, settled), LIMITS) == Merge(("a", "b", "c"))
    assert rewrite_job(state(large, small, settled, paused=False), LIMITS) is None
    tight = replace(LIMITS, sealed_rows_max=90_000)
    assert rewrite_job(state(large, small, settled, idle_s=10.0), tight) == Merge(("a", "b"))
    # An index that would be built anew is for four times as many rows, or after four times the wait.
    anew = replace(state(large, small, settled, idle_s=39.0), extends=False)
    assert rewrite_job(anew, LIMITS) is None
    assert rewrite_job(replace(anew, idle_s=40.0), LIMITS) == Merge(("a", "b", "c"))
    assert rewrite_job(replace(anew, sealed=[large, built("d", 40_000)]), LIMITS) == Merge(("a", "d"))


def test_nothing_grows_beyond_the_largest_size() -> None:
    huge = [unbuilt(name, 3_000_000) for name in "abcde"]
    assert isinstance(rewrite_job(state(*huge, paused=True), LIMITS), Build)


@pytest.mark.parametrize(
    ("batch_rows", "idle_s", "written_most", "indexed_most", "segments_most"),
    [(50, 1.0, 10, 10, 5), (2_000, 1.0, 10, 10, 5), (15_000, 1.0, 10, 10, 5), (200, math.inf, 64, 64, 1)],
)
def test_a_trickle_with_pauses_is_rewritten_within_bounds(
    batch_rows: int, idle_s: float, written_most: float, indexed_most: float, segments_most: int
) -> None:
    """Plays the policy: a collection of 100,000 rows grows fourfold, and rests after each batch."""
    play = _Play([built("first", 100_000)])
    while play.rows() < 400_000:
        play.growing += batch_rows
        play.settle(idle_s)
        assert len(play.sealed) <= segments_most
        assert play.growing <= max(10_000, play.rows() / 8)
    assert play.written < written_most * 300_000
    assert play.indexed < indexed_most * 300_000


class _Play:
    """A collection that does at once what the policy says."""

    def __init__(self, sealed: list[SegmentState]) -> None:
        self.sealed = {segment.id: segment for segment in sealed}
        self.growing = self.written = self.indexed = self._number = 0

    def rows(self) -> int:
        return self.growing + sum(segment.rows for segment in self.sealed.values())

    def settle(self, idle_s: float) -> None:
        """Until there is no job for a pause that has lasted so long."""
        while True:
            wants = self.growing >= LIMITS.index_rows_min
            found = state(*self.sealed.values(), wants=wants, growing=self.growing, idle_s=idle_s)
            job = urgent_job(found, LIMITS) or rewrite_job(found, LIMITS)
            if isinstance(job, Freeze):
                self._enter(self.growing, False)
                self.growing = 0
            elif isinstance(job, Build):
                rows = self.sealed.pop(job.segment).rows
                self.written -= rows
                self._enter(rows, True)
            elif isinstance(job, Merge):
                parts = [self.sealed.pop(id) for id in job.segments]
                self._enter(sum(part.rows for part in parts), any(part.indexed for part in parts))
            else:
                assert job is None
                return

    def _enter(self, rows: int, indexed: bool) -> None:
        self._number += 1
        id = f"s{self._number}"
        self.sealed[id] = (built if indexed else unbuilt)(id, rows)
        self.written += rows
        self.indexed += rows if indexed else 0


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
