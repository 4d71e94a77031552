"""What an encoding of token matrices offers, and the token matrices in parts that fit in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenRows

_PART_TOKENS: Final = 65_536
_PART_DOCUMENTS: Final = 2_048

Sets = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Token matrices: float32 [T, d] back to back, and their offsets int64 [n + 1]."""


class Encoding(Protocol):
    """Maps token matrices to vectors whose inner product ranks like MaxSim; it is never shown as MaxSim."""

    cells: str
    dimensions: int
    width: int

    def documents(self, sets: Sets, context: BuildContext) -> NDArray[np.float32]:
        """Encodings of documents, float32 [n, width]."""
        ...

    def queries(self, sets: Sets, threads: int) -> NDArray[np.float32]:
        """Encodings of queries, float32 [n, width]."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything the encoding is made of, by name; `open` takes it back."""
        ...

    def resident_bytes(self) -> int:
        """Bytes that a search holds in memory."""
        ...


def parts(documents: TokenRows) -> Iterator[tuple[int, Sets]]:
    """(number of its first document, matrices) over all documents, decoded a part at a time."""
    bounds = documents.bounds()
    first = 0
    while first < documents.count:
        last = int(np.searchsorted(bounds, bounds[first] + _PART_TOKENS, side="right")) - 1
        last = min(max(last, first + 1), first + _PART_DOCUMENTS)
        yield first, sets_of(documents, first, last)
        first = last


def sets_of(documents: TokenRows, first: int, last: int) -> Sets:
    """Documents first .. last - 1, decoded."""
    bounds = documents.bounds()[first : last + 1]
    values = documents.values[bounds[0] : bounds[-1]]
    offsets = bounds - bounds[0]
    part = TokenRows(values, offsets, documents.encoding, documents.dimensions)
    return part.decode(), offsets


def cancel_flag(context: BuildContext) -> _native.CancelFlag | None:
    """The build's flag, where it is one that native code can poll."""
    return context.cancel if isinstance(context.cancel, _native.CancelFlag) else None


def save_arrays(directory: Path, arrays: dict[str, NDArray[Any]]) -> list[Path]:
    """One npy file per array."""
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    return [directory / f"{name}.npy" for name in arrays]
