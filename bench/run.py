"""One invocation of the benchmark: load the data, measure, write the report."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nearfield.bench.adapters import installed_peers
from nearfield.bench.adapters.base import Competitor
from nearfield.bench.adapters.nearfield import our_competitors
from nearfield.bench.datasets import DatasetError, all_datasets, multivector_folder
from nearfield.bench.generated import GENERATED
from nearfield.bench.harness import Plan
from nearfield.bench.isolate import IsolatedError
from nearfield.bench.job import Job, Source
from nearfield.bench.load.closed_loop import LoadError
from nearfield.bench.machine import available_cores, describe_machine
from nearfield.bench.progress import TerminalReporter
from nearfield.bench.records import RESULTS
from nearfield.bench.report.table import print_summaries
from nearfield.bench.report.write import PAGE, write_report
from nearfield.bench.scenarios import SCENARIOS, Scenario
from nearfield.bench.scenarios.http import HttpTarget, measure_http
from nearfield.bench.scenarios.multivector import PAGE as MULTIVECTOR_PAGE
from nearfield.bench.scenarios.multivector import measure_folders

_NO_PEERS = ["none"]
_ALL_SCENARIOS = ["builds", "search", "projections", "filters"]
_QUICK_ROWS = 10_000
_QUICK_QUERIES = 500

_OK, _FAILED, _MISUSED, _INTERRUPTED = 0, 1, 2, 130
"""Exit statuses."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; the fields are the command's options.

    Args:
        datasets: names; empty for all that are found.
        scenarios: names of what to measure; None: search, and more of it if all data sets are measured.
        kinds, peers: names to keep, or None for all; peers may be `["none"]`.
        threads, repeat: None for the default.
    """

    datasets: Sequence[str]
    scenarios: Sequence[str] | None
    kinds: Sequence[str] | None
    peers: Sequence[str] | None
    k: int
    threads: int | None
    limit: int | None
    queries: int | None
    quick: bool
    repeat: int | None
    resume: bool
    data_dir: Path | None
    out: Path
    http: str | None
    clients: int
    api_key: str | None
    filters: bool

    @property
    def plan(self) -> Plan:
        """How much to measure."""
        plan = Plan(k=self.k, threads=self.threads or available_cores(), quick=self.quick)
        if self.quick:
            plan = replace(plan, repeats=1, slice_s=0.05, recall_queries=1_000, recall_s=1.0)
        return replace(plan, repeats=self.repeat or plan.repeats)

    @property
    def target(self) -> HttpTarget | None:
        """The server to measure, if one was named."""
        seconds = 1.0 if self.quick else 5.0
        return None if self.http is None else HttpTarget(self.http, self.clients, self.api_key, seconds)

    @property
    def chosen_scenarios(self) -> list[Scenario]:
        """What to measure, in order.

        Raises:
            ValueError: a name that no scenario has.
        """
        wanted = self.scenarios
        if wanted is None:
            wanted = ["filters"] if self.filters else ["search"] if self.datasets else _ALL_SCENARIOS
        known = [scenario.name for scenario in SCENARIOS]
        if unknown := [name for name in wanted if name not in known]:
            raise ValueError(f"no scenario {', '.join(unknown)}; known: {', '.join(known)}")
        return [scenario for scenario in SCENARIOS if scenario.name in wanted]


def run_benchmark(request: Request) -> int:
    """Measure every data set, then write and print the results folder's report; returns the exit status."""
    console = Console()
    try:
        request, multivectors = _without_multivectors(request)
        if multivectors:
            measure_folders(multivectors, request.out, request.queries, request.plan.repeats)
            console.print(f"report of multi-vectors: {request.out / MULTIVECTOR_PAGE}", highlight=False)
            if not request.datasets:
                return _OK
        competitors = [] if request.http else _competitors(request)
        for name in request.datasets or all_datasets(request.data_dir):
            _measure(console, _source(name, request), competitors, request)
    except KeyboardInterrupt:
        console.print("[yellow]interrupted;[/] the report shows what was measured so far")
        render_report(request.out)
        return _INTERRUPTED
    except (DatasetError, ValueError) as error:
        return _complain(console, error, _MISUSED)
    except (LoadError, IsolatedError) as error:
        return _complain(console, error, _FAILED)
    return render_report(request.out)


def _without_multivectors(request: Request) -> tuple[Request, list[Path]]:
    """What else is asked for, and the folders of the sets of multi-vectors, which are measured by themselves.

    Raises:
        ValueError: options that do not apply to multi-vectors.
    """
    folders = {name: multivector_folder(name, request.data_dir) for name in request.datasets}
    multivectors = [folder for folder in folders.values() if folder is not None]
    if multivectors and (
        request.http or request.scenarios or request.filters or request.kinds or request.limit
    ):
        raise ValueError(
            "--http, --scenario, --filters, --kinds and --limit are for sets of single vectors; "
            f"{multivectors[0].name} has multi-vectors"
        )
    others = [name for name in request.datasets if folders[name] is None]
    return replace(request, datasets=others), multivectors


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


def _source(name: str, request: Request) -> Source:
    limit, queries = request.limit, request.queries
    if name == GENERATED and request.quick:
        limit, queries = limit or _QUICK_ROWS, queries or _QUICK_QUERIES
    return Source(name, request.data_dir, limit, queries)


def _measure(console: Console, source: Source, competitors: Sequence[Competitor], request: Request) -> None:
    dataset = source.load(truth=False)
    machine = describe_machine(
        ["nearfield", "numpy", *(competitor.distribution for competitor in competitors)]
    )
    common = {"machine": machine, "reproduce": _command_line()}
    job = Job(source, request.plan, request.out, common, request.resume)
    with TerminalReporter(console, dataset.name) as reporter:
        if request.target is not None:
            with job.writer(dataset) as writer:
                whole = source.load()
                measure_http(whole, request.target, request.plan, writer, reporter, filters=request.filters)
            return
        for scenario in request.chosen_scenarios:
            if scenario.applies(dataset):
                scenario.measure(job, competitors, reporter)
            else:
                reporter.note(f"has nothing for the scenario `{scenario.name}`")


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
