"""Matrix files (npy, *vecs, hdf5): vectors alone; ids and payloads come from sidecars or positions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.point import PointBatch, PointId, VectorColumn
from nearfield.engine.schema import UNNAMED, Datatype, Distance
from nearfield.server.cli.formats.base import FileError, ReadOptions, VectorShape
from nearfield.server.cli.formats.sidecar import Sidecar, find_sidecars, open_sidecars


@dataclass(frozen=True)
class Matrix:
    """The vectors of a file.

    Args:
        rows: (start, stop) -> [stop - start, size] in the file's own dtype; validates what it reads.
    """

    path: Path
    count: int
    size: int
    datatype: Datatype
    rows: Callable[[int, int], NDArray[Any]]
    distance: Distance | None = None


class MatrixSource:
    """A Source made of a matrix and its sidecars.

    Raises:
        FileError: empty, or a sidecar with another number of rows.
    """

    def __init__(self, matrix: Matrix, options: ReadOptions, own_sidecar: Sidecar | None = None) -> None:
        if matrix.size < 1:
            raise FileError(matrix.path, "its vectors have no dimensions")
        self._matrix = matrix
        self.count = matrix.count
        self.vectors: Mapping[str, VectorShape] = {
            UNNAMED: VectorShape(matrix.size, matrix.datatype, matrix.distance)
        }
        files = find_sidecars(matrix.path) if options.payload_files is None else options.payload_files
        self._sidecar = own_sidecar or open_sidecars(files, matrix.count, options.id_column)
        self.notes = tuple(f"payload from {path.name}" for path in files) if own_sidecar is None else ()
        if options.id_column and not self._sidecar.has_ids:
            raise FileError(matrix.path, f"no sidecar has the id column {options.id_column!r}")

    def batches(self, start: int, size: int) -> Iterator[PointBatch]:
        """See Source."""
        extras = self._sidecar.slices(start, size)
        for first in range(start, self.count, size):
            last = min(first + size, self.count)
            values = np.ascontiguousarray(self._matrix.rows(first, last), np.float32)
            self._check_finite(values, first)
            ids: Sequence[PointId] | None
            ids, payloads = next(extras)
            points = range(first, last) if ids is None else ids
            yield PointBatch(points, {UNNAMED: VectorColumn(values)}, payloads)

    def _check_finite(self, values: NDArray[np.float32], first: int) -> None:
        # One pass without a temporary: a sum is finite only if all is (overflow is looked at again).
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(values.sum()):
                return
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = (int(part) for part in bad[0])
            where = f"row {first + row:,}, dimension {column}"
            raise FileError(self._matrix.path, f"{where}: {values[row, column]} is not a finite number")


def only_vector(path: Path, batch: PointBatch, size: int) -> NDArray[np.float32]:
    """The one vector every point of an exported batch must have, float32 [n, size].

    Raises:
        FileError: a point without it: matrix files have no gaps.
    """
    nothing = VectorColumn(np.empty((0, size), np.float32), np.empty(0, np.int64))
    (column,) = batch.vectors.values() or (nothing,)
    if column.points is not None and len(column.points) != len(batch):
        missing = np.setdiff1d(np.arange(len(batch)), column.points)[0]
        raise FileError(
            path, f"point {batch.ids[missing]} has no such vector; export to parquet or jsonl instead"
        )
    return column.values
