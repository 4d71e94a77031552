"""`nearfield bench`: its options. What it measures is loaded when it runs, not when its help is shown."""

from pathlib import Path
from typing import Annotated

import typer

_DATASETS = (
    "Folder (of vectors, or of multi-vectors: with doc_tokens.npy) or ann-benchmarks hdf5 file, by path or "
    "name; or `generated`, which needs no data."
)
_PEERS = "Peers, comma-separated: libraries or single indexes, such as faiss,usearch; or `none`."
_ALL = "Every data set found (in --data-dir first; else `generated`), in all scenarios but the last two."
_SCENARIOS = (
    "What to measure, comma-separated: builds, search, projections, filters, churn, collection-filters."
)
_FILTERS = "Measure filtered search: of us and the peers, or of the server (with --http)."
_RESUME = "Leave out what the results folder holds already, and keep built indexes for the next time."

Datasets = Annotated[list[str] | None, typer.Argument(metavar="DATASET...", help=_DATASETS)]
Kinds = Annotated[
    str | None, typer.Option(help="Our index kinds, comma-separated (default: all registered).")
]
Peers = Annotated[str | None, typer.Option(help=_PEERS)]
Neighbours = Annotated[int, typer.Option("--k", "-k", min=1, max=100, help="Neighbours asked for.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of builds and threaded batches (default: all).")
]
Limit = Annotated[int | None, typer.Option(min=100, help="Only the first rows; ground truth is recomputed.")]
Queries = Annotated[int | None, typer.Option(min=1, help="Only the first queries.")]
Quick = Annotated[bool, typer.Option("--quick", help="Small grids, one round, short timings.")]
Repeat = Annotated[
    int | None, typer.Option(min=1, help="Interleaved rounds; medians are reported (default 3).")
]
Resume = Annotated[bool, typer.Option("--resume", help=_RESUME)]
Everything = Annotated[bool, typer.Option("--all", help=_ALL)]
Scenarios = Annotated[str | None, typer.Option("--scenario", help=_SCENARIOS)]
DataDir = Annotated[Path | None, typer.Option(help="Folder that holds the data sets.")]
Out = Annotated[
    Path, typer.Option(help="Results folder: results.jsonl is appended to, the report rewritten.")
]
Http = Annotated[
    str | None, typer.Option(metavar="URL", help="Measure a running server instead of libraries.")
]
Clients = Annotated[int, typer.Option(min=1, max=1024, help="Closed-loop clients (with --http).")]
ApiKey = Annotated[str | None, typer.Option(envvar="NEARFIELD_API_KEY", help="Key sent to the server.")]
Filters = Annotated[bool, typer.Option("--filters", help=_FILTERS)]
Render = Annotated[bool, typer.Option("--render", help="Only write the report of the results folder again.")]


def bench(
    datasets: Datasets = None,
    everything: Everything = False,
    scenarios: Scenarios = None,
    kinds: Kinds = None,
    peers: Peers = None,
    k: Neighbours = 10,
    threads: Threads = None,
    limit: Limit = None,
    queries: Queries = None,
    quick: Quick = False,
    repeat: Repeat = None,
    resume: Resume = False,
    data_dir: DataDir = None,
    out: Out = Path("bench-results"),
    http: Http = None,
    clients: Clients = 8,
    api_key: ApiKey = None,
    filters: Filters = False,
    render: Render = False,
) -> None:
    """Measure recall, speed, latency, build time and memory; write JSON lines, plots and an HTML report.

    Every index is swept over its search parameters in one run; recall is against exact ground truth.
    """
    from nearfield.bench.run import Request, render_report, run_benchmark

    if render:
        raise typer.Exit(render_report(out))
    if bool(datasets) == everything:
        raise typer.BadParameter("name data sets, or `generated`, or give --all", param_hint="DATASET...")
    request = Request(
        datasets=datasets or [],
        scenarios=_names(scenarios),
        kinds=_names(kinds),
        peers=_names(peers),
        k=k,
        threads=threads,
        limit=limit,
        queries=queries,
        quick=quick,
        repeat=repeat,
        resume=resume,
        data_dir=data_dir,
        out=out,
        http=http,
        clients=clients,
        api_key=api_key,
        filters=filters,
    )
    raise typer.Exit(run_benchmark(request))


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
