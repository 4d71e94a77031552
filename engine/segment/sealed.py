"""Immutable segments on disk: vectors in one section file, built indexes in directories beside it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.protocol import Rows, VectorIndex
from nearfield.engine.schema import VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.growing import inverse_norms, needs_scale
from nearfield.engine.segment.segment_set import Segment
from nearfield.engine.storage.segment_files import SectionFile, SectionFileWriter

FILE_NAME: Final = "vectors.nfs"
_COPY_ROWS: Final = 8192


@dataclass(frozen=True)
class SealedSegment:
    """One segment directory, opened; see `Segment`. Its rows ascend but need not be consecutive.

    Args:
        id: name of its directory.
        directory: where it is.
        indexes: built index by vector name.
        live: bitmap of living rows; None when all live.
    """

    id: str
    directory: Path
    file: SectionFile
    rows: NDArray[np.int64]
    ordinals: Mapping[str, int]
    presence: Mapping[str, bitmap.Words | None]
    scales: Mapping[str, NDArray[np.float32]]
    indexes: Mapping[str, VectorIndex] = field(default_factory=dict)
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
        for name, spec in specs.items():
            stored = file.section(f"vectors/{ordinals[name]}").shape
            if stored != (len(rows), spec.size):
                raise Corrupted(
                    f"{file.path}: vector {name!r} has shape {stored}, not {(len(rows), spec.size)}"
                )
        return cls(
            id=directory.name,
            directory=directory,
            file=file,
            rows=rows,
            ordinals=ordinals,
            presence={name: _optional(file, f"present/{ordinals[name]}") for name in specs},
            scales={
                n: file.section(f"scale/{ordinals[n]}").array() for n, s in specs.items() if needs_scale(s)
            },
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
        return self.file.section(f"vectors/{self.ordinals[name]}").array()

    def gather(self, name: str, local: NDArray[np.int64]) -> Rows:
        return self.file.section(f"vectors/{self.ordinals[name]}").take(local)

    def present(self, name: str) -> bitmap.Words | None:
        return self.presence[name]

    def row_scale(self, name: str) -> NDArray[np.float32] | None:
        return self.scales.get(name)

    def index(self, name: str) -> VectorIndex | None:
        return self.indexes.get(name)

    def without(self, local: NDArray[np.int64]) -> Self:
        live = bitmap.without(self.live, self.count, local)
        return replace(self, live=live, live_count=bitmap.count(live))

    def with_index(self, name: str, index: VectorIndex | None) -> Self:
        """The same segment with the index of one vector replaced, or taken away."""
        others = {key: value for key, value in self.indexes.items() if key != name}
        return replace(self, indexes=others if index is None else {**others, name: index})


def write_segment(directory: Path, specs: Mapping[str, VectorSpec], sources: Iterable[Segment]) -> int:
    """Write the living rows of some segments, in row order, as one section file; returns how many.

    Args:
        directory: an existing, empty directory; the caller makes its name durable.
        sources: segments that share no row.

    Raises:
        Corrupted: a source's stored vectors are damaged.
    """
    picks = [(source, bitmap.positions(source.live, source.count)) for source in sources]
    rows = np.concatenate([source.rows[local] for source, local in picks])
    order = np.argsort(rows, kind="stable")
    with SectionFileWriter(directory / FILE_NAME) as out:
        out.add("rows", np.dtype(np.int64), rows.shape, [rows[order]])
        for ordinal, (name, spec) in enumerate(specs.items()):
            blocks = _copied(name, picks, order)
            out.add(f"vectors/{ordinal}", spec.datatype.dtype, (len(rows), spec.size), blocks)
            present = np.concatenate([bitmap.test(source.present(name), local) for source, local in picks])[
                order
            ]
            if not present.all():
                words = bitmap.from_bools(present)
                out.add(f"present/{ordinal}", words.dtype, words.shape, [words])
            if needs_scale(spec):
                scales = (inverse_norms(block) for block in _copied(name, picks, order))
                out.add(f"scale/{ordinal}", np.dtype(np.float32), rows.shape, scales)
    return len(rows)


def _copied(
    name: str, picks: list[tuple[Segment, NDArray[np.int64]]], order: NDArray[np.int64]
) -> Iterator[NDArray[Any]]:
    """The chosen vectors in the given order, some thousand rows at a time."""
    starts = np.cumsum([0, *(len(local) for _, local in picks)])
    owner = np.searchsorted(starts, order, side="right") - 1
    for start in range(0, len(order), _COPY_ROWS):
        wanted, owners = order[start : start + _COPY_ROWS], owner[start : start + _COPY_ROWS]
        parts = []
        for position in np.unique(owners):
            source, local = picks[position]
            mine = owners == position
            parts.append((mine, source.gather(name, local[wanted[mine] - starts[position]])))
        if len(parts) == 1:
            yield parts[0][1]
            continue
        block = np.empty((len(wanted), *parts[0][1].shape[1:]), dtype=parts[0][1].dtype)
        for mine, values in parts:
            block[mine] = values
        yield block


def _optional(file: SectionFile, name: str) -> bitmap.Words | None:
    if name not in file.sections:
        return None
    words: bitmap.Words = file.sections[name].array()
    return words
