"""CRC-32C, the one checksum of the on-disk format."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine._native import crc32c

BLOCK_BYTES: Final = 2**20
"""Sections are checksummed in blocks of this size, so that a first read verifies only what it touches."""

__all__ = ["BLOCK_BYTES", "block_checksums", "crc32c"]


def block_checksums(data: NDArray[np.uint8]) -> Sequence[int]:
    """CRC-32C of each BLOCK_BYTES block of `data`, the last one possibly shorter; none for no data."""
    return [crc32c(data[start : start + BLOCK_BYTES]) for start in range(0, len(data), BLOCK_BYTES)]
