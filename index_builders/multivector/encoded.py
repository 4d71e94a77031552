"""Documents as codes of their encodings: made, and carried over to changed documents."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.multivector.byte_rows import ByteScale
from nearfield.index_builders.multivector.code_rows import CodeScale
from nearfield.index_builders.multivector.encoding import Sets, parts
from nearfield.index_builders.multivector.learned import LearnedEncoding
from nearfield.index_builders.multivector.simhash import SimHashEncoding

_RANGE_DOCUMENTS: Final = 1_024
_RANGE_MARGIN: Final = 0.1


@dataclass(frozen=True)
class EncodedDocuments:
    """Encodings of documents, and what encodes others.

    Args:
        encoding: of documents and queries.
        scale: of the codes.
        planes: uint8 [n, stride] for each stride of the scale.
    """

    encoding: SimHashEncoding | LearnedEncoding
    scale: ByteScale | CodeScale
    planes: tuple[NDArray[np.uint8], ...]

    @property
    def nbytes(self) -> int:
        """Of all planes."""
        return sum(plane.nbytes for plane in self.planes)

    @classmethod
    def encode(
        cls,
        encoding: SimHashEncoding | LearnedEncoding,
        documents: TokenRows,
        scanned: bool,
        context: BuildContext,
    ) -> Self:
        """All documents; spread and range of the dimensions are those of a sample.

        Args:
            scanned: learned encodings are searched by CodeScan; others are bytes, whoever reads them.

        Raises:
            Cancelled: `context.cancel` was set.
        """
        sample = _sample(encoding, documents, context)
        scale: ByteScale | CodeScale
        if isinstance(encoding, LearnedEncoding) and scanned:
            scale = CodeScale.measured(sample)
        else:
            scale = _byte_scale(sample)
        encoded = cls(encoding, scale, _empty(documents.count, scale))
        encoded._fill(np.arange(documents.count), documents, context)
        return encoded

    def carried_over(self, origin: NDArray[np.int64], documents: TokenRows, context: BuildContext) -> Self:
        """Of documents that were there before, what they had; the others are encoded likewise.

        Args:
            origin: int64 [n], what each document was before, -1 for new ones.

        Raises:
            Cancelled: `context.cancel` was set.
        """
        kept = origin >= 0
        changed = type(self)(self.encoding, self.scale, _empty(documents.count, self.scale))
        for plane, before in zip(changed.planes, self.planes, strict=True):
            plane[kept] = before[origin[kept]]
        changed._fill(np.flatnonzero(~kept), documents, context)
        return changed

    def queries(self, sets: Sets, threads: int) -> NDArray[np.float32]:
        """float32 [nq, ...], whose inner products with the codes rank documents as MaxSim does, nearly."""
        return self.scale.queries(self.encoding.queries(sets, threads))

    def _fill(self, wanted: NDArray[np.int64], documents: TokenRows, context: BuildContext) -> None:
        some = documents if len(wanted) == documents.count else documents.take(wanted)
        for first, sets in parts(some):
            report(context, 0.4 + 0.4 * first / documents.count)
            last = first + len(sets[1]) - 1
            codes = self.scale.encode(self.encoding.documents(sets, context))
            for plane, part in zip(self.planes, codes, strict=True):
                plane[wanted[first:last]] = part
        if isinstance(self.encoding, LearnedEncoding):
            self.encoding.forget_rows()


def _empty(count: int, scale: ByteScale | CodeScale) -> tuple[NDArray[np.uint8], ...]:
    return tuple(np.empty((count, stride), np.uint8) for stride in scale.strides)


def _sample(
    encoding: SimHashEncoding | LearnedEncoding, documents: TokenRows, context: BuildContext
) -> NDArray[np.float32]:
    """Encodings of some of the documents that have tokens, at least one row."""
    with_tokens = np.flatnonzero(np.diff(documents.bounds()))
    if not len(with_tokens):
        return np.zeros((1, encoding.width), np.float32)
    step = -(-len(with_tokens) // _RANGE_DOCUMENTS)
    sample = documents.take(with_tokens[::step])
    return np.concatenate([encoding.documents(sets, context) for _, sets in parts(sample)])


def _byte_scale(sample: NDArray[np.float32]) -> ByteScale:
    """The range of each dimension in the sample, and a margin."""
    least, most = sample.min(axis=0), sample.max(axis=0)
    margin = np.float32(_RANGE_MARGIN) * (most - least)
    return ByteScale.spanning(least - margin, most + margin)
