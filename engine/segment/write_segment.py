"""Writing a sealed segment: the living rows of others, copied in row order some thousand at a time."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.schema import VectorSpec
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn, gathered, no_tokens
from nearfield.engine.segment.growing import inverse_norms, needs_scale
from nearfield.engine.segment.sealed import FILE_NAME
from nearfield.engine.segment.segment_set import Segment
from nearfield.engine.storage.segment_files import SectionFileWriter

_COPY_ROWS: Final = 8192
_COPY_TOKENS: Final = 2**16


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
            if spec.multivector is None:
                blocks = (block.values for block in _copied(name, spec, picks, order, _COPY_ROWS))
                out.add(f"vectors/{ordinal}", spec.datatype.dtype, (len(rows), spec.size), blocks)
            else:
                _add_tokens(out, ordinal, name, spec, picks, order)
            present = np.concatenate([bitmap.test(source.present(name), local) for source, local in picks])[
                order
            ]
            if not present.all():
                words = bitmap.from_bools(present)
                out.add(f"present/{ordinal}", words.dtype, words.shape, [words])
            if needs_scale(spec):
                copied = _copied(name, spec, picks, order, _COPY_ROWS)
                scales = (inverse_norms(block.values) for block in copied)
                out.add(f"scale/{ordinal}", np.dtype(np.float32), rows.shape, scales)
    return len(rows)


Picks = list[tuple[Segment, NDArray[np.int64]]]
"""Segments and the local rows chosen of each."""


def _add_tokens(
    out: SectionFileWriter, ordinal: int, name: str, spec: VectorSpec, picks: Picks, order: NDArray[np.int64]
) -> None:
    """A multi-vector's tokens and, unless all documents have equally many, where each one's begin."""
    counts = np.concatenate([source.token_counts(name, local) for source, local in picks])[order]
    total = int(counts.sum())
    step = max(1, min(_COPY_ROWS, _COPY_TOKENS * len(order) // max(total, 1)))
    empty = no_tokens(spec)
    blocks = (block.values for block in _copied(name, spec, picks, order, step))
    out.add(f"vectors/{ordinal}", empty.dtype, (total, empty.shape[1]), blocks)
    if (counts != counts[0]).any():
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), counts]).cumsum()
        out.add(f"offsets/{ordinal}", offsets.dtype, offsets.shape, [offsets])


def _copied(
    name: str, spec: VectorSpec, picks: Picks, order: NDArray[np.int64], step: int
) -> Iterator[StoredColumn]:
    """The chosen vectors in the given order, `step` rows at a time."""
    starts = np.cumsum([0, *(len(local) for _, local in picks)])
    owner = np.searchsorted(starts, order, side="right") - 1
    for start in range(0, len(order), step):
        wanted, owners = order[start : start + step], owner[start : start + step]
        parts = []
        for position in np.unique(owners):
            source, local = picks[position]
            mine = np.flatnonzero(owners == position)
            parts.append((mine, source.gather(name, local[wanted[mine] - starts[position]])))
        yield parts[0][1] if len(parts) == 1 else gathered(spec, parts)
