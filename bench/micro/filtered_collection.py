"""What a filter adds to a search through a collection in the process.

Run as `python -m nearfield.bench.micro.filtered_collection DATASET`, of a data set with filters. Prints a
table of microseconds per call, one query and one filter per call: of every round the mean, of all rounds the
median. `parse` makes the expression of the wire form; `count` is `Collection.count`: the filter is evaluated
and its rows are counted; `search` is the whole search, parsing included. The last two columns are of a
collection that keeps what filters found, and has met all of them before.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nearfield.bench.datasets import Dataset, load_dataset
from nearfield.bench.harness import Reporter
from nearfield.bench.payloads import Payloads, filter_families
from nearfield.bench.scenarios.filters import filled
from nearfield.engine import Database, EngineConfig, _native, limits
from nearfield.engine.collection import Collection
from nearfield.engine.errors import NotFound
from nearfield.engine.filter.expression import Filter
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.query import SearchRequest

_K = 10
_COLLECTION = "bench"

Wire = Sequence[dict[str, Any]]
"""Filters in their wire form, one per query."""


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


def figures(
    collection: Collection, dataset: Dataset, families: Mapping[str, Wire], rounds: int
) -> dict[str, list[float]]:
    """By family, rows allowed, and microseconds of parsing, counting and searching; of no filter as well."""
    queries = dataset.queries

    def search(condition: Filter | None, number: int) -> object:
        return collection.search([SearchRequest(queries[number], limit=_K, filter=condition)])

    def parsed_search(wire: Wire, number: int) -> object:
        return search(parse_filter(wire[number]), number)

    found: dict[str, list[float]] = {}
    for family, wire in families.items():
        parsed = [parse_filter(each) for each in wire]
        found[family] = [
            statistics.mean([collection.count(each) for each in parsed]),
            micros(partial(each_of, parse_filter, wire), len(wire), rounds),
            micros(partial(each_of, collection.count, parsed), len(wire), rounds),
            micros(partial(parsed_search, wire), len(wire), rounds),
        ]
    most = max(map(len, families.values()))
    found["none"] = [dataset.count, 0.0, 0.0, micros(partial(search, None), most, rounds)]
    return found


def measured(directory: Path, dataset: Dataset, families: Mapping[str, Wire], rounds: int) -> None:
    """Measure and print the table, first without and then with answers kept."""
    found = []
    for bytes_max in (0, limits.FILTER_ANSWERS_BYTES_MAX):
        with Database.open(directory, config=EngineConfig(filter_answers_bytes_max=bytes_max)) as database:
            collection = database.collection(_COLLECTION)
            gc.freeze()  # payloads and filters are ours: a search is not to pay for their being looked at
            found.append(figures(collection, dataset, families, rounds))
    plain, kept = found
    sys.stdout.write(f"{dataset.name}, {dataset.count} rows, {_native.isa()}\n\n")
    row(["filter", "rows", "parse", "count", "search", "count, kept", "search, kept"])
    row(["---"] * 7)
    for family, (allowed, parse, count, search) in plain.items():
        row([family, round(allowed), parse, count, search, *kept[family][2:]])


def main() -> None:
    """Make the collection where there is none, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--directory", type=Path, help="where the collection is, or is made; else temporary")
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
    with tempfile.TemporaryDirectory(prefix="nearfield-bench-") as temporary:
        directory = given.directory or Path(temporary)
        with Database.open(directory) as database:
            try:
                database.collection(_COLLECTION)
            except NotFound:
                filled(database, dataset, payloads, Reporter())
        measured(directory, dataset, families, given.rounds)


if __name__ == "__main__":
    main()
