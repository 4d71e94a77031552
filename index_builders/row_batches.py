"""Batches of one size from a stream of rows, for whoever holds the iterator."""

from collections.abc import Iterator
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

Batch = tuple[NDArray[np.int64], NDArray[np.float32]]


class RowBatches(Iterator[Batch]):
    """Batches (ids int64 [m], distances float32 [m]) of `batch` rows, the last one of what is left.

    Any number may be open at once. Threads may share one: each batch goes to one of them. `close`, or leaving
    a `with` block, frees what the search holds; there are no batches after that.

    Args:
        stream: pieces of any size, in order.
        batch: rows of each batch.
    """

    def __init__(self, stream: Iterator[Batch], batch: int) -> None:
        self._stream: Iterator[Batch] | None = stream
        self._batch = batch
        self._rest: Batch = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        self._lock = Lock()

    def __next__(self) -> Batch:
        with self._lock:
            rows, distances = self._filled()
            if len(rows) == 0:
                raise StopIteration
            self._rest = rows[self._batch :], distances[self._batch :]
            return rows[: self._batch], distances[: self._batch]

    def close(self) -> None:
        """Ends the iteration; may be called more than once."""
        with self._lock:
            self._stream, self._rest = None, (self._rest[0][:0].copy(), self._rest[1][:0].copy())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _filled(self) -> Batch:
        """What is at hand, a batch at least unless the stream ends."""
        pieces, count = [self._rest] if len(self._rest[0]) > 0 else [], len(self._rest[0])
        while count < self._batch and self._stream is not None:
            piece = next(self._stream, None)
            if piece is None:
                self._stream = None
            else:
                pieces.append(piece)
                count += len(piece[0])
        if len(pieces) < 2:
            return pieces[0] if pieces else self._rest
        rows = np.concatenate([rows for rows, _ in pieces])
        distances = np.concatenate([distances for _, distances in pieces])
        order = np.lexsort((rows, distances))
        return rows[order], distances[order]
