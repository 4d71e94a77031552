"""One self-contained page: no scripts, no outside resources; for eyes, screen readers and paper."""

import html
import math
import re
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

from matplotlib.figure import Figure

from nearfield.bench.adapters import BASELINE
from nearfield.bench.report import plots
from nearfield.bench.report.pace import Mode
from nearfield.bench.report.page_tables import (
    churned_table,
    costs_table,
    filter_table,
    filtered_table,
    http_tables,
    means_table,
    projected_table,
    rebuilt_table,
    speed_table,
)
from nearfield.bench.report.style import bytes_text, rate_text, ratio_text
from nearfield.bench.report.summary import DatasetSummary
from nearfield.bench.report.svg import inline_svg
from nearfield.bench.report.table import mode_text

_TITLE = "Nearfield benchmark"
_ONE_THREAD: Mode = ("batch", 1)
_HEADLINE_RECALL = 0.95
_SWING = 1.15
"""Change of pace between libraries from which the page says so."""
_BUSY = 0.9
"""Share of a core below which the page warns that other processes disturbed the timings."""


def render_page(summaries: Sequence[DatasetSummary]) -> str:
    """The whole page as text."""
    template = Template(resources.files("nearfield.bench.report").joinpath("page.html").read_text("utf-8"))
    overview = means_table(summaries)
    sections = f'<section id="overview"><h2>All data sets</h2>{overview}</section>' if overview else ""
    sections += "".join(_section(f"d{index}", summary) for index, summary in enumerate(summaries))
    return template.substitute(
        title=_TITLE,
        lead=_lead(summaries),
        machine=_machine(summaries),
        contents=_contents(summaries),
        sections=sections,
    )


def _lead(summaries: Sequence[DatasetSummary]) -> str:
    rivals = sorted(
        {name for summary in summaries for name in summary.competitors if name not in summary.ours}
    )
    beside = f" beside {html.escape(', '.join(rivals))}" if rivals else ""
    return f"Recall, speed, build time and memory of Nearfield's indexes{beside}."


def _machine(summaries: Sequence[DatasetSummary]) -> str:
    machine: dict[str, Any] = summaries[-1].machine
    facts = [
        ("CPU", f"{machine['cpu']}, {machine['cores']} cores"),
        ("kernels", machine["isa"]),
        ("memory", bytes_text(machine["memory_bytes"])),
        ("Python", machine["python"]),
        *machine["versions"].items(),
        ("commit", machine["commit"] or "installed package"),
        ("measured", summaries[-1].time.replace("T", " ").removesuffix("+00:00") + " UTC"),
    ]
    return "".join(f"<li>{html.escape(name)} <b>{html.escape(str(value))}</b></li>" for name, value in facts)


def _contents(summaries: Sequence[DatasetSummary]) -> str:
    if len(summaries) < 2:
        return ""
    links = "".join(f'<li><a href="#{_slug(s.name)}">{html.escape(s.name)}</a></li>' for s in summaries)
    return f'<nav aria-label="Data sets"><ul>{links}</ul></nav>'


def _section(prefix: str, summary: DatasetSummary) -> str:
    data, slug = summary.dataset, _slug(summary.name)
    about = (
        f"{data['rows']:,} rows of {data['dimensions']} dimensions ({data['dtype']}), "
        f"metric {data['metric']}, {data['queries']:,} queries."
    )
    parts = [
        f'<section id="{slug}" aria-labelledby="{slug}-heading">',
        f'<h2 id="{slug}-heading">{html.escape(summary.name)}</h2>',
        f'<p class="muted">{html.escape(about)}</p>',
        _notices(summary),
        _headline(summary),
        _charts(prefix, summary),
        _headed("Speed at a given recall", speed_table(summary)),
        _costs(prefix, summary),
        costs_table(summary),
        _headed("Builds in turn", rebuilt_table(summary)),
        _headed("What a projection learns from", projected_table(summary)),
        _headed("After a churn", churned_table(summary)),
        _headed("Filtered search, libraries", filtered_table(summary)),
        _headed("Over HTTP", http_tables(summary)),
        _headed("Filtered search, collection", filter_table(summary)),
        _headed(
            "Reproduce",
            f"<pre><code>{html.escape(summary.reproduce)}</code></pre>" if summary.reproduce else "",
        ),
        "</section>",
    ]
    return "".join(parts)


