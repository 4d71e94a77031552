"""Checks of the numbers a client sent."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest

_DOT_MAX: Final = 8_192
"""Longer dot products start threads of the BLAS library."""


def require_finite(values: NDArray[np.float32], where: str) -> None:
    """Check that no coordinate is NaN or infinite.

    Raises:
        InvalidRequest: one is; says which.
    """
    flat = values if values.ndim == 1 else values.ravel()
    if len(flat) <= _DOT_MAX and math.isfinite(np.vdot(flat, flat)):
        return  # the squares of all add up to something finite, which is quick to find out
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        position = "".join(f"[{index}]" for index in bad[0])
        raise InvalidRequest(
            f"vector values must be finite, got {values[tuple(bad[0])]}", f"{where}{position}"
        )


def require_range(values: NDArray[np.float32], fits: NDArray[np.bool_], message: str, where: str) -> None:
    """Check numbers of a matrix by whether each fits.

    Raises:
        InvalidRequest: one does not; says which.
    """
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise InvalidRequest(f"{message}, got {values[row, column]}", f"{where}[{row}][{column}]")
