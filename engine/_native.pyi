"""
Native core of Nearfield: SIMD kernels and the loops over rows. Releases the GIL while it works.
"""

from typing import Any

import numpy
import numpy.typing
from typing_extensions import Buffer

import nearfield.engine.errors


def isa() -> str:
    """
    Name of the instruction-set tier in use: NEARFIELD_ISA's, else the fastest this CPU runs.
    """

def available_isas() -> list[str]:
    """Names of the tiers this CPU runs, slowest first."""

class ThreadPool:
    """
    Threads that native calls may share. Any number of Python threads may use one at once.
    """

    def __init__(self, threads: int) -> None:
        """
        Args:
            threads: how many work at once, the calling thread included.

        Raises:
            ValueError: fewer than 1 or more than 1024.
        """

    @property
    def threads(self) -> int:
        """How many threads work at once, the calling included."""

class CancelFlag:
    """Asks a running native call to stop, from any thread."""

    def __init__(self) -> None: ...

    def set(self) -> None:
        """Ask for the stop; there is no way back."""

    def is_set(self) -> bool: ...

class Cancelled(nearfield.engine.errors.Cancelled):
    pass

def crc32c(data: Buffer | numpy.typing.NDArray[Any], initial: int = 0) -> int:
    """
    CRC-32C (Castagnoli) of the bytes of a C-contiguous buffer.

    Args:
        initial: the result for the bytes before these, to go on from.

    Raises:
        ValueError: not a C-contiguous buffer.
    """

def normalize_rows(rows: numpy.typing.NDArray[numpy.float32]) -> numpy.typing.NDArray[numpy.float32]:
    """
    Scale each row of float32 [n, d] to unit length, in place.

    Rows of zeros, and rows holding an infinity or a NaN, are left as they are. The result is the same
    on every CPU.

    Returns:
        float32 [n], the former lengths.

    Raises:
        ValueError: not a writable C-contiguous float32 [n, d].
    """

def stream_read(data: Buffer | numpy.typing.NDArray[Any], streams: int = 1, prefetch: int = 0, pool: ThreadPool | None = None) -> int:
    """
    Read every byte once: what the memory gives, to compare scans with.

    Args:
        streams: sequences read in turn per thread, 1 to 8.
        prefetch: how many bytes ahead to prefetch, 0 for none.
        pool: all its threads read, each its own part; None reads on the calling thread.

    Returns:
        a number that depends on the bytes, so that reading them cannot be skipped.
    """

def flat_search(queries: numpy.typing.NDArray[numpy.float32], rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], metric: str, k: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None, row_scale: numpy.typing.NDArray[numpy.float32] | None = None, threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The exact k nearest rows of each query, by one blocked scan.

    Equal distances go by row, NaN distances never win, and the result is the same for any number of
    threads and for any batch a query comes in.

    Args:
        queries: float32 [nq, d], C-contiguous.
        rows: float32, float16 or uint8 [n, d], C-contiguous; may be read-only or a memory map.
        metric: 'l2' (squared Euclidean), 'ip' (negated inner product) or 'l1'.
        k: how many, at least 1.
        allow: uint64 [ceil(n / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
        row_scale: float32 [n], factor of each row's distance.
        threads: how many may share the work, the calling one included; small scans use fewer.
        pool: whose threads help; None starts and ends them within the call.
        cancel: polled once per block of rows.

    Returns:
        offsets int64 [nq, k], -1 pads, and distances float32 [nq, k], +inf pads; nearest first.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def gather_distances(queries: numpy.typing.NDArray[numpy.float32], rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], offsets: numpy.typing.NDArray[numpy.int64], metric: str, row_scale: numpy.typing.NDArray[numpy.float32] | None = None) -> numpy.typing.NDArray[numpy.float32]:
    """
    Distances of queries to chosen rows.

    Args:
        queries: float32 [nq, d], or [d] for one query.
        rows: float32, float16 or uint8 [n, d], C-contiguous.
        offsets: int64 [m], each within 0 .. n - 1.
        metric, row_scale: as in `flat_search`; the distances are bit-identical to its.

    Returns:
        float32 [nq, m], or [m] for one query.

    Raises:
        ValueError: a wrong dtype, shape or value, or an offset outside the rows.
    """
