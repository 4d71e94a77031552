"""One invocation of the benchmark: load the data, measure, write the report."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nearfield.bench.adapters import installed_peers
from nearfield.bench.adapters.base import Competitor
from nearfield.bench.adapters.nearfield import our_competitors
from nearfield.bench.datasets import Dataset, DatasetError, load_dataset
from nearfield.bench.generated import GENERATED
from nearfield.bench.harness import Plan, sweep
from nearfield.bench.load.closed_loop import LoadError
from nearfield.bench.machine import available_cores, describe_machine
from nearfield.bench.progress import TerminalReporter
from nearfield.bench.records import RESULTS, RecordWriter
from nearfield.bench.report.table import print_summaries
from nearfield.bench.report.write import PAGE, write_report
from nearfield.bench.scenarios.http import HttpTarget, measure_http

_NO_PEERS = ["none"]
_QUICK_ROWS = 10_000
_QUICK_QUERIES = 500

_OK, _FAILED, _MISUSED, _INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; the fields are the command's options.

    Args:
        kinds, peers: names to keep, or None for all; peers may be `["none"]`.
        threads, repeat: None for the default.
        budget_s: wall seconds to aim at per data set.
    """

    datasets: Sequence[str]
    kinds: Sequence[str] | None
    peers: Sequence[str] | None
    k: int
    threads: int | None
    limit: int | None
    queries: int | None
    quick: bool
    repeat: int | None
    budget_s: float | None
    data_dir: Path | None
    out: Path
    http: str | None
    clients: int
    api_key: str | None
    filters: bool

    @property
    def plan(self) -> Plan:
        """How much to measure."""
        return Plan(
            k=self.k,
            threads=self.threads or available_cores(),
            repeats=self.repeat or (1 if self.quick else 3),
            slice_s=0.1 if self.quick else 0.4,
            recall_queries=1_000 if self.quick else 4_000,
            recall_s=3.0 if self.quick else 20.0,
            budget_s=self.budget_s,
            quick=self.quick,
        )

    @property
    def target(self) -> HttpTarget | None:
        """The server to measure, if one was named."""
        seconds = 1.0 if self.quick else 5.0
        return None if self.http is None else HttpTarget(self.http, self.clients, self.api_key, seconds)


def run_benchmark(request: Request) -> int:
    """Measure every data set, then write and print the results folder's report; returns the exit status."""
    console = Console()
    try:
        libraries = request.http is None and not request.filters
        competitors = _competitors(request) if libraries else []
        for name in request.datasets:
            dataset = _load(name, request)
            if not _measure(console, dataset, competitors, request):
                render_report(request.out)
                return _INTERRUPTED
    except (DatasetError, ValueError) as error:
        return _complain(console, error, _MISUSED)
    except LoadError as error:
        return _complain(console, error, _FAILED)
    return render_report(request.out)


def render_report(out: Path) -> int:
    """Write the page and plots of a results folder and print its tables; returns the exit status."""
    console = Console()
    try:
        summaries = write_report(out)
    except FileNotFoundError as error:
        return _complain(console, error, _FAILED)
    print_summaries(console, summaries)
    console.print(
        f"report: {out / PAGE}   plots: {out}/*.png   measurements: {out / RESULTS}", highlight=False
    )
    return _OK


def _competitors(request: Request) -> list[Competitor]:
    ours = our_competitors(request.kinds)
    return ours if request.peers == _NO_PEERS else ours + installed_peers(request.peers)


def _load(name: str, request: Request) -> Dataset:
    limit, queries = request.limit, request.queries
    if name == GENERATED and request.quick:
        limit, queries = limit or _QUICK_ROWS, queries or _QUICK_QUERIES
    return load_dataset(name, data_dir=request.data_dir, rows=limit, queries=queries)


def _measure(console: Console, dataset: Dataset, competitors: Sequence[Competitor], request: Request) -> bool:
    """Measure one data set; False when the user interrupted it (what was measured until then is kept)."""
    machine = describe_machine(
        ["nearfield", "numpy", *(competitor.distribution for competitor in competitors)]
    )
    common = {"machine": machine, "dataset": dataset.describe(), "reproduce": _command_line()}
    results = request.out / RESULTS
    with RecordWriter(results, common) as writer, TerminalReporter(console, dataset.name) as reporter:
        if dataset.generated:
            reporter.note("these vectors are generated, not real data")
        try:
            if request.target is not None:
                measure_http(dataset, request.target, request.plan, writer, reporter, filters=request.filters)
            elif request.filters:
                from nearfield.bench.scenarios.filters import measure_filters

                measure_filters(dataset, request.plan, writer, reporter)
            else:
                sweep(dataset, competitors, request.plan, writer, reporter)
        except KeyboardInterrupt:
            reporter.note("interrupted; the report shows what was measured so far")
            return False
    return True


def _complain(console: Console, error: Exception, status: int) -> int:
    console.print(f"[red]error:[/] {escape(str(error))}", highlight=False)
    return status


def _command_line() -> str:
    """The command as a user would type it again, without credentials."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--api-key=")]
    if "--api-key" in arguments:
        position = arguments.index("--api-key")
        del arguments[position : position + 2]
    if arguments[:1] == ["bench"]:
        del arguments[0]
    return shlex.join(["nearfield", "bench", *arguments])
