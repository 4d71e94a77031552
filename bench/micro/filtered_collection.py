"""What a filter adds to a search through a collection in the process.

Run as `python -m nearfield.bench.micro.filtered_collection DATASET`, of a data set with filters. Prints a
table of microseconds per call, one query and one filter per call, all different: of every round the mean, of
all rounds the median. `parse` makes the expression of the wire form; `count` is `Collection.count`, so the
filter is evaluated and its rows are counted; `search` is the whole search, parsing included.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nearfield.bench.datasets import Dataset, load_dataset
from nearfield.bench.harness import Reporter
from nearfield.bench.payloads import Payloads, filter_families
from nearfield.bench.scenarios.filters import filled
from nearfield.engine import Database, _native
from nearfield.engine.collection import Collection
from nearfield.engine.errors import NotFound
from nearfield.engine.filter.expression import Filter
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.query import SearchRequest

_K = 10
_COLLECTION = "bench"


def micros(call: Callable[[int], object], count: int, rounds: int) -> float:
    """Median over rounds of the mean microseconds of `call` with 0 .. count - 1; the first is left out."""
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for number in range(count):
            call(number)
        taken.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(taken[1:])


def each_of(call: Callable[[Any], object], arguments: Sequence[Any], number: int) -> object:
    """The call with one of the arguments."""
    return call(arguments[number])


def row(cells: Sequence[object]) -> None:
    """Print a line of the table."""
    shown = [f"{cell:.1f}" if isinstance(cell, float) else f"{cell}" for cell in cells]
    sys.stdout.write(f"| {' | '.join(shown)} |\n")
    sys.stdout.flush()


def measure(
    collection: Collection, dataset: Dataset, families: dict[str, list[dict[str, Any]]], rounds: int
) -> None:
    """Print the table, a line per family of filters and one without a filter."""
    queries = dataset.queries

    def search(condition: Filter | None, number: int) -> object:
        return collection.search([SearchRequest(queries[number], limit=_K, filter=condition)])

    def parsed_search(wire: list[Any], number: int) -> object:
        return search(parse_filter(wire[number]), number)

    row(["filter", "rows allowed", "parse", "count", "search"])
    row(["---"] * 5)
    for family, wire in families.items():
        parsed = [parse_filter(each) for each in wire]
        allowed = statistics.mean([collection.count(each) for each in parsed])
        row(
            [
                family,
                round(allowed),
                micros(partial(each_of, parse_filter, wire), len(wire), rounds),
                micros(partial(each_of, collection.count, parsed), len(wire), rounds),
                micros(partial(parsed_search, wire), len(wire), rounds),
            ]
        )
    most = max(map(len, families.values()))
    row(["none", dataset.count, 0.0, 0.0, micros(partial(search, None), most, rounds)])


def main() -> None:
    """Open the collection, or make it, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument(
        "--directory", type=Path, help="where the collection is kept, or made; else temporary"
    )
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    dataset = load_dataset(given.dataset, data_dir=given.data_dir, queries=given.queries, truth=False)
    if dataset.folder is None or not filter_families(dataset.folder):
        parser.error(f"{dataset.name} has no filters")
    payloads = Payloads(dataset.folder)
    families = {
        family: [payloads.wire_filter(conditions) for conditions in each[: given.queries]]
        for family, each in filter_families(dataset.folder).items()
    }
    with (
        tempfile.TemporaryDirectory(prefix="nearfield-bench-") as temporary,
        Database.open(given.directory or Path(temporary)) as database,
    ):
        try:
            collection = database.collection(_COLLECTION)
        except NotFound:
            collection = filled(database, dataset, payloads, Reporter())
        gc.freeze()  # payloads and filters are ours: a search is not to pay for their being looked at
        sys.stdout.write(f"{dataset.name}, {dataset.count} rows, {_native.isa()}\n\n")
        measure(collection, dataset, families, given.rounds)


if __name__ == "__main__":
    main()
