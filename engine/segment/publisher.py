"""The current segment set of a collection, and how a committed change becomes the next one."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.schema import VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.growing import GrowingSegment, GrowingView
from nearfield.engine.segment.sealed import SealedSegment
from nearfield.engine.segment.segment_set import Segment, SegmentSet, local_positions
from nearfield.engine.storage.effects import Effects

_S = TypeVar("_S", bound=Segment)
OnPayloads = Callable[[Sequence[int], Sequence[tuple[int, bytes | None]]], None]
"""Takes rows whose payload is no longer valid, and rows with their new payload."""


class Publisher:
    """Sealed, frozen and growing segments. The writer changes it; all may read `pinned` and `sequence`.

    Args:
        specs: the collection's vectors.
        sealed: opened segments, with their dead rows.
        growing: unsealed rows.
        growing_live: which of them live; None for all.
        seal_bytes: size at which the growing segment is frozen.
        on_payloads: told about payloads with every publication.
    """

    def __init__(
        self,
        specs: Mapping[str, VectorSpec],
        sealed: Sequence[SealedSegment],
        growing: GrowingSegment,
        growing_live: bitmap.Words | None,
        seal_bytes: int,
        on_payloads: OnPayloads,
    ) -> None:
        self._specs = specs
        self._seal_bytes = seal_bytes
        self._on_payloads = on_payloads
        self._growing = growing
        self._view = growing.view(growing_live)
        self.sealed: tuple[SealedSegment, ...] = tuple(sealed)
        self.frozen: tuple[GrowingView, ...] = ()
        """Full, no longer growing, oldest first: what is to be sealed."""
        self.sequence = 0
        """Odd during a publication; the same even number around a read means that it saw one moment."""
        self.pinned = SegmentSet()
        self._freeze_if(self._growing.bytes >= seal_bytes)
        self._pin()

    @property
    def growing_rows(self) -> int:
        """Rows of the growing segment."""
        return self._growing.count

    @property
    def unsealed_bytes(self) -> int:
        """Memory of the growing and frozen segments, roughly."""
        return self._growing.bytes + sum(view.bytes for view in self.frozen)

    def publish(self, done: Sequence[Effects]) -> None:
        """Make committed effects visible, all at once."""
        self.sequence += 1
        try:
            for effects in done:
                for announce in effects.announcements:
                    announce()
            self._append(done)
            self._bury(np.array([row for effects in done for row in effects.dead], dtype=np.int64))
            self._freeze_if(self._growing.bytes >= self._seal_bytes)
            self._pin()
            self._tell_payloads(done)
        finally:
            self.sequence += 1

    # ---- called by announcements --------------------------------------------------------------------------

    def freeze(self) -> None:
        """Close the growing segment, if it has rows, so that it gets sealed."""
        self._freeze_if(self._growing.count > 0)

    def replace_frozen(self, first_row: int, sealed: SealedSegment | None) -> None:
        """Put a sealed segment (None: no row was left) in the place of the frozen one it was written from."""
        source = next(view for view in self.frozen if view.first_row == first_row)
        self.frozen = tuple(view for view in self.frozen if view is not source)
        self._enter(sealed, [source])

    def replace_sealed(self, ids: Sequence[str], merged: SealedSegment | None) -> None:
        """Put one segment (None: no row was left) in the place of those it was merged from."""
        sources = [segment for segment in self.sealed if segment.id in ids]
        self.sealed = tuple(segment for segment in self.sealed if segment.id not in ids)
        self._enter(merged, sources)

    def update_sealed(self, id: str, change: Callable[[SealedSegment], SealedSegment]) -> None:
        """Change one sealed segment's view, such as its indexes."""
        self.sealed = tuple(change(segment) if segment.id == id else segment for segment in self.sealed)

    def _enter(self, segment: SealedSegment | None, sources: Sequence[Segment]) -> None:
        """Add a segment, minus the rows that died in its sources since it was written."""
        if segment is None:
            return
        alive = SegmentSet(tuple(sources)).are_live(segment.rows)
        dead = np.flatnonzero(~alive)
        self.sealed = (*self.sealed, segment.without(dead) if len(dead) else segment)

    # ---- parts of a publication ---------------------------------------------------------------------------

    def _append(self, done: Sequence[Effects]) -> None:
        before = self._growing.count
        for effects in done:
            for birth in effects.births:
                self._growing.append(birth.count, birth.columns)
        if self._growing.count > before:
            live = bitmap.extended(self._view.live, before, self._growing.count)
            self._view = self._growing.view(live)

    def _bury(self, rows: NDArray[np.int64]) -> None:
        if len(rows):
            self._view = _without(self._view, rows)
            self.frozen = tuple(_without(view, rows) for view in self.frozen)
            self.sealed = tuple(_without(segment, rows) for segment in self.sealed)

    def _freeze_if(self, full: bool) -> None:
        if full:
            self.frozen = (*self.frozen, self._view)
            self._growing = GrowingSegment(self._specs, self._growing.first_row + self._growing.count)
            self._view = self._growing.view(None)

    def _pin(self) -> None:
        growing = (self._view,) if self._view.count else ()
        self.pinned = SegmentSet((*self.sealed, *self.frozen, *growing), self.pinned.epoch + 1)

    def _tell_payloads(self, done: Sequence[Effects]) -> None:
        dead = [row for effects in done for row in effects.dead]
        repainted = [row for effects in done for row in effects.repainted]
        current = {row: data for effects in done for row, data in effects.payloads}
        for row in dead:
            current.pop(row, None)
        if dead or repainted or current:
            self._on_payloads([*dead, *repainted], list(current.items()))


def _without(segment: _S, rows: NDArray[np.int64]) -> _S:
    local, inside = local_positions(segment, rows)
    return segment.without(local[inside]) if inside.any() else segment
