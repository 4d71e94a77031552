"""Fixed-length bitmaps as uint64 words: bit i of word i // 64 is row i. Bits past the length are always 0."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native

Words = NDArray[np.uint64]


def word_count(length: int) -> int:
    """Words that hold `length` bits."""
    return (length + 63) // 64


def empty(length: int) -> Words:
    """A bitmap without a bit set."""
    return np.zeros(word_count(length), dtype=np.uint64)


def full(length: int) -> Words:
    """A bitmap with all `length` bits set."""
    words = np.full(word_count(length), 2**64 - 1, dtype=np.uint64)
    if length % 64:
        words[-1] = np.uint64((1 << (length % 64)) - 1)
    return words


def cut(words: Words, length: int) -> Words:
    """The bitmap without bits past the length; a copy only where there were any."""
    spare = -length % 64
    if spare == 0 or words.item(-1) >> (64 - spare) == 0:
        return words
    return words & full(length)


def intersection(bitmaps: Sequence[Words]) -> Words:
    """The bits that are set in all, one or more, bitmaps of one length."""
    found = bitmaps[0].copy()
    for words in bitmaps[1:]:
        found &= words
    return found


def union(bitmaps: Sequence[Words]) -> Words:
    """The bits that are set in any of one or more bitmaps of one length."""
    found = bitmaps[0].copy()
    for words in bitmaps[1:]:
        found |= words
    return found


def from_bools(mask: NDArray[np.bool_]) -> Words:
    """The bitmap of a boolean array."""
    packed = np.packbits(mask, bitorder="little")
    words = np.zeros(word_count(len(mask)), dtype=np.uint64)
    words.view(np.uint8)[: len(packed)] = packed
    return words


def from_positions(positions: NDArray[np.int64], length: int) -> Words:
    """The bitmap with the given bits set."""
    return _native.bits_at(positions, length)


def to_bools(words: Words, length: int) -> NDArray[np.bool_]:
    """The boolean array of a bitmap."""
    return np.unpackbits(words.view(np.uint8), count=length, bitorder="little").view(np.bool_)


def positions(words: Words | None, length: int) -> NDArray[np.int64]:
    """Ascending set bits; None means all."""
    if words is None:
        return np.arange(length, dtype=np.int64)
    return np.flatnonzero(to_bools(words, length))


def test(words: Words | None, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each of the bits `at` is set; None means all are."""
    if words is None:
        return np.ones(len(at), dtype=np.bool_)
    found: NDArray[np.bool_] = ((words[at >> 6] >> (at & 63).astype(np.uint64)) & np.uint64(1)) > 0
    return found


def without(words: Words | None, length: int, at: NDArray[np.int64]) -> Words:
    """A copy with the bits `at` cleared."""
    copy = full(length) if words is None else words.copy()
    np.bitwise_and.at(copy, at >> 6, ~(np.uint64(1) << (at & 63).astype(np.uint64)))
    return copy


def count(words: Words) -> int:
    """Number of set bits."""
    return _native.count_bits(words)


def extended(words: Words | None, length: int, longer: int) -> Words | None:
    """The bitmap made longer, the new bits set; None stays None."""
    if words is None or longer == length:
        return words
    return from_bools(np.concatenate([to_bools(words, length), np.ones(longer - length, dtype=np.bool_)]))
