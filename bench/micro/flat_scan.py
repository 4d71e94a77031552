"""How much of the machine's memory bandwidth the flat scan uses, and what a small scan costs.

Run as `python -m nearfield.bench.micro.flat_scan`. Bandwidth is what the best of several plain streaming
reads of the same array reaches; reads and scans take turns within one run, and medians are compared, because
other work on the machine moves both alike.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native

READ_STRATEGIES = [(streams, prefetch) for streams in (1, 2, 4) for prefetch in (0, 1024, 4096)]
SMALL_ROWS = 1_000

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bandwidth:
    """Median rates in GB/s (1e9 bytes) with `threads` threads; `share` is scan over read."""

    threads: int
    read_gb_s: float
    read_strategy: str
    scan_gb_s: float
    share: float


@dataclass(frozen=True)
class SmallScan:
    """Median microseconds of one call over `SMALL_ROWS` rows that fit the cache."""

    queries: int
    call_us: float


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure_bandwidth(rows: Floats, query: Floats, metric: str, threads: int, rounds: int) -> Bandwidth:
    """Interleave every read strategy with scans for one query [1, d], `rounds` times."""
    pool = _native.ThreadPool(threads)
    scan = partial(_native.flat_search, query, rows, metric, 10, threads=threads, pool=pool)
    reads: dict[str, list[float]] = {}
    scans: list[float] = []
    for _ in range(rounds):
        for streams, prefetch in READ_STRATEGIES:
            taken = seconds(partial(_native.stream_read, rows, streams, prefetch, pool))
            reads.setdefault(f"{streams} streams, prefetch {prefetch}", []).append(taken)
            scans.append(seconds(scan))
    medians = {name: statistics.median(taken) for name, taken in reads.items()}
    strategy = min(medians, key=medians.__getitem__)
    read_s, scan_s = medians[strategy], statistics.median(scans)
    gigabytes = rows.nbytes / 1e9
    return Bandwidth(threads, gigabytes / read_s, strategy, gigabytes / scan_s, read_s / scan_s)


def measure_small(rows: Floats, queries: Floats, metric: str, rounds: int) -> list[SmallScan]:
    """Single calls with 1, 2, 4 and 8 queries over the same small matrix, in turns."""
    sizes = (1, 2, 4, 8)
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            taken[size].append(seconds(partial(_native.flat_search, queries[:size], rows, metric, 10)))
    return [SmallScan(size, statistics.median(taken[size]) * 1e6) for size in sizes]


def show(figures: Mapping[str, object]) -> None:
    """Print one JSON line."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print one JSON line per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--metric", choices=["l2", "ip", "l1"], default="ip")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    rows = random.random((given.rows, given.dims), dtype=np.float32)
    queries = random.random((8, given.dims), dtype=np.float32)
    show({"isa": _native.isa(), "rows": given.rows, "dims": given.dims, "metric": given.metric})
    for threads in given.threads:
        show(asdict(measure_bandwidth(rows, queries[:1], given.metric, threads, given.rounds)))
    for result in measure_small(rows[:SMALL_ROWS].copy(), queries, given.metric, 50 * given.rounds):
        show(asdict(result))


if __name__ == "__main__":
    main()
