"""What the three ways to answer a filtered search of a graph cost, one query per call.

Run as `python -m nearfield.bench.micro.filtered_search`: the constants of `index_builders/graph/costs.py`.
Every call has another random filter of the same size, so that rows and codes come from where they do for
one query of many; medians over rounds are fitted by a line, through the numbers of allowed rows for the
scans, through those of expected expansions for the walk.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine._native import GraphFilterPlan
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.segment import bitmap
from nearfield.index_builders.graph.builder import leanvec_builder
from nearfield.index_builders.graph.costs import Plan
from nearfield.index_builders.graph.index import GraphIndex

_SIZES = (25, 50, 100, 200, 400, 800, 1_600)
_SHARES = (0.5, 0.3, 0.2, 0.1)
"""Of allowed rows, for walks; with fewer some would give up."""
_EF = 48
_FILTERS = 64
_K = 10

Floats = NDArray[np.float32]


def made_index(count: int, dims: int, dtype: str) -> tuple[GraphIndex, Floats]:
    """An index over a mixture of clusters, and queries of the same one."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((200, dims), dtype=np.float32)
    drawn = centres[random.integers(200, size=count + _FILTERS)]
    drawn += np.float32(0.8) * random.standard_normal(drawn.shape, dtype=np.float32)
    builder = leanvec_builder()
    params = builder.parse_params({"calibrate": False})
    rows = drawn[:count].astype(dtype)
    return builder.build(rows, "ip", params, BuildContext(threads=2)), drawn[count:]


def per_call(search: Callable[[int], object], rounds: int) -> float:
    """Median nanoseconds of a call, over rounds of one call per filter."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        for number in range(_FILTERS):
            search(number)
        taken.append((time.perf_counter() - start) / _FILTERS * 1e9)
    return statistics.median(taken)


def line(sizes: list[int], taken: list[float]) -> tuple[float, float]:
    """Start and slope, each size weighing the same in proportion to what it takes."""
    slope, start = np.polyfit(np.array(sizes), np.array(taken), 1, w=1 / np.array(taken))
    return float(start), float(slope)


def show(figures: Mapping[str, object]) -> None:
    """Print one JSON line."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print one JSON line per way and one for the constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--dtype", choices=["float32", "float16"], default="float16")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    index, queries = made_index(given.rows, given.dims, given.dtype)
    random = np.random.default_rng(1)
    show({"isa": _native.isa(), "rows": given.rows, "dims": given.dims, "dtype": given.dtype})

    def taken(plan: Plan, size: int) -> float:
        allow = [
            bitmap.from_positions(random.choice(given.rows, size, replace=False), given.rows)
            for _ in range(_FILTERS)
        ]

        def search(number: int) -> object:
            return index.search_as(plan, queries[number : number + 1], _K, _EF, allow[number])

        return per_call(search, given.rounds)

    for plan in Plan:
        sizes = _SIZES if plan is not Plan.WALK else tuple(int(share * given.rows) for share in _SHARES)
        units = [
            size if plan is not Plan.WALK
            else GraphFilterPlan.window(_K, _EF, size, given.rows) * given.rows // size
            for size in sizes
        ]  # fmt: skip
        times = [taken(plan, size) for size in sizes]
        start, slope = line(units, times)
        at = dict(zip(units, times, strict=True))
        show({"plan": plan.name, "start_ns": start, "each_ns": slope, "at": at})


if __name__ == "__main__":
    main()
