"""Timing of one configured index: batches on some threads, and single calls."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Adapter

_PERCENTILES = (50.0, 95.0, 99.0)
BATCH_MIN = 64
"""Fewest queries of a timed batch."""


@dataclass(frozen=True)
class Timing:
    """Speed of one slice of queries.

    Args:
        qps: queries per second of wall time.
        queries: how many were answered.
        cores: CPU seconds spent per second of wall time; above the thread limit, a library ignored the limit.
        latency_ms: p50, p95, p99 of single calls; None for batches.
    """

    qps: float
    queries: int
    cores: float
    latency_ms: tuple[float, float, float] | None = None


def pilot_rate(adapter: Adapter, queries: NDArray[np.float32], k: int) -> float:
    """Rough queries per second of a batch, from at most a few hundred queries (also warms caches)."""
    count = min(16, len(queries))
    while True:
        start = time.perf_counter()
        adapter.batch_query(queries[:count], k)
        elapsed = time.perf_counter() - start
        if elapsed > 0.02 or count >= min(len(queries), 512):
            return count / max(elapsed, 1e-9)
        count = min(count * 4, len(queries), 512)


def batch_size(rate: float, seconds: float, available: int) -> int:
    """Queries to give in one call so that it takes about `seconds`."""
    return max(1, min(available, max(BATCH_MIN, int(rate * seconds))))


def time_batches(adapter: Adapter, queries: NDArray[np.float32], k: int, seconds: float) -> Timing:
    """Whole batches of all `queries` in one call each, again and again until `seconds` have passed."""
    done = 0
    cpu = time.process_time()
    start = time.perf_counter()
    while True:
        adapter.batch_query(queries, k)
        done += len(queries)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return Timing(done / elapsed, done, (time.process_time() - cpu) / elapsed)


def time_single_calls(adapter: Adapter, queries: NDArray[np.float32], k: int, seconds: float) -> Timing:
    """One query per call on this thread until `seconds` have passed, each call timed."""
    latencies: list[int] = []
    clock = time.perf_counter_ns
    deadline = clock() + int(seconds * 1e9)
    cpu = time.process_time()
    start = clock()
    position = 0
    while True:
        before = clock()
        adapter.query(queries[position], k)
        after = clock()
        latencies.append(after - before)
        position = (position + 1) % len(queries)
        if after >= deadline:
            break
    elapsed = (clock() - start) / 1e9
    return Timing(
        len(latencies) / elapsed,
        len(latencies),
        (time.process_time() - cpu) / elapsed,
        percentiles_ms(latencies),
    )


def percentiles_ms(nanoseconds: Any) -> tuple[float, float, float]:
    """p50, p95 and p99 of latencies given in nanoseconds, in milliseconds."""
    p50, p95, p99 = np.percentile(np.asarray(nanoseconds, np.float64), _PERCENTILES) / 1e6
    return float(p50), float(p95), float(p99)
