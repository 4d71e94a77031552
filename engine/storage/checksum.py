"""CRC-32C, the one checksum of the on-disk format."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine._native import crc32c

BLOCK_BYTES: Final = 2**17
"""Sections are checksummed in blocks of at least this size: what the kernel reads around a fault anyway."""

__all__ = ["BLOCK_BYTES", "block_checksums", "crc32c"]


def block_checksums(data: NDArray[np.uint8], block_bytes: int) -> Sequence[int]:
    """CRC-32C of each block of `data`, the last one possibly shorter; none for no data."""
    return [crc32c(data[start : start + block_bytes]) for start in range(0, len(data), block_bytes)]