def _headed(heading: str, content: str) -> str:
    return f"<h3>{heading}</h3>{content}" if content else ""


def _headline(summary: DatasetSummary) -> str:
    """The one comparison most readers look for."""
    speeds = {name: summary.qps_at(_ONE_THREAD, name, _HEADLINE_RECALL) for name in summary.ours}
    known = {name: speed for name, speed in speeds.items() if speed is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    ratio = summary.ratio(_ONE_THREAD, best, _HEADLINE_RECALL)
    beside = f", {ratio_text(ratio)} the speed of {BASELINE}" if ratio is not None else ""
    return (
        f'<p class="key">At recall {_HEADLINE_RECALL} on one thread, <b>{html.escape(best)}</b> answers '
        f"<b>{rate_text(known[best])}</b> queries per second{beside}.</p>"
    )


def _notices(summary: DatasetSummary) -> str:
    notices = []
    if summary.dataset["generated"]:
        notices.append(
            "These vectors are generated, not real. They show that the tool works; "
            "an index may do better or worse on real data."
        )
    if summary.cpu_share is not None and summary.cpu_share < _BUSY:
        notices.append(
            f"The machine was busy: one thread got {summary.cpu_share:.0%} of a core (median). "
            "Speeds are indicative only."
        )
    swings = [abs(math.log(pace)) for pace in summary.paces]
    if swings and math.exp(max(swings)) > _SWING:
        notices.append(
            f"The machine's pace swung by up to {math.exp(max(swings)) - 1:.0%} between libraries; "
            f"speeds are corrected by the settings of {BASELINE} that were timed beside each."
        )
    return "".join(f'<p class="notice">{html.escape(notice)}</p>' for notice in notices)


def _charts(prefix: str, summary: DatasetSummary) -> str:
    threaded = max((mode for mode in summary.curves if mode[0] == "batch"), default=_ONE_THREAD)
    main = _figure(
        plots.recall_speed(summary, _ONE_THREAD),
        f"{prefix}-speed",
        f"Queries per second over recall: {mode_text(_ONE_THREAD)}",
        "Up and to the right is better. Recall is drawn so that 0.9, 0.99 and 0.999 are equally far apart.",
    )
    pair = ""
    if threaded != _ONE_THREAD:
        pair += _figure(
            plots.recall_speed(summary, threaded, wide=False),
            f"{prefix}-threads",
            f"Queries per second over recall: {mode_text(threaded)}",
            "Up and to the right is better.",
        )
    pair += _figure(
        plots.recall_latency(summary, wide=False),
        f"{prefix}-latency",
        f"99th percentile latency over recall: {mode_text(('single', 1))}",
        "Down and to the right is better.",
    )
    return main + (f'<div class="pair">{pair}</div>' if pair else "")


def _costs(prefix: str, summary: DatasetSummary) -> str:
    return _figure(
        plots.build_costs(summary), f"{prefix}-costs", "Build time and memory", "Shorter is better."
    )


def _figure(figure: Figure | None, prefix: str, title: str, hint: str) -> str:
    """A figure with its heading and a hint; a wide one scrolls by itself on a narrow screen."""
    if figure is None:
        return ""
    svg = inline_svg(
        figure, prefix, title, f"{hint} The figures behind it are in the tables of this section."
    )
    if figure.get_figwidth() >= plots.WIDE_INCHES:
        label = html.escape(title)
        svg = f'<div class="scroll wide" role="region" tabindex="0" aria-label="{label}">{svg}</div>'
    return f"<figure><h3>{html.escape(title)}</h3>{svg}<figcaption>{html.escape(hint)}</figcaption></figure>"


def _slug(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-").lower()
