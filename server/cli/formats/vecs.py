"""TEXMEX `.fvecs`, `.bvecs`, `.ivecs`: each vector is an int32 count of dimensions, then its coordinates."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.limits import VECTOR_DIMENSIONS_MAX
from nearfield.engine.point import PointBatch
from nearfield.engine.schema import Datatype
from nearfield.server.cli.formats.base import FileError, ReadOptions
from nearfield.server.cli.formats.matrix import Matrix, MatrixSource, only_vector
from nearfield.server.cli.formats.part_file import PartFile
from nearfield.server.cli.formats.sidecar import SidecarSink

COORDINATE: dict[str, np.dtype[Any]] = {
    ".fvecs": np.dtype("<f4"),
    ".bvecs": np.dtype("u1"),
    ".ivecs": np.dtype("<i4"),
}
COUNT_BYTES = 4


def open_source(path: Path, options: ReadOptions) -> MatrixSource:
    """Maps the file; each slice checks the dimension count of every vector in it.

    Raises:
        FileError: empty, an absurd dimension count, or a length that is no whole number of vectors.
    """
    coordinate = COORDINATE[path.suffix.lower()]
    length = path.stat().st_size
    if length < COUNT_BYTES:
        raise FileError(path, f"no vector in it ({length} bytes)")
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(COUNT_BYTES), "little", signed=True)
    if not 1 <= size <= VECTOR_DIMENSIONS_MAX:
        kind = path.suffix[1:]
        raise FileError(
            path, f"the first vector claims {size} dimensions (at byte 0): is this a {kind} file?"
        )
    stride = COUNT_BYTES + size * coordinate.itemsize
    count, rest = divmod(length, stride)
    if rest:
        raise FileError(
            path,
            f"truncated or damaged: {count:,} vectors of {size} dimensions end at byte {count * stride:,}, "
            f"then {rest:,} bytes follow where a vector takes {stride:,}",
        )
    record = np.dtype([("size", "<i4"), ("values", coordinate, (size,))])
    table = np.memmap(path, mode="r", dtype=record, shape=(count,))

    def rows(start: int, stop: int) -> NDArray[Any]:
        part = table[start:stop]
        wrong = np.flatnonzero(part["size"] != size)
        if len(wrong):
            row = start + int(wrong[0])
            found = int(part["size"][wrong[0]])
            where = f"vector {row:,}, at byte {row * stride:,}"
            raise FileError(path, f"{where}: claims {found} dimensions instead of {size}")
        values: NDArray[Any] = part["values"]
        return values

    datatype = Datatype.UINT8 if path.suffix.lower() == ".bvecs" else Datatype.FLOAT32
    return MatrixSource(Matrix(path, count, size, datatype, rows), options)


class VecsSink:
    """Writes vectors in the coordinate type of the extension, and ids and payloads to `X.points.jsonl`."""

    def __init__(self, path: Path, size: int, resume: dict[str, int] | None) -> None:
        self._coordinate = COORDINATE[path.suffix.lower()]
        self._size = size
        self._file = PartFile(path, resume)
        self._sidecar = SidecarSink(path, resume)

    def append(self, batch: PointBatch) -> None:
        """Adds vectors; raises FileError for values that the extension's type cannot hold."""
        values = only_vector(self._file.path, batch, self._size)
        table = np.empty(len(batch), [("size", "<i4"), ("values", self._coordinate, (self._size,))])
        table["size"] = self._size
        with np.errstate(invalid="ignore"):
            table["values"] = values
        if not np.array_equal(table["values"], values):
            path = self._file.path
            raise FileError(
                path, f"{path.suffix[1:]} holds {self._coordinate.name} only; export to fvecs instead"
            )
        self._file.stream.write(table.tobytes())
        self._sidecar.append(batch)

    def mark(self) -> dict[str, int]:
        """See Sink."""
        return self._file.mark() | self._sidecar.mark()

    def close(self) -> list[Path]:
        """See Sink."""
        return [self._file.close(), self._sidecar.close()]

    def abandon(self) -> None:
        """See Sink."""
        self._file.abandon()
        self._sidecar.abandon()
