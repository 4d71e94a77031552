"""What filters found, kept in memory until something is published."""

import threading
from typing import Final

from nearfield.engine import limits
from nearfield.engine.filter.expression import Filter
from nearfield.engine.search.request import RowBitmaps

_OBJECT_BYTES: Final = 64


class FilterAnswers:
    """Bitmaps by filter, all of one moment; any thread may use it, and reads take no lock.

    A moment is an even `Publisher.sequence`: what is kept was evaluated while that was the number, and is
    told only while it still is. Every publication makes another number, so every write does before it is
    acknowledged.

    Args:
        bytes_max: bitmaps and filters held at most, roughly; when they would be more, all are dropped.
    """

    def __init__(self, bytes_max: int = limits.FILTER_ANSWERS_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: tuple[int, dict[Filter, RowBitmaps]] = (0, {})

    def known(self, condition: Filter, moment: int) -> RowBitmaps | None:
        """The rows a filter found at this moment, if they are kept."""
        kept_moment, found = self._kept
        if kept_moment != moment:
            return None
        try:
            return found.get(condition)
        except TypeError:  # a filter made of lists has no hash
            return None

    def keep(self, condition: Filter, rows: RowBitmaps, moment: int) -> None:
        """Keep what a filter found at a moment; what is kept of another one is dropped."""
        added = sum([words.nbytes for words in rows])
        if added < self._bytes_max:
            added += _filter_bytes(condition)
        if added > self._bytes_max:
            return
        with self._lock:
            if self._kept[0] != moment or self._bytes + added > self._bytes_max:
                self._kept, self._bytes = (moment, {}), 0
            try:
                self._kept[1][condition] = rows
            except TypeError:
                return
            self._bytes += added

    def resident_bytes(self) -> int:
        """Bytes of memory held, roughly."""
        return self._bytes


def _filter_bytes(part: object) -> int:
    """Bytes of a filter or a part of one, roughly."""
    if isinstance(part, str):
        return _OBJECT_BYTES + len(part)
    if isinstance(part, tuple | list):
        return _OBJECT_BYTES + sum(map(_filter_bytes, part))
    fields = getattr(part, "__dict__", None)
    return _OBJECT_BYTES + (sum(map(_filter_bytes, fields.values())) if fields else 0)
