"""Token matrices of documents, back to back, as they came or as LVQ codes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.thread_pools import shared_pool

ENCODE_ROWS = 65_536
"""Tokens widened to float32 at a time."""

Tokens = NDArray[np.float32] | NDArray[np.float16]


class TokenEncoding(StrEnum):
    """How the tokens of documents are stored."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    LVQ8 = "lvq8"
    LVQ4 = "lvq4"

    @property
    def bits(self) -> int:
        """Bits of one coordinate."""
        return {"float32": 32, "float16": 16, "lvq8": 8, "lvq4": 4}[self.value]

    @property
    def is_codes(self) -> bool:
        """Whether rows are LVQ codes rather than numbers."""
        return self in (TokenEncoding.LVQ8, TokenEncoding.LVQ4)

    def row_bytes(self, dimensions: int) -> int:
        """Bytes of one token. Code rows are not aligned: kernels need no alignment, and padding is dear."""
        if self.is_codes:
            return _native.lvq_stride(dimensions, self.bits, 1)
        return dimensions * self.bits // 8


@dataclass(frozen=True)
class TokenRows:
    """Token matrices of n documents, possibly memory maps.

    Documents may be empty; an empty one is never an answer. LVQ codes are those of the tokens themselves, not
    of their differences from a mean, so scores need no correction.

    Args:
        values: float32 or float16 [T, d], or uint8 [T, row_bytes], the code rows of
            `engine/native/kernels/code_kernels.h`; C-contiguous.
        offsets: int64 [n + 1], ascending from 0 to T: document i is values[offsets[i]:offsets[i + 1]]. None
            where every document has `tokens_per_document` tokens.
        encoding: of the values.
        dimensions: d.
        tokens_per_document: the same count for all of them (ConstBERT, ECIR 2025); 0
            where offsets are given.

    Raises:
        ValueError: arrays that do not fit each other.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64] | None
    encoding: TokenEncoding
    dimensions: int
    tokens_per_document: int = 0

    def __post_init__(self) -> None:
        width = self.encoding.row_bytes(self.dimensions) if self.encoding.is_codes else self.dimensions
        dtype = np.dtype(np.uint8 if self.encoding.is_codes else self.encoding.value)
        if self.values.dtype != dtype or self.values.ndim != 2 or self.values.shape[1] != width:
            raise ValueError(
                f"values: expected {dtype} [T, {width}], got {self.values.dtype} {list(self.values.shape)}"
            )
        tokens = len(self.values)
        if self.offsets is None:
            each = self.tokens_per_document
            if each < 1 or tokens % each:
                raise ValueError(
                    f"tokens_per_document: expected a divisor of {tokens} tokens, at least 1, got {each}"
                )
            return
        check_offsets(self.offsets, tokens)
        if self.tokens_per_document:
            raise ValueError("tokens_per_document: expected 0 where offsets are given")

    @property
    def count(self) -> int:
        """Documents."""
        if self.offsets is None:
            return len(self.values) // self.tokens_per_document
        return len(self.offsets) - 1

    @property
    def token_count(self) -> int:
        """Tokens of all documents."""
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of values and offsets."""
        return self.values.nbytes + (0 if self.offsets is None else self.offsets.nbytes)

    def bounds(self) -> NDArray[np.int64]:
        """The offsets, computed where none are stored: int64 [n + 1]."""
        if self.offsets is not None:
            return self.offsets
        return np.arange(self.count + 1, dtype=np.int64) * self.tokens_per_document

    @classmethod
    def encode(
        cls,
        values: Tokens,
        offsets: NDArray[np.int64] | None,
        encoding: TokenEncoding,
        threads: int = 1,
        tokens_per_document: int = 0,
    ) -> "TokenRows":
        """Documents in an encoding.

        Args:
            values: float32 or float16 [T, d]; not copied where they are in the encoding already.
            offsets, tokens_per_document: as in the class.
            encoding: float16 rounds to nearest; LVQ has one level, its range clipped for the least error.
            threads: native threads.

        Raises:
            ValueError: arrays that do not fit each other.
        """
        if values.ndim != 2 or values.dtype not in (np.float32, np.float16) or values.shape[1] < 1:
            raise ValueError(
                f"values: expected float32 or float16 [T, d], got {values.dtype} {list(values.shape)}"
            )
        dimensions = values.shape[1]
        if encoding.is_codes:
            stored: NDArray[Any] = _encode_lvq(values, encoding, threads)
        else:
            stored = np.ascontiguousarray(values, dtype=encoding.value)
        return cls(stored, offsets, encoding, dimensions, tokens_per_document)

    def take(self, documents: NDArray[np.int64]) -> "TokenRows":
        """A copy of some documents, int64 [m], in that order."""
        if self.offsets is None:
            shaped = self.values.reshape(self.count, self.tokens_per_document, self.values.shape[1])
            taken = np.ascontiguousarray(shaped[documents]).reshape(-1, self.values.shape[1])
            return TokenRows(taken, None, self.encoding, self.dimensions, self.tokens_per_document)
        starts = self.offsets[:-1][documents]
        sizes = self.offsets[1:][documents] - starts
        offsets = np.zeros(len(documents) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        rows = np.arange(offsets[-1], dtype=np.int64) + np.repeat(starts - offsets[:-1], sizes)
        return TokenRows(np.ascontiguousarray(self.values[rows]), offsets, self.encoding, self.dimensions)

    def decode(self) -> NDArray[np.float32]:
        """The tokens as float32 [T, d], a copy: what the codes stand for, or the stored numbers."""
        if not self.encoding.is_codes:
            return self.values.astype(np.float32)
        flat = np.ascontiguousarray(self.values).reshape(-1)
        return _native.lvq_decode(
            flat, self.token_count, self.dimensions, self.encoding.bits, self.values.shape[1]
        )


def check_offsets(offsets: NDArray[np.int64], tokens: int) -> None:
    """Refuse offsets that do not cut `tokens` rows into documents.

    Raises:
        ValueError: says what was expected and what came.
    """
    if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) < 1:
        raise ValueError(f"offsets: expected int64 [n + 1], got {offsets.dtype} {list(offsets.shape)}")
    if offsets[0] != 0 or offsets[-1] != tokens:
        raise ValueError(f"offsets: expected 0 .. {tokens}, got {offsets[0]} .. {offsets[-1]}")
    if (np.diff(offsets) < 0).any():
        raise ValueError("offsets: expected ascending numbers")


def _encode_lvq(values: Tokens, encoding: TokenEncoding, threads: int) -> NDArray[np.uint8]:
    """Code rows [T, row_bytes] of tokens, widened in parts."""
    stride = encoding.row_bytes(values.shape[1])
    out = np.empty((len(values), stride), np.uint8)
    pool = shared_pool(threads)
    for first in range(0, len(values), ENCODE_ROWS):
        part = np.ascontiguousarray(values[first : first + ENCODE_ROWS], dtype=np.float32)
        target = out[first : first + ENCODE_ROWS].reshape(-1)
        _native.lvq_encode(part, encoding.bits, True, None, target, stride, pool)
    return out
