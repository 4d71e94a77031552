"""Writes the page and the plots of a results file."""

from pathlib import Path

from nearfield.bench.records import RESULTS, read_records
from nearfield.bench.report import plots
from nearfield.bench.report.html import render_page
from nearfield.bench.report.summary import DatasetSummary, summarise
from nearfield.bench.report.table import mode_text

PAGE = "report.html"


def write_report(folder: Path) -> list[DatasetSummary]:
    """Render `report.html` and plots (PNG, SVG) from a folder's `results.jsonl`; returns the summaries.

    Raises:
        FileNotFoundError: the folder has no results.
    """
    records = read_records(folder / RESULTS)
    if not records:
        raise FileNotFoundError(f"no measurements in {folder / RESULTS}")
    summaries = summarise(records)
    (folder / PAGE).write_text(render_page(summaries), "utf-8")
    for summary in summaries:
        _write_plots(folder, summary)
    return summaries


def _write_plots(folder: Path, summary: DatasetSummary) -> None:
    figures = [
        ("latency", f"99th percentile latency, {mode_text(('single', 1))}", plots.recall_latency(summary)),
        ("builds", "build time and memory", plots.build_costs(summary)),
    ]
    for mode in summary.curves:
        if mode[0] == "batch":
            title = f"recall and speed, {mode_text(mode)}"
            figures.append((f"speed-{mode[1]}", title, plots.recall_speed(summary, mode)))
    machine = summary.machine
    note = f"{machine['cpu']}, {machine['cores']} cores, {summary.time[:10]}"
    if summary.dataset["generated"]:
        note += "; generated vectors, not real data"
    for name, title, figure in figures:
        if figure is not None:
            plots.save_figure(figure, folder / f"{summary.name}-{name}", f"{summary.name}: {title}", note)
