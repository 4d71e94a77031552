"""What to do next with a collection's segments: a pure function from their state to jobs.

Sealing comes first, because it frees memory and lets writers go on. Segments without an index are merged
while that is cheap, and indexed once: when writing has paused, or when a segment has become so large that it
will not be merged soon. Every row is thus rewritten about log4(rows / rows per seal) times, and indexed about
as often as its collection grows fourfold.

When writing has paused, rows that are scanned and small segments join the largest index, once they are a
share of it that pays: a smaller one the longer nothing was written. See decision 0018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TIER_FACTOR: Final = 4
"""Segments whose sizes differ by less than this factor are of one tier, and worth merging with each other."""
INDEX_ROWS_WHILE_WRITING: Final = 100_000
"""Rows from which a segment is indexed even though writing goes on."""
JOIN_SHARE: Final = 1 / 8
"""Rows join an index in a pause when they are at least this share of its own."""
JOIN_SHARE_IDLE: Final = 1 / 64
"""The same when nothing was written for so long that the work is a small part of the time."""
IDLE_ROWS_PER_S: Final = 10_000
"""That long is a second for so many rows of the index, five times the work, but `idle_s_min` at least."""
REBUILD_FACTOR: Final = 4
"""An index that cannot be extended is built anew for a share larger by this, after idling longer by this."""


@dataclass(frozen=True)
class Seal:
    """Write the oldest frozen segment to disk."""

    first_row: int


@dataclass(frozen=True)
class Freeze:
    """Close the growing segment, so that it gets sealed."""


@dataclass(frozen=True)
class Open:
    """Open a stored index that was too large to be opened with its collection."""

    segment: str
    vector: str


@dataclass(frozen=True)
class Verify:
    """Read a stored index that was opened unread, and the rows it is of, against their checksums."""

    segment: str
    vector: str


@dataclass(frozen=True)
class Vacuum:
    """Rewrite a segment without its dead rows."""

    segment: str


@dataclass(frozen=True)
class Merge:
    """Make one segment of several."""

    segments: tuple[str, ...]


@dataclass(frozen=True)
class Build:
    """Build the index of one vector of a segment."""

    segment: str
    vector: str


@dataclass(frozen=True)
class Drop:
    """Remove an index that is wanted no more."""

    segment: str
    vector: str


Job = Seal | Freeze | Open | Verify | Vacuum | Merge | Build | Drop


@dataclass(frozen=True)
class SegmentState:
    """A sealed segment.

    Args:
        rows, live_rows: with and without its dead rows.
        unbuilt: vectors whose wanted index does not exist yet (or is another one).
        unopened: vectors whose index exists and is not open yet.
        unverified: vectors whose index was opened without reading it.
        unwanted: vectors that have an index and are to have none.
        indexed: whether some vector has the index it wants.
    """

    id: str
    rows: int
    live_rows: int
    unbuilt: tuple[str, ...] = ()
    unopened: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    indexed: bool = False


@dataclass(frozen=True)
class CollectionState:
    """What the policy looks at.

    Args:
        frozen: first rows of the frozen segments, oldest first.
        growing_rows: rows in the growing segment.
        wants_index: whether a segment as large as the growing one would be indexed.
        paused: writing has paused, or the user waits for the collection to settle.
        idle_s: for how many seconds nothing was written; infinite when the user waits.
        extends: whether rows can be added to a built index for less than a new one costs.
    """

    frozen: Sequence[int]
    sealed: Sequence[SegmentState]
    growing_rows: int
    wants_index: bool
    paused: bool
    idle_s: float = 0.0
    extends: bool = True


@dataclass(frozen=True)
class Thresholds:
    """The limits that decide; see `EngineConfig`.

    Args:
        idle_s_min: fewer seconds without a write are never a long time.
    """

    index_rows_min: int
    settle_rows_min: int
    sealed_segments_target: int
    sealed_rows_max: int
    deleted_share_vacuum: float
    idle_s_min: float


def urgent_job(state: CollectionState, thresholds: Thresholds) -> Job | None:
    """What frees memory or makes an index usable: quick, and never kept waiting by `rewrite_job`."""
    if state.frozen:
        return Seal(state.frozen[0])
    if state.paused and (state.wants_index or _growing_may_join(state, thresholds)):
        return Freeze()
    for segment in state.sealed:
        if segment.unopened:
            return Open(segment.id, segment.unopened[0])
    return None


def verify_job(state: CollectionState) -> Job | None:
    """What finds damage that searches do not meet: reads much, and keeps nothing else waiting."""
    for segment in state.sealed:
        if segment.unverified:
            return Verify(segment.id, segment.unverified[0])
    return None


def rewrite_job(state: CollectionState, thresholds: Thresholds) -> Job | None:
    """What makes searches faster: may take minutes."""
    paused = state.paused and urgent_job(state, thresholds) is None
    for segment in state.sealed:
        if segment.unwanted:
            return Drop(segment.id, segment.unwanted[0])
    for segment in state.sealed:
        dead = segment.rows - segment.live_rows
        if dead and (not segment.live_rows or dead >= thresholds.deleted_share_vacuum * segment.rows):
            return _vacuum(segment, state.sealed, thresholds)
    job: Job | None = _merge(state.sealed, paused, thresholds)
    if job is None and paused:
        job = _join(state, thresholds)
    return job or _build(state.sealed, paused)


def _growing_may_join(state: CollectionState, thresholds: Thresholds) -> bool:
    """Whether the growing rows are to be sealed though they are too few for an index of their own.

    They are where they can be part of an index that is to be built anyway, or join one that is there. Each
    seal is at least a share of the small segments that wait already, so that these stay few.
    """
    rows = state.growing_rows
    fresh = [segment for segment in state.sealed if _is_fresh(segment, thresholds)]
    waiting = sum(segment.live_rows for segment in fresh if not segment.unbuilt)
    if rows < thresholds.settle_rows_min or TIER_FACTOR * rows < waiting:
        return False
    if any(segment.unbuilt for segment in fresh):
        return True
    largest = _largest_index(state.sealed)
    others = sum(segment.live_rows for segment in state.sealed if segment is not largest)
    return largest is not None and _pays(rows + others, largest, state, thresholds)


def _join(state: CollectionState, thresholds: Thresholds) -> Merge | None:
    """The largest index takes in all other segments, smallest first, as far as there is room."""
    largest = _largest_index(state.sealed)
    if largest is None:
        return None
    taken, total = [largest], largest.live_rows
    for other in sorted(state.sealed, key=lambda other: (other.live_rows, other.id)):
        if other is not largest and total + other.live_rows <= thresholds.sealed_rows_max:
            taken, total = [*taken, other], total + other.live_rows
    joining = total - largest.live_rows
    if joining < thresholds.settle_rows_min or not _pays(joining, largest, state, thresholds):
        return None
    return Merge(tuple(segment.id for segment in taken))


def _pays(rows: int, largest: SegmentState, state: CollectionState, thresholds: Thresholds) -> bool:
    """Whether so many rows are worth changing the largest index for, and it has room for them."""
    factor = 1 if state.extends else REBUILD_FACTOR
    long_ago = factor * max(thresholds.idle_s_min, largest.live_rows / IDLE_ROWS_PER_S)
    share = factor * (JOIN_SHARE_IDLE if state.idle_s >= long_ago else JOIN_SHARE)
    return rows >= share * largest.live_rows and rows + largest.live_rows <= thresholds.sealed_rows_max


def _largest_index(sealed: Sequence[SegmentState]) -> SegmentState | None:
    indexed = [segment for segment in sealed if segment.indexed]
    return max(indexed, key=lambda segment: (segment.live_rows, segment.id), default=None)


def _vacuum(segment: SegmentState, sealed: Sequence[SegmentState], thresholds: Thresholds) -> Vacuum | Merge:
    """Rewrites a segment; one with an index takes in what is small beside it, which costs little more."""
    taken, total = [segment], segment.live_rows
    for other in sorted(sealed, key=lambda other: (other.live_rows, other.id)):
        grown = total + other.live_rows
        small = grown <= (1 + 1 / TIER_FACTOR) * segment.live_rows and grown <= thresholds.sealed_rows_max
        if segment.indexed and other is not segment and small and _is_fresh(other, thresholds):
            taken, total = [*taken, other], grown
    return Merge(tuple(other.id for other in taken)) if len(taken) > 1 else Vacuum(segment.id)


def _merge(sealed: Sequence[SegmentState], paused: bool, thresholds: Thresholds) -> Merge | None:
    by_size = sorted(sealed, key=lambda segment: (segment.live_rows, segment.id))
    fresh = [segment for segment in by_size if _is_fresh(segment, thresholds)]
    settled = [segment for segment in by_size if segment not in fresh]
    run: list[SegmentState] = []
    if len(fresh) > (1 if paused else thresholds.sealed_segments_target):
        run = _run(fresh, None if paused else TIER_FACTOR, thresholds.sealed_rows_max)
    if not run and len(settled) > thresholds.sealed_segments_target:
        run = _run(settled, TIER_FACTOR, thresholds.sealed_rows_max)
    return Merge(tuple(segment.id for segment in run)) if run else None


def _is_fresh(segment: SegmentState, thresholds: Thresholds) -> bool:
    """Not yet what it is to become: too small for an index, or without the one it wants."""
    return not segment.indexed and (bool(segment.unbuilt) or segment.live_rows < thresholds.index_rows_min)


def _run(by_size: Sequence[SegmentState], factor: int | None, rows_max: int) -> list[SegmentState]:
    """Neighbours in size, each at most `factor` times the sum of those before it; at least two, or none."""
    for start in range(len(by_size) - 1):
        run, total = [by_size[start]], by_size[start].live_rows
        for segment in by_size[start + 1 :]:
            too_large = factor is not None and segment.live_rows > factor * max(total, 1)
            if too_large or total + segment.live_rows > rows_max:
                break
            run.append(segment)
            total += segment.live_rows
        if len(run) > 1:
            return run
    return []


def _build(sealed: Sequence[SegmentState], paused: bool) -> Build | None:
    for segment in sorted(sealed, key=lambda segment: -segment.live_rows):
        if segment.unbuilt and (paused or segment.live_rows >= INDEX_ROWS_WHILE_WRITING):
            return Build(segment.id, segment.unbuilt[0])
    return None
