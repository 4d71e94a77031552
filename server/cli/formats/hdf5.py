"""HDF5 in the ann-benchmarks layout: vectors in the data set `train`, the metric in the attribute `distance`.

`export` adds `ids` (decimal or UUID strings) and `payloads` (JSON strings): `import` reads them
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.point import PointBatch, id_to_json
from nearfield.engine.schema import Datatype, Distance
from nearfield.server.cli.formats.base import FileError, ReadOptions, optional_module
from nearfield.server.cli.formats.matrix import Matrix, MatrixSource, only_vector
from nearfield.server.cli.formats.sidecar import Slice, read_id

WRITTEN_DISTANCE = {
    Distance.COSINE: "angular",
    Distance.EUCLID: "euclidean",
    Distance.DOT: "dot",
    Distance.MANHATTAN: "manhattan",
}
OTHER_WORDS = {
    "cosine": Distance.COSINE,
    "l2": Distance.EUCLID,
    "ip": Distance.DOT,
    "innerproduct": Distance.DOT,
}
DISTANCES = OTHER_WORDS | {word: distance for distance, word in WRITTEN_DISTANCE.items()}
CHUNK_BYTES = 1 << 20


def open_source(path: Path, options: ReadOptions) -> MatrixSource:
    """Opens the file; `vector_column` names another data set than `train`.

    Raises:
        FileError: no HDF5 file, no such data set, not a matrix of numbers, or an unknown metric.
    """
    h5py = optional_module("h5py", path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileError(path, f"not a readable HDF5 file ({error})") from error
    name = options.vector_column or "train"
    table = file.get(name)
    if not isinstance(table, h5py.Dataset):
        raise FileError(path, f"no data set {name!r}; it has: {', '.join(sorted(file)) or 'none'}")
    if table.ndim != 2 or table.dtype.kind not in "fiu":
        found = f"{table.dtype} {table.shape}"
        raise FileError(path, f"data set {name!r} must be a matrix of numbers, found {found}")
    said = str(file.attrs.get("distance", "")).lower()
    if said and said not in DISTANCES:
        raise FileError(path, f"its distance is {said!r}; known: {', '.join(sorted(DISTANCES))}")
    datatype = {"float16": Datatype.FLOAT16, "uint8": Datatype.UINT8}.get(table.dtype.name, Datatype.FLOAT32)

    def rows(start: int, stop: int) -> NDArray[Any]:
        try:
            return np.asarray(table[start:stop])
        except OSError as error:
            raise FileError(path, f"data set {name!r}, rows {start:,} to {stop - 1:,}: {error}") from error

    matrix = Matrix(path, table.shape[0], table.shape[1], datatype, rows, DISTANCES.get(said))
    id_column = options.id_column or "ids"
    own = Hdf5Sidecar(path, file, id_column, table.shape[0]) if {id_column, "payloads"} & set(file) else None
    return MatrixSource(matrix, options, own if options.payload_files is None else None)


class Hdf5Sidecar:
    """Ids and payloads kept in the file itself."""

    def __init__(self, path: Path, file: Any, id_column: str, count: int) -> None:
        self._path = path
        self._count = count
        self._ids = file.get(id_column)
        self._payloads = file.get("payloads")
        self.has_ids = self._ids is not None
        for name, table in ((id_column, self._ids), ("payloads", self._payloads)):
            if table is not None and table.shape != (count,):
                raise FileError(path, f"data set {name!r} has shape {table.shape} for {count:,} vectors")

    def slices(self, start: int, size: int) -> Iterator[Slice]:
        """See Sidecar."""
        for first in range(start, self._count, size):
            last = min(first + size, self._count)
            ids = payloads = None
            if self._ids is not None:
                read = self._ids[first:last].tolist()
                texts = [value.decode() if isinstance(value, bytes) else value for value in read]
                ids = [read_id(value, self._path, f"id of row {first + i}") for i, value in enumerate(texts)]
            if self._payloads is not None:
                payloads = [bytes(value) or None for value in self._payloads[first:last]]
            yield ids, payloads


class Hdf5Sink:
    """Writes `train`, `ids`, `payloads` and the attribute `distance`. Cannot be resumed."""

    def __init__(self, path: Path, size: int, datatype: Datatype, distance: Distance) -> None:
        h5py = optional_module("h5py", path)
        self._path = path
        self._part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(self._part, "w")
        self._file.attrs["distance"] = WRITTEN_DISTANCE[distance]
        self._size = size
        rows = max(1, CHUNK_BYTES // (size * datatype.dtype.itemsize))
        text = h5py.string_dtype("utf-8")
        self._train = self._file.create_dataset(
            "train", (0, size), datatype.dtype, maxshape=(None, size), chunks=(rows, size)
        )
        self._ids = self._file.create_dataset("ids", (0,), text, maxshape=(None,), chunks=(4096,))
        self._payloads = self._file.create_dataset("payloads", (0,), text, maxshape=(None,), chunks=(4096,))

    def append(self, batch: PointBatch) -> None:
        """See Sink."""
        values = only_vector(self._path, batch, self._size)
        first, last = len(self._train), len(self._train) + len(batch)
        for table in (self._train, self._ids, self._payloads):
            table.resize(last, axis=0)
        self._train[first:last] = values
        self._ids[first:last] = [str(id_to_json(point_id)) for point_id in batch.ids]
        payloads = batch.payloads if batch.payloads is not None else [None] * len(batch)
        self._payloads[first:last] = [(payload or b"").decode() for payload in payloads]

    def mark(self) -> None:
        """Nothing to resume from: HDF5 keeps its own caches."""

    def close(self) -> list[Path]:
        """See Sink."""
        self._file.close()
        self._part.replace(self._path)
        return [self._path]

    def abandon(self) -> None:
        """See Sink."""
        self._file.close()
        self._part.unlink()
