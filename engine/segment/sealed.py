"""Immutable segments on disk: vectors in one section file, built indexes in directories beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self, cast

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import Rows, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.point import token_positions
from nearfield.engine.schema import VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn, no_tokens
from nearfield.engine.segment.growing import needs_scale
from nearfield.engine.segment.row_runs import RowRuns, runs_of
from nearfield.engine.storage.segment_files import Section, SectionFile

FILE_NAME: Final = "vectors.nfs"
BuiltIndex = VectorIndex | MultiVectorIndex


@dataclass(frozen=True)
class SealedSegment:
    """One segment directory, opened; see `Segment`. Its rows ascend but need not be consecutive.

    Args:
        id: name of its directory.
        directory: where it is.
        offsets: of each multi-vector, int64 [count + 1], or the number of tokens that every row has.
        documents: multi-vectors that were read, by name.
        indexes: built index by vector name.
        unverified: vectors whose stored index, and the rows it reads, nobody has verified since it was
            opened; one set for all views of the segment.
        live: bitmap of living rows; None when all live.
    """

    id: str
    directory: Path
    file: SectionFile
    rows: NDArray[np.int64]
    row_runs: RowRuns
    ordinals: Mapping[str, int]
    presence: Mapping[str, bitmap.Words | None]
    scales: Mapping[str, NDArray[np.float32]]
    offsets: Mapping[str, NDArray[np.int64] | int]
    specs: Mapping[str, VectorSpec]
    documents: dict[str, TokenRows] = field(default_factory=dict)
    indexes: Mapping[str, BuiltIndex] = field(default_factory=dict)
    unverified: set[str] = field(default_factory=set)
    live: bitmap.Words | None = None
    live_count: int = 0

    @classmethod
    def open(cls, directory: Path, specs: Mapping[str, VectorSpec]) -> Self:
        """Map a segment directory; small sections are verified now, vectors when first read. All rows live.

        Raises:
            Corrupted: a file is missing, damaged, or does not fit the collection's vectors.
        """
        file = SectionFile(directory / FILE_NAME)
        rows = file.section("rows").array()
        ordinals = {name: ordinal for ordinal, name in enumerate(specs)}
        offsets = {}
        for name, spec in specs.items():
            width, expected = spec.size, len(rows)
            if spec.multivector is not None:
                bounds = offsets[name] = _offsets(file, ordinals[name], len(rows))
                width = no_tokens(spec).shape[1]
                expected = bounds * len(rows) if isinstance(bounds, int) else int(bounds[-1])
            stored = file.section(f"vectors/{ordinals[name]}").shape
            if stored != (expected, width):
                raise Corrupted(f"{file.path}: vector {name!r} has shape {stored}, not {(expected, width)}")
        return cls(
            id=directory.name,
            directory=directory,
            file=file,
            rows=rows,
            row_runs=runs_of(rows),
            ordinals=ordinals,
            presence={name: _optional(file, f"present/{ordinals[name]}") for name in specs},
            scales={
                n: file.section(f"scale/{ordinals[n]}").array() for n, s in specs.items() if needs_scale(s)
            },
            offsets=offsets,
            specs=specs,
            live_count=len(rows),
        )

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def vector_bytes(self) -> int:
        """Bytes of all mapped vector sections."""
        return sum(self.file.section(f"vectors/{ordinal}").length for ordinal in self.ordinals.values())

    def vectors(self, name: str) -> Rows:
        return self.section(name).array()

    def section(self, name: str) -> Section:
        """The stored vectors, or tokens, of one name."""
        return self.file.section(f"vectors/{self.ordinals[name]}")

    def tokens(self, name: str) -> TokenRows:
        found = self.documents.get(name)
        if found is None:
            spec, bounds = self.specs[name], self.offsets[name]
            encoding = spec.token_encoding
            found = (
                TokenRows(self.vectors(name), None, encoding, spec.size, bounds)
                if isinstance(bounds, int)
                else TokenRows(self.vectors(name), bounds, encoding, spec.size)
            )
            self.documents[name] = found
        return found

    def gather(self, name: str, local: NDArray[np.int64]) -> StoredColumn:
        section = self.section(name)
        bounds = self.offsets.get(name)
        if bounds is None:
            return StoredColumn(section.take(local))
        starts = local * bounds if isinstance(bounds, int) else bounds[local]
        positions, offsets = token_positions(starts, self.token_counts(name, local))
        return StoredColumn(section.take(positions), None, offsets)

    def token_counts(self, name: str, local: NDArray[np.int64]) -> NDArray[np.int64]:
        bounds = self.offsets[name]
        return np.full(len(local), bounds) if isinstance(bounds, int) else bounds[local + 1] - bounds[local]

    def token_bytes(self, name: str) -> int:
        return self.section(name).length

    def present(self, name: str) -> bitmap.Words | None:
        return self.presence[name]

    def row_scale(self, name: str) -> NDArray[np.float32] | None:
        return self.scales.get(name)

    def index(self, name: str) -> VectorIndex | None:
        return None if name in self.offsets else cast(VectorIndex | None, self.indexes.get(name))

    def multivector_index(self, name: str) -> MultiVectorIndex | None:
        return cast(MultiVectorIndex | None, self.indexes.get(name)) if name in self.offsets else None

    def without(self, local: NDArray[np.int64]) -> Self:
        live = bitmap.without(self.live, self.count, local)
        return replace(self, live=live, live_count=bitmap.count(live))

    def with_index(self, name: str, index: BuiltIndex | None) -> Self:
        """The same segment with the index of one vector replaced, or taken away."""
        others = {key: value for key, value in self.indexes.items() if key != name}
        return replace(self, indexes=others if index is None else {**others, name: index})


def _optional(file: SectionFile, name: str) -> bitmap.Words | None:
    if name not in file.sections:
        return None
    words: bitmap.Words = file.sections[name].array()
    return words


def _offsets(file: SectionFile, ordinal: int, count: int) -> NDArray[np.int64] | int:
    """int64 [count + 1]: where each row's tokens begin; their number alone where all have equally many."""
    section = file.sections.get(f"offsets/{ordinal}")
    if section is None:
        each = file.section(f"vectors/{ordinal}").shape[0] // max(count, 1)
        return each or np.zeros(count + 1, dtype=np.int64)
    offsets: NDArray[np.int64] = section.array()
    if offsets.shape != (count + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise Corrupted(f"{file.path}: the offsets of vector {ordinal} do not ascend from 0")
    return offsets
