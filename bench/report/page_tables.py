"""The page's tables."""

import html
from collections.abc import Iterable, Sequence

from nearfield.bench.adapters import BASELINE
from nearfield.bench.frontier import RECALLS
from nearfield.bench.report.filtered import ENOUGH, FilterFamily
from nearfield.bench.report.pace import Mode
from nearfield.bench.report.style import DASH, bytes_text, rate_text, ratio_text, seconds_text
from nearfield.bench.report.summary import OUR_BEST, DatasetSummary, mean_ratios
from nearfield.bench.report.table import mode_text

_LOOP = "Closed loop: every client sends its next request when it has read the last answer"
_SHORT = "Filtered search; a short answer has fewer hits than qualify"


def means_table(summaries: Sequence[DatasetSummary]) -> str:
    """Geometric means over data sets of the speed relative to the baseline; empty for a single data set."""
    modes = sorted({mode for summary in summaries for mode in summary.curves})
    means = {mode: mean_ratios(summaries, mode) for mode in modes}
    compared = [summary for summary in summaries if summary.curves]
    if len(compared) < 2 or not any(means.values()):
        return ""
    ours = {name for summary in summaries for name in summary.ours} | {OUR_BEST}
    names = dict.fromkeys(name for of_mode in means.values() for name in of_mode)
    rows = [
        _row(
            name,
            [ratio_text(means[mode].get(name, {}).get(r)) or DASH for mode in modes for r in RECALLS],
            name in ours,
        )
        for name in names
    ]
    caption = f"Geometric mean of the speed relative to {BASELINE} over {len(compared)} data sets"
    return _scrolling(caption, _grouped_head(modes), rows, even=True)


def speed_table(summary: DatasetSummary) -> str:
    """Queries per second at fixed recalls in every mode, and relative to the baseline."""
    modes = sorted(summary.curves)
    if not modes:
        return ""
    rows = []
    for name in [*summary.bests, *summary.competitors]:
        cells = [_speed_cell(summary, mode, name, recall) for mode in modes for recall in RECALLS]
        rows.append(_row(name, cells, name in summary.ours or name == OUR_BEST))
    caption = f"Queries per second at recall@{summary.k}"
    if any(BASELINE in curves for curves in summary.curves.values()):
        caption += f", and how many times the speed of {BASELINE} that is"
    return _scrolling(caption, _grouped_head(modes), rows, even=True)


def _grouped_head(modes: Sequence[Mode]) -> str:
    """Two rows of column heads: modes, and the recalls in each."""
    span = len(RECALLS)
    groups = "".join(f'<th scope="colgroup" colspan="{span}">{mode_text(mode)}</th>' for mode in modes)
    recalls = "".join(f'<th scope="col">{recall:.2f}</th>' for _ in modes for recall in RECALLS)
    return f'<tr><td></td>{groups}</tr><tr><th scope="col">index</th>{recalls}</tr>'


def http_tables(summary: DatasetSummary) -> str:
    """Import rates and closed-loop queries of a running server; empty without."""
    tables = ""
    if summary.imports:
        rows = [
            _row(record["method"], [f"{record['points']:,}", rate_text(record["points_per_s"])])
            for record in summary.imports
        ]
        tables += _table(
            "Import, one request after the other, durable", "route", ["points", "points/s"], rows
        )
    if summary.http:
        columns = ["clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", f"recall@{summary.k}"]
        rows = [
            _row(
                record["label"],
                [
                    str(record["clients"]),
                    rate_text(record["qps"]),
                    *(f"{value:.2f}" for value in record["latency_ms"]),
                    f"{record['recall']:.4f}",
                ],
            )
            for record in summary.http
        ]
        tables += _table(_LOOP, "search", columns, rows)
    return tables


def filter_table(summary: DatasetSummary) -> str:
    """Filtered search per family; empty without."""
    if not summary.filters:
        return ""
    columns = ["selectivity", f"recall@{summary.k}", "queries/s", "p50 ms", "p99 ms", "short answers"]
    rows = [
        _row(
            f"{record['family']} ({record['via']})",
            [
                f"{record['selectivity']:.2%}",
                f"{record['recall']:.4f}",
                rate_text(record["qps"]),
                f"{record['latency_ms'][0]:.2f}",
                f"{record['latency_ms'][2]:.2f}",
                str(record["short_answers"]),
            ],
        )
        for record in summary.filters
    ]
    return _table(_SHORT, "filter", columns, rows)


def costs_table(summary: DatasetSummary) -> str:
    """Build time, peak memory and size of every build, and relative to the baseline's largest build."""
    if not summary.builds:
        return ""
    base = max(
        (build for build in summary.builds if build.competitor == BASELINE),
        key=lambda build: build.held_bytes or 0,
        default=None,
    )
    columns = ["build time", "peak memory / raw", "index in memory", "rows mapped", "process grew by"]
    rows = []
    for build in sorted(summary.builds, key=lambda b: (not b.ours, b.label)):
        held = build.held_bytes
        faster = ratio_text(build.seconds / base.seconds) if base else ""
        smaller = ratio_text(held / base.held_bytes) if base and held and base.held_bytes else ""
        cells = [
            _with_ratio(seconds_text(build.seconds), faster),
            f"{bytes_text(build.peak_bytes)} / {ratio_text(build.peak_bytes / build.raw_bytes)}",
            _with_ratio(bytes_text(held), smaller),
            bytes_text(build.mapped_bytes) if build.mapped_bytes else DASH,
            bytes_text(build.resident_bytes),
        ]
        rows.append(_row(build.label, cells, build.ours))
    caption = f"Builds on {summary.builds[0].threads} threads"
    if base is not None:
        caption += f"; small figures are relative to {base.label}"
    return _table(caption, "index", columns, rows)


