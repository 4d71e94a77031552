"""The terminal's view of a run."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nearfield.bench.adapters import BASELINE
from nearfield.bench.frontier import RECALLS, Point
from nearfield.bench.report.filtered import ENOUGH
from nearfield.bench.report.pace import Mode
from nearfield.bench.report.style import DASH, bytes_text, rate_text, ratio_text, seconds_text
from nearfield.bench.report.summary import DatasetSummary, mean_ratios

_LATENCY_RECALL = 0.95
_OURS = "bold blue"


def print_summaries(console: Console, summaries: Sequence[DatasetSummary]) -> None:
    """Speeds at fixed recalls, build costs, HTTP and filter results of every data set."""
    for summary in summaries:
        for mode in sorted(summary.curves):
            _print(console, _speeds(summary, mode))
        for table in (
            _builds(summary),
            _rebuilt(summary),
            _projected(summary),
            _churned(summary),
            _filtered(summary),
            _imports(summary),
            _http(summary),
            _filters(summary),
        ):
            _print(console, table)
    for mode in sorted({mode for summary in summaries for mode in summary.curves}):
        means = mean_ratios(summaries, mode)
        if len(summaries) > 1 and means:
            _print(console, _means(means, mode))


def _print(console: Console, table: Table) -> None:
    """The table under its title, unless it has no rows."""
    if table.row_count:
        title, table.title = table.title, None
        console.print(Text(str(title), style="bold"))
        console.print(table)


def mode_text(mode: Mode) -> str:
    """How a mode is named to people."""
    kind, threads = mode
    if kind == "single":
        return "one query per call, 1 thread"
    return f"batches, {threads} thread{'s' if threads > 1 else ''}"


def _speeds(summary: DatasetSummary, mode: Mode) -> Table:
    table = _table(f"{summary.name}: queries per second at recall@{summary.k}, {mode_text(mode)}", "index")
    for recall in RECALLS:
        table.add_column(f"{recall:.2f}", justify="right", no_wrap=True)
    if mode[0] == "single":
        table.add_column("p50, p99 ms", justify="right", no_wrap=True)
    else:
        table.add_column("best", justify="right", no_wrap=True)
    for name in summary.competitors:
        points = summary.curves[mode].get(name, [])
        if not points:
            continue
        cells = [_speed(summary, mode, name, recall) for recall in RECALLS]
        last = _latencies(points) if mode[0] == "single" else f"{max(point.recall for point in points):.4f}"
        table.add_row(_name(summary, name), *cells, last)
    if BASELINE in summary.curves[mode]:
        table.caption = f"factors: relative to {BASELINE} at the same recall"
        if mode[0] == "single":
            table.caption += f"; latencies: of the fastest setting with recall {_LATENCY_RECALL}"
    return table


def _speed(summary: DatasetSummary, mode: Mode, name: str, recall: float) -> Text:
    ratio = ratio_text(summary.ratio(mode, name, recall))
    return Text.assemble(
        rate_text(summary.qps_at(mode, name, recall)), (f"  {ratio:>5}" if ratio else "", "dim")
    )


def _latencies(points: Sequence[Point]) -> str:
    """p50 and p99 of the fastest setting with enough recall."""
    enough = [point for point in points if point.recall >= _LATENCY_RECALL]
    fastest = max(enough, key=lambda point: point.qps, default=None)
    if fastest is None or fastest.latency_ms is None:
        return DASH
    return f"{fastest.latency_ms[0]:.2f}, {fastest.latency_ms[2]:.2f}"


def _builds(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: builds", "index")
    for column in ("build time", "peak memory", "index"):
        table.add_column(column, justify="right")
    for build in sorted(summary.builds, key=lambda b: (b.competitor not in summary.ours, b.label)):
        table.add_row(
            Text(build.label, style=_OURS if build.ours else ""),
            seconds_text(build.seconds),
            bytes_text(build.peak_bytes),
            bytes_text(build.held_bytes),
        )
    return table


def _rebuilt(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: builds in turn", "index")
    for column in ("build time", "factor", "peak memory", "of the raw rows", "rounds"):
        table.add_column(column, justify="right", no_wrap=True)
    for build in summary.rebuilt:
        table.add_row(
            Text(build.label, style=_OURS if build.ours else ""),
            seconds_text(build.seconds),
            ratio_text(build.times_baseline) or DASH,
            bytes_text(build.peak_bytes),
            ratio_text(build.peak_bytes / build.raw_bytes),
            str(build.rounds),
        )
    if table.row_count:
        table.caption = f"factors: relative to the slowest of {BASELINE}"
    return table


def _projected(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: what a projection learns from, batches, 1 thread", "index")
    for column in ("ef", "recall", "queries/s"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in summary.projected:
        table.add_row(each.label, str(each.ef), f"{each.recall:.4f}", rate_text(each.qps))
    return table


def _churned(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: recall after a churn", "index")
    for each in summary.churned[:1]:
        for column in [*(f"ef {ef}" for ef in each.recall), "points not found"]:
            table.add_column(column, justify="right", no_wrap=True)
        table.caption = each.about
    for each in summary.churned:
        table.add_row(each.index, *(f"{recall:.4f}" for recall in each.recall.values()), str(each.unfound))
    return table


def _filtered(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: filtered queries per second at recall {ENOUGH}, 1 thread", "index")
    for column in ("one per call", "one per filter", "best recall", "short"):
        table.add_column(column, justify="right", no_wrap=True)
    for family, measured in summary.filtered.items():
        table.add_section()
        table.add_row(Text(f"{family}: {measured.selectivity:.2%} of the rows", style="dim"))
        for name, speed in measured.speeds.items():
            factor = ratio_text(measured.ratio(name, "single")) if speed.ours else ""
            table.add_row(
                Text(f"  {name}", style=_OURS if speed.ours else ""),
                Text.assemble(rate_text(speed.single), (f"  {factor:>5}", "dim")),
                rate_text(speed.batch),
                f"{speed.best_recall:.4f}",
                str(speed.short_answers),
            )
    if table.row_count:
        table.caption = "factors: relative to the fastest peer at the same recall"
    return table


def _imports(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: import over HTTP, durable", "route")
    table.add_column("points", justify="right")
    table.add_column("points/s", justify="right")
    for record in summary.imports:
        table.add_row(record["method"], f"{record['points']:,}", rate_text(record["points_per_s"]))
    return table


def _http(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: over HTTP, closed loop", "search")
    for column in ("clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "recall"):
        table.add_column(column, justify="right")
    for record in summary.http:
        p50, p95, p99 = record["latency_ms"]
        table.add_row(
            record["label"],
            str(record["clients"]),
            rate_text(record["qps"]),
            f"{p50:.2f}",
            f"{p95:.2f}",
            f"{p99:.2f}",
            f"{record['recall']:.4f}",
        )
    return table


def _filters(summary: DatasetSummary) -> Table:
    table = _table(f"{summary.name}: filtered search", "filter")
    for column in ("matching", "recall", "queries/s", "p50 ms", "p99 ms", "short"):
        table.add_column(column, justify="right")
    for record in summary.filters:
        table.add_row(
            record["family"],
            f"{record['selectivity']:.2%}",
            f"{record['recall']:.4f}",
            rate_text(record["qps"]),
            f"{record['latency_ms'][0]:.2f}",
            f"{record['latency_ms'][2]:.2f}",
            str(record["short_answers"]),
        )
    return table


def _means(means: dict[str, dict[float, float]], mode: Mode) -> Table:
    table = _table(
        f"all data sets: geometric mean of the speed relative to {BASELINE}, {mode_text(mode)}", "competitor"
    )
    for recall in RECALLS:
        table.add_column(f"{recall:.2f}", justify="right")
    for name, ratios in means.items():
        table.add_row(name, *(ratio_text(ratios.get(recall)) or DASH for recall in RECALLS))
    return table


def _table(title: str, first: str) -> Table:
    table = Table(
        title=title, header_style="dim", box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left"
    )
    table.add_column(first, no_wrap=True)
    return table


def _name(summary: DatasetSummary, competitor: str) -> Text:
    return Text(competitor, style=_OURS if competitor in summary.ours else "")
