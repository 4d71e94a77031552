"""What every file format offers: a Source of points, or a Sink for them."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from nearfield.engine.errors import NearfieldError
from nearfield.engine.point import PointBatch
from nearfield.engine.schema import Datatype, Distance


class FileError(NearfieldError):
    """A file is not what its name says; the message tells which file, where in it, and what was expected."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")


TYPICAL_TOKENS = 128
"""Vectors of a document, for guessing how many points make a batch."""


@dataclass(frozen=True)
class VectorShape:
    """One named vector as a file holds it.

    Args:
        size: dimensions.
        datatype: coordinate type that keeps the file's values.
        distance: how vectors compare, where the file says so.
        multivector: whether a point has a matrix, that is a list of vectors.
    """

    size: int
    datatype: Datatype = Datatype.FLOAT32
    distance: Distance | None = None
    multivector: bool = False

    @property
    def point_bytes(self) -> int:
        """Bytes of a point's vector as float32; those of a multi-vector for a typical document."""
        return 4 * self.size * (TYPICAL_TOKENS if self.multivector else 1)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source.

    Args:
        id_column: column, key or array that holds the ids; None for the format's own (`id`, else positions).
        vector_column: column or data set that holds the vectors, where a file may have several.
        payload_files: sidecars of matrix formats, merged key by key; None: those that
            lie beside the source under the usual names.
    """

    id_column: str | None = None
    vector_column: str | None = None
    payload_files: tuple[Path, ...] | None = None


class Source(Protocol):
    """Points in a file, read in slices; memory stays bounded by the slice."""

    count: int
    vectors: Mapping[str, VectorShape]
    notes: tuple[str, ...]

    def batches(self, start: int, size: int) -> Iterator[PointBatch]:
        """Points from position `start` on, `size` at a time.

        Raises:
            FileError: the file is damaged or holds something else; says where.
        """


class Sink(Protocol):
    """A file under construction: `append` batches, then `close`. Until then only `*.part` files exist."""

    def append(self, batch: PointBatch) -> None:
        """Adds points after those already written."""

    def mark(self) -> dict[str, int] | None:
        """Flushes; returns the bytes written per file, to resume from. None when the format cannot resume."""

    def close(self) -> list[Path]:
        """Completes and renames the files; returns them."""

    def abandon(self) -> None:
        """Gives up; `*.part` files stay only where `mark` allows to resume."""


def optional_module(name: str, path: Path) -> ModuleType:
    """Imports a module of the `io` extra.

    Raises:
        FileError: not installed; names the command that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise FileError(path, f"this format needs {package}; run: pip install 'nearfield[io]'") from error
