"""numpy `.npy` matrices: one row per point."""

from pathlib import Path

import numpy as np

from nearfield.engine.point import PointBatch
from nearfield.engine.schema import Datatype
from nearfield.server.cli.formats.base import FileError, ReadOptions
from nearfield.server.cli.formats.matrix import Matrix, MatrixSource, only_vector
from nearfield.server.cli.formats.part_file import PartFile
from nearfield.server.cli.formats.sidecar import SidecarSink

READABLE_KINDS = "fiu"
"""Floating point, signed and unsigned integers of any width."""


def open_source(path: Path, options: ReadOptions) -> MatrixSource:
    """Maps the matrix; nothing is read before it is asked for.

    Raises:
        FileError: no npy file, pickled objects, not two-dimensional, or shorter than its header says.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise FileError(path, f"not a complete npy file ({error})") from error
    if array.ndim != 2 or array.dtype.kind not in READABLE_KINDS:
        found = f"{array.dtype} {array.shape}"
        raise FileError(path, f"expected a matrix [points, dimensions] of numbers, found {found}")
    matrix = Matrix(path, array.shape[0], array.shape[1], _datatype(array.dtype), lambda a, b: array[a:b])
    return MatrixSource(matrix, options)


def _datatype(dtype: np.dtype[np.generic]) -> Datatype:
    return {"float16": Datatype.FLOAT16, "uint8": Datatype.UINT8}.get(dtype.name, Datatype.FLOAT32)


class NpySink:
    """Writes `X.npy` in the stored dtype, and ids and payloads to `X.points.jsonl`."""

    def __init__(self, path: Path, size: int, datatype: Datatype, resume: dict[str, int] | None) -> None:
        self._size = size
        self._dtype = datatype.dtype
        self._file = PartFile(path, resume)
        self._rows = self._read_rows() if resume else 0
        self._sidecar = SidecarSink(path, resume)
        if not resume:
            self._write_header()

    def append(self, batch: PointBatch) -> None:
        """Adds rows; raises FileError for a point that lacks the vector."""
        values = only_vector(self._file.path, batch, self._size)
        self._file.stream.write(values.astype(self._dtype, copy=False).tobytes())
        self._sidecar.append(batch)
        self._rows += len(batch)

    def mark(self) -> dict[str, int]:
        """See Sink."""
        return self._file.mark() | self._sidecar.mark()

    def close(self) -> list[Path]:
        """Writes the final number of rows into the header (its padding leaves room), then renames."""
        self._file.stream.seek(0)
        self._write_header()
        return [self._file.close(), self._sidecar.close()]

    def abandon(self) -> None:
        """See Sink."""
        self._file.abandon()
        self._sidecar.abandon()

    def _write_header(self) -> None:
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, self._size)}
        np.lib.format.write_array_header_1_0(self._file.stream, header)

    def _read_rows(self) -> int:
        """Rows already in a resumed file, from its size."""
        stream = self._file.stream
        end = stream.tell()
        stream.seek(0)
        np.lib.format.read_magic(stream)
        np.lib.format.read_array_header_1_0(stream)
        first = stream.tell()
        stream.seek(end)
        return (end - first) // (self._size * self._dtype.itemsize)
