"""The page's tables."""

import html
from collections.abc import Iterable, Sequence

from nearfield.bench.frontier import RECALLS
from nearfield.bench.report.style import DASH, rate_text, ratio_text
from nearfield.bench.report.summary import BASELINE, DatasetSummary, Mode, mean_ratios
from nearfield.bench.report.table import mode_text

_LOOP = "Closed loop: every client sends its next request when it has read the last answer"
_SHORT = "Filtered search; a short answer has fewer hits than qualify"


def means_table(summaries: Sequence[DatasetSummary]) -> str:
    """Geometric means over data sets of the speed relative to the baseline; empty for a single data set."""
    means = mean_ratios(summaries, ("batch", 1))
    if len(summaries) < 2 or not means:
        return ""
    ours = {name for summary in summaries for name in summary.ours}
    rows = [
        _row(name, [ratio_text(ratios.get(recall)) or DASH for recall in RECALLS], name in ours)
        for name, ratios in means.items()
    ]
    caption = (
        f"Geometric mean of the speed relative to {BASELINE} over {len(summaries)} data sets, one thread"
    )
    return _table(caption, "index", [f"recall {recall:.2f}" for recall in RECALLS], rows)


def speed_table(summary: DatasetSummary) -> str:
    """Queries per second at fixed recalls in every mode, and relative to the baseline."""
    modes = sorted(summary.curves)
    if not modes:
        return ""
    span = len(RECALLS)
    groups = "".join(f'<th scope="colgroup" colspan="{span}">{mode_text(mode)}</th>' for mode in modes)
    recalls = "".join(f'<th scope="col">{recall:.2f}</th>' for _ in modes for recall in RECALLS)
    head = f'<tr><td></td>{groups}</tr><tr><th scope="col">index</th>{recalls}</tr>'
    rows = []
    for name in summary.competitors:
        cells = [_speed_cell(summary, mode, name, recall) for mode in modes for recall in RECALLS]
        rows.append(_row(name, cells, name in summary.ours))
    caption = f"Queries per second at recall@{summary.k}"
    if any(BASELINE in curves for curves in summary.curves.values()):
        caption += f", and how many times the speed of {BASELINE} that is"
    return _scrolling(caption, head, rows, even=True)


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


def _speed_cell(summary: DatasetSummary, mode: Mode, name: str, recall: float) -> str:
    speed = rate_text(summary.qps_at(mode, name, recall))
    ratio = ratio_text(summary.ratio(mode, name, recall))
    return f'{speed}<span class="ratio">{ratio}</span>' if ratio else speed


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
