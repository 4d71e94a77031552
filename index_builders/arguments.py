"""What callers of the library entries may pass: checked, and made what native code takes."""

from typing import Any, Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfield.engine import _native, limits
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.protocol import Rows
from nearfield.engine.segment import bitmap

_DTYPES: Final = ("float32", "float16", "uint8")
_CHECK_ROWS: Final = 16_384


def check_rows(value: ArrayLike, name: str) -> Rows:
    """Usable rows [n, d], contiguous; float64 becomes float32.

    Raises:
        InvalidRequest: another dtype or shape, or values that are not finite.
    """
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = _to_float32(array)
    if array.dtype.name not in _DTYPES:
        raise InvalidRequest(f"{name} must be {', '.join(_DTYPES)} or float64, got {array.dtype}", name)
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidRequest(
            f"{name} must be an array [n, d] with n and d at least 1, got shape {array.shape}", name
        )
    if array.shape[1] > limits.VECTOR_DIMENSIONS_MAX:
        raise InvalidRequest(
            f"{name} may have {limits.VECTOR_DIMENSIONS_MAX} dimensions, got {array.shape[1]}", name
        )
    _check_finite(array, name)
    return np.ascontiguousarray(array)


def check_queries(value: ArrayLike, dimensions: int, name: str = "queries") -> NDArray[np.float32]:
    """Queries float32 [nq, dimensions], contiguous; [dimensions] is one query.

    Raises:
        InvalidRequest: another shape, or values that are not finite numbers.
    """
    if type(value) is np.ndarray:  # nearly always, and the rest nearly always right as well
        rows = value[None] if value.ndim == 1 else value
        if _native.is_finite_matrix(rows, dimensions):
            return rows
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise InvalidRequest(f"{name} must be numbers, got {array.dtype}", name)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != dimensions:
        raise InvalidRequest(f"{name} must be an array [nq, {dimensions}], got shape {array.shape}", name)
    converted = np.ascontiguousarray(_to_float32(array))
    _check_finite(converted, name)
    return converted


def _to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which is refused with its place
        return array.astype(np.float32, copy=False)


def _check_finite(array: NDArray[Any], name: str) -> None:
    if array.dtype.kind != "f":
        return
    for start in range(0, len(array), _CHECK_ROWS):
        finite = np.isfinite(array[start : start + _CHECK_ROWS]).all(axis=1)
        if not finite.all():
            raise InvalidRequest(
                f"{name} must be finite, got NaN or infinity", f"{name}[{start + int(finite.argmin())}]"
            )


def check_allow(
    allow: NDArray[np.bool_] | NDArray[np.uint64] | None,
    count: int,
) -> NDArray[np.uint64] | None:
    """A bitmap of `count` rows from one, or from bools; None stays None.

    Raises:
        InvalidRequest: another dtype or shape.
    """
    if allow is None:
        return None
    if _native.is_bitmap(allow, count):  # nearly always
        return cast(bitmap.Words, allow)
    words = bitmap.word_count(count)
    if allow.dtype == np.uint64 and allow.shape == (words,):
        return bitmap.cut(np.ascontiguousarray(allow, np.uint64), count)
    if allow.dtype == np.bool_ and allow.shape == (count,):
        return bitmap.from_bools(cast(NDArray[np.bool_], allow))
    got = f"{allow.dtype} {list(allow.shape)}"
    raise InvalidRequest(f"allow must be bool [{count}] or uint64 [{words}], got {got}", "allow")


def check_radius(value: object) -> float:
    """A radius, rounded to float32.

    Raises:
        InvalidRequest: not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or value != value:
        raise InvalidRequest(f"radius must be a number, got {value!r:.80}", "radius")
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def check_batch(value: object) -> int:
    """A number of rows that one batch may have.

    Raises:
        InvalidRequest: not one.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limits.SEARCH_LIMIT_MAX:
        return value
    raise InvalidRequest(f"batch must be from 1 to {limits.SEARCH_LIMIT_MAX}, got {value!r:.80}", "batch")


def check_k(k: int) -> None:
    """How many are asked for.

    Raises:
        InvalidRequest: out of range.
    """
    if not 1 <= k <= limits.SEARCH_LIMIT_MAX:
        raise InvalidRequest(f"k must be from 1 to {limits.SEARCH_LIMIT_MAX}, got {k}", "k")


def check_threads(threads: int) -> None:
    """A number of threads.

    Raises:
        InvalidRequest: less than one.
    """
    if threads < 1:
        raise InvalidRequest(f"threads must be at least 1, got {threads}", "threads")
