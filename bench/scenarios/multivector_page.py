"""The page of the multi-vector scenario: a figure and a table per set, no scripts, no outside resources."""

import html
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any, Final

from nearfield.bench.report.plots import recall_speed
from nearfield.bench.report.style import DASH, bytes_text, rate_text
from nearfield.bench.report.summary import DatasetSummary
from nearfield.bench.report.svg import inline_svg

_TITLE: Final = "Nearfield benchmark: documents of many vectors"
_READING: Final = (
    "Candidates are documents that a way proposes and exact MaxSim then ranks; of the graph of tokens, the "
    "nearest tokens asked for per query token. Recall is that of exact MaxSim's first ten. All ways ran in "
    "turns in one process on one thread, in batch calls where they have them; a rate is the median of rounds."
)
_COLUMNS: Final = (
    "candidates",
    "recall",
    "queries/s",
    "nDCG@10",
    "recall@100 of judgements",
    "bytes/document",
)


def render_page(sections: Sequence[tuple[DatasetSummary, str, Sequence[dict[str, Any]]]]) -> str:
    """The page as text: of each set its summary, a line about it and the records."""
    page = resources.files("nearfield.bench.report").joinpath("page.html").read_text("utf-8")
    head = Template(page[: page.index("<body>")]).substitute(title=_TITLE)
    body = "".join(_section(f"d{i}", *section) for i, section in enumerate(sections))
    return (
        f"{head}<body>\n<main>\n<header><h1>{_TITLE}</h1><p>{_READING}</p>{_machine(sections)}</header>"
        f"\n{body}</main>\n</body>\n</html>\n"
    )


def _machine(sections: Sequence[tuple[DatasetSummary, str, Sequence[dict[str, Any]]]]) -> str:
    if not sections:
        return ""
    machine = sections[-1][0].machine
    facts = (("CPU", f"{machine['cpu']}, {machine['cores']} cores"), ("kernels", machine["isa"]))
    items = "".join(f"<li>{name} <b>{html.escape(str(value))}</b></li>" for name, value in facts)
    return f'<ul class="facts">{items}</ul>'


def _section(prefix: str, summary: DatasetSummary, about: str, records: Sequence[dict[str, Any]]) -> str:
    name = html.escape(summary.name)
    figure = recall_speed(summary, ("batch", 1))
    drawn = "" if figure is None else f"<figure>{inline_svg(figure, prefix, summary.name, about)}</figure>"
    return (
        f'<section><h2>{name}</h2><p class="muted">{html.escape(about)}</p>{drawn}{_table(records)}</section>'
    )


def _table(records: Sequence[dict[str, Any]]) -> str:
    heads = "".join(f'<th scope="col">{column}</th>' for column in ("first", *_COLUMNS))
    rows = "".join(
        f'<tr><th scope="row">{html.escape(record["way"])}</th>'
        + "".join(f"<td>{cell}</td>" for cell in _cells(record))
        + "</tr>"
        for record in records
    )
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cells(record: dict[str, Any]) -> list[str]:
    return [
        f"{record['candidates']:,}" if record["candidates"] else DASH,
        f"{record['recall']:.4f}",
        rate_text(record["qps"]),
        f"{record['ndcg']:.4f}" if "ndcg" in record else DASH,
        f"{record['relevant_found']:.4f}" if "relevant_found" in record else DASH,
        bytes_text(record["bytes_per_document"]),
    ]
