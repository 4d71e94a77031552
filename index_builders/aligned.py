"""Arrays whose rows begin at cache lines, where numpy promises 16 bytes only."""

from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE_BYTES: Final = 64


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros [shape] that begin at a multiple of 64 bytes."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.zeros(size + LINE_BYTES, dtype=np.uint8)
    first = -memory.ctypes.data % LINE_BYTES
    return memory[first : first + size].view(kind).reshape(shape)