def rebuilt_table(summary: DatasetSummary) -> str:
    """Builds that took turns; empty without."""
    if not summary.rebuilt:
        return ""
    first = summary.rebuilt[0]
    rows = [
        _row(
            build.label,
            [
                _with_ratio(seconds_text(build.seconds), ratio_text(build.times_baseline)),
                f"{bytes_text(build.peak_bytes)} / {ratio_text(build.peak_bytes / build.raw_bytes)}",
            ],
            build.ours,
        )
        for build in summary.rebuilt
    ]
    caption = (
        f"Medians of {first.rounds} builds each on {first.threads} threads, in turn; "
        f"small figures are relative to {BASELINE}'s slowest"
    )
    return _table(caption, "index", ["build time", "peak memory / raw"], rows)


def projected_table(summary: DatasetSummary) -> str:
    """Recall and speed by width of the search, by what a projection was learned from; empty without."""
    if not summary.projected:
        return ""
    widths = sorted({each.ef for each in summary.projected})
    of_label = {(each.label, each.ef): each for each in summary.projected}
    rows = [
        _row(
            label,
            [
                _with_ratio(f"{of_label[label, ef].recall:.4f}", rate_text(of_label[label, ef].qps))
                for ef in widths
            ],
        )
        for label in dict.fromkeys(each.label for each in summary.projected)
    ]
    caption = (
        f"Recall@{summary.projected[0].k} by ef; small figures are queries per second, batches, 1 thread"
    )
    return _table(caption, "index", [f"ef {ef}" for ef in widths], rows)


def churned_table(summary: DatasetSummary) -> str:
    """Recall after a churn, beside an index built anew; empty without."""
    if not summary.churned:
        return ""
    first = summary.churned[0]
    rows = [
        _row(each.index, [*(f"{recall:.4f}" for recall in each.recall.values()), str(each.unfound)])
        for each in summary.churned
    ]
    columns = [*(f"ef {ef}" for ef in first.recall), "points not found"]
    return _table(f"Recall@{first.k}. {first.about}", "index", columns, rows)


def filtered_table(summary: DatasetSummary) -> str:
    """Filtered search of libraries: all families in one table, then each; empty without."""
    if not summary.filtered:
        return ""
    columns = [
        "rows that qualify",
        "one query per call",
        "fastest peer",
        "one call per filter",
        "fastest peer",
    ]
    overview = [_family_row(name, family) for name, family in summary.filtered.items()]
    caption = f"Best of ours, queries per second at recall {ENOUGH}, and relative to the fastest peer"
    parts = [_table(caption, "filter", columns, overview)]
    for family, measured in summary.filtered.items():
        rows = [_filtered_row(measured, name) for name in measured.speeds]
        caption = (
            f"{family}: {measured.selectivity:.2%} of the rows qualify; {measured.queries} queries, "
            f"{measured.filters} filters. Queries per second at recall {ENOUGH}, relative to the fastest peer"
        )
        columns = ["one query per call", "one call per filter", "best recall", "short answers"]
        parts.append(_table(caption, "index", columns, rows))
    return "".join(parts)


def _family_row(name: str, family: FilterFamily) -> str:
    cells = [f"{family.selectivity:.2%}"]
    for mode in ("single", "batch"):
        mine, peer = family.fastest(mode, ours=True), family.fastest(mode, ours=False)
        if mine is None:
            cells.append(DASH)
        else:
            speed = rate_text(getattr(family.speeds[mine], mode))
            cells.append(_with_ratio(speed, ratio_text(family.ratio(mine, mode))))
        speed = DASH if peer is None else rate_text(getattr(family.speeds[peer], mode))
        cells.append(_with_ratio(speed, html.escape(peer or "")))
    return _row(name, cells)


def _filtered_row(family: FilterFamily, name: str) -> str:
    speed = family.speeds[name]
    ratios = [ratio_text(family.ratio(name, mode)) if speed.ours else "" for mode in ("single", "batch")]
    cells = [
        _with_ratio(rate_text(speed.single), ratios[0]),
        _with_ratio(rate_text(speed.batch), ratios[1]),
        f"{speed.best_recall:.4f}",
        str(speed.short_answers),
    ]
    return _row(name, cells, speed.ours)


def _with_ratio(text: str, ratio: str) -> str:
    return f'{text}<span class="ratio">{ratio}</span>' if ratio else text


def _speed_cell(summary: DatasetSummary, mode: Mode, name: str, recall: float) -> str:
    speed = rate_text(summary.qps_at(mode, name, recall))
    ratio = ratio_text(summary.ratio(mode, name, recall))
    return _with_ratio(speed, ratio)


def _row(name: str, cells: Iterable[str], ours: bool = False) -> str:
    mark = ' class="ours"' if ours else ""
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr{mark}><th scope="row">{html.escape(name)}</th>{values}</tr>'


def _table(caption: str, first: str, columns: Sequence[str], rows: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in (first, *columns))
    return _scrolling(caption, f"<tr>{heads}</tr>", rows)


def _scrolling(caption: str, head: str, rows: Sequence[str], *, even: bool = False) -> str:
    """A table that scrolls by itself on a narrow screen, reachable by keyboard."""
    label = html.escape(caption)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">'
        f'<table class="{"even" if even else ""}"><caption>{label}</caption>'
        f"<thead>{head}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
