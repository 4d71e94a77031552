import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nearfield.bench.frontier import Point, at_recall, geometric_mean, pareto
from nearfield.bench.records import RESULTS, Record, RecordWriter
from nearfield.bench.report.html import render_page
from nearfield.bench.report.plots import recall_speed
from nearfield.bench.report.style import bytes_text, rate_text, ratio_text, seconds_text
from nearfield.bench.report.summary import mean_ratios, summarise
from nearfield.bench.report.svg import inline_svg
from nearfield.bench.report.table import print_summaries
from nearfield.bench.report.write import write_report

MACHINE = {
    "cpu": "Test & Co <CPU>",
    "cores": 2,
    "memory_bytes": 2**34,
    "isa": "avx2",
    "python": "3.11",
    "versions": {"numpy": "2"},
    "commit": "abc",
}
VOID = {"meta", "link", "br", "use", "path", "img"}


def _dataset(name: str) -> dict[str, Any]:
    return {
        "name": name, "metric": "l2", "rows": 1000, "dimensions": 8, "dtype": "float32", "queries": 10,
        "source": name, "generated": name == "made",
    }  # fmt: skip


def _records(name: str, factor: float, run: str = "r1", cores: float = 1.0) -> list[Record]:
    """Ours is `factor` times as fast as hnswlib at every recall; three repeats around the middle."""
    common = {
        "run": run, "time": "2026-01-02T03:04:05+00:00", "machine": MACHINE, "dataset": _dataset(name),
        "reproduce": f"nearfield bench {name} && echo <done>",
    }  # fmt: skip
    records: list[Record] = []
    for competitor, speed in (("nearfield-hnsw", factor), ("hnswlib", 1.0), ("faiss-flat", 0.01)):
        who = {"competitor": competitor, "ours": competitor.startswith("nearfield"), "build": {"m": 16}}
        records.append(
            {
                "type": "build",
                **common,
                **who,
                "threads": 2,
                "seconds": 1.5,
                "peak_bytes": 3_000,
                "bytes_reported": 10_000,
                "bytes_mapped": 500,
                "bytes_resident": 9,
                "raw_bytes": 32_000,
            }
        )
        recalls = [1.0] if competitor == "faiss-flat" else [0.8, 0.9, 0.96, 0.995, 0.94]
        for ef, recall in enumerate(recalls):
            qps = speed * (1000 * (1 - recall) + 1) * (0.5 if recall == 0.94 else 1)
            for mode, threads in (("batch", 1), ("batch", 2), ("single", 1)):
                for repeat, noise in enumerate((0.5, 1.0, 3.0)):
                    latency = [1 / qps, 2 / qps, 3 / qps] if mode == "single" else None
                    records.append(
                        {"type": "search", **common, **who, "search": {"ef": ef}, "k": 10, "mode": mode,
                         "threads": threads, "repeat": repeat, "recall": recall, "qps": qps * noise,
                         "latency_ms": latency, "cores": cores, "pacer": False}
                    )  # fmt: skip
    return records


def _service_records(name: str) -> list[Record]:
    common = {
        "run": "h1",
        "time": "2026-01-02T03:04:05+00:00",
        "machine": MACHINE,
        "dataset": _dataset(name),
        "load": 1,
    }
    measured = {"recall": 0.97, "qps": 1234.0, "latency_ms": [1.0, 2.0, 3.0], "k": 10, "clients": 8}
    by_year = {"family": "by_year", "via": "http", "selectivity": 0.2, "short_answers": 0}
    return [
        {"type": "import", **common, "method": "bulk", "points": 1000, "points_per_s": 54321.0},
        {"type": "http", **common, **measured, "label": "default parameters"},
        {"type": "filter", **common, **measured, **by_year},
        *_filtered_records(common),
    ]


def _filtered_records(common: Record) -> list[Record]:
    """Ours three times as fast as the faster of two peers; a third one does not reach the recall."""
    speeds = {"nearfield-hnsw": (0.97, 300.0), "hnswlib": (0.96, 100.0), "faiss-hnsw": (0.99, 50.0)}
    return [
        {"type": "filtered", **common, "family": "by_year", "competitor": name, "build": {}, "search": {},
         "ours": name.startswith("nearfield"), "mode": mode, "threads": 1, "k": 10, "repeat": 0, "qps": qps,
         "recall": recall, "queries": 7, "filters": 3, "selectivity": 0.2, "short_answers": 0}
        for name, (recall, qps) in {**speeds, "faiss-ivf": (0.8, 9000.0)}.items()
        for mode in ("single", "batch")
    ]  # fmt: skip


def test_frontier_and_interpolation() -> None:
    points = [Point(0.8, 400), Point(0.9, 100), Point(0.95, 200), Point(0.99, 50), Point(0.99, 40)]
    assert [(p.recall, p.qps) for p in pareto(points)] == [(0.8, 400), (0.95, 200), (0.99, 50)]
    assert at_recall(points, 0.97) == pytest.approx(100.0)  # half way between 200 and 50, log-linear
    assert at_recall(points, 0.95) == pytest.approx(200.0)
    assert at_recall(points, 0.5) == 400
    assert at_recall(points, 0.995) is None and at_recall([], 0.5) is None
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0) and geometric_mean([]) is None


def test_summary_takes_medians_of_the_newest_run() -> None:
    old, new = _records("x", 9.0, run="r0"), _records("x", 2.0)
    summary = summarise([*old, *new, *_service_records("x")])[0]
    assert summary.competitors == ["nearfield-hnsw", "faiss-flat", "hnswlib"]
    assert summary.repeats == 3 and len(summary.builds) == 3
    assert summary.qps_at(("batch", 1), "hnswlib", 0.9) == pytest.approx(101.0)  # the middle repeat
    assert summary.ratio(("batch", 1), "nearfield-hnsw", 0.95) == pytest.approx(2.0)
    assert summary.qps_at(("batch", 1), "hnswlib", 0.999) is None
    assert (len(summary.imports), len(summary.http), len(summary.filters)) == (1, 1, 1)


def test_filtered_speeds_are_compared_with_the_fastest_peer_of_enough_recall() -> None:
    family = summarise([*_records("x", 2.0), *_service_records("x")])[0].filtered["by_year"]
    assert family.ratio("nearfield-hnsw", "single") == pytest.approx(3.0)
    assert family.speeds["faiss-ivf"].single is None and family.ratio("faiss-ivf", "batch") is None
    assert (family.queries, family.filters, family.speeds["faiss-ivf"].best_recall) == (7, 3, 0.8)


def test_geometric_mean_over_data_sets() -> None:
    summaries = summarise([*_records("x", 2.0), *_records("y", 8.0)])
    means = mean_ratios(summaries, ("batch", 1))
    assert means["nearfield-hnsw"][0.95] == pytest.approx(4.0) and means["hnswlib"][0.9] == pytest.approx(1.0)


class _Checker(HTMLParser):
    """Collects ids, references and unbalanced elements."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open += [] if tag in VOID else [tag]
        for name, value in attributes:
            if name == "id" and value:
                self.ids.append(value)
            elif name in ("href", "src", "xlink:href") and value:
                self.links.append(value)
            elif name in ("aria-labelledby", "aria-describedby") and value:
                self.references += value.split()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_page_stands_alone_and_is_well_formed() -> None:
    records = [*_records("x", 2.0), *_service_records("x"), *_records("made", 0.5, cores=0.4)]
    page = render_page(summarise(records))
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert set(checker.references) <= set(checker.ids)
    assert all(link.startswith("#") and link[1:] in checker.ids for link in checker.links)
    assert "<script" not in page and "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "Test &amp; Co &lt;CPU&gt;" in page and "&amp;&amp; echo &lt;done&gt;" in page
    assert page.count('role="img"') == 8
    for text in (
        "2.00\u00d7",
        "Over HTTP",
        "54.3 k",
        "by_year",
        "one thread got 40% of a core",
        "generated, not real",
        "3.00\u00d7",
        "by_year: 20.00% of the rows qualify; 7 queries, 3 filters",
        "best of the peers",
    ):
        assert text in page


def test_plot_shows_frontiers_with_their_names() -> None:
    figure = recall_speed(summarise(_records("x", 2.0))[0], ("batch", 1))
    assert figure is not None
    axes = figure.axes[0]
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "recall@10"
    assert [len(line.get_xdata()) for line in axes.lines] == [4, 4, 1]  # the beaten setting is not drawn
    assert {text.get_text() for text in axes.texts} == {"nearfield-hnsw", "hnswlib", "faiss-flat"}
    svg = inline_svg(figure, "p0", "A title", "What <it> shows")
    root = ET.fromstring(svg.replace("xlink:href", "href"))
    assert root.find("{*}title").text == "A title"
    assert recall_speed(summarise(_records("x", 2.0))[0], ("batch", 7)) is None


def test_files_and_terminal(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / RESULTS, {}) as writer:
        for record in [*_records("x", 2.0), *_records("y", 3.0), *_service_records("x")]:
            writer.write(record["type"], **{name: value for name, value in record.items() if name != "type"})
    summaries = write_report(tmp_path)
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert {path.stem for path in tmp_path.glob("*.svg")} == {path.stem for path in tmp_path.glob("*.png")}
    assert {"x-speed-1.png", "x-speed-2.png", "x-latency.png", "y-builds.png"} <= pictures
    console = Console(width=90, file=io.StringIO(), record=True)
    print_summaries(console, summaries)
    text = console.export_text()
    for expected in ("nearfield-hnsw", "2.00", "all data sets", "54.3 k", "by_year"):
        assert expected in text


def test_numbers_are_written_briefly() -> None:
    assert [rate_text(v) for v in (None, 3.14159, 87.6, 1234.5, 45_678, 123_456)] == [
        "\u2013", "3.14", "87.6", "1,234", "45.7 k", "123 k",
    ]  # fmt: skip
    assert [bytes_text(v) for v in (None, 10, 1023, 2**20, 3.5 * 2**30)] == [
        "\u2013", "10 B", "1023 B", "1 MiB", "3.5 GiB",
    ]  # fmt: skip
    assert [seconds_text(v) for v in (0.0123, 9.87, 120)] == ["12 ms", "9.9 s", "2.0 min"]
    assert ratio_text(None) == "" and ratio_text(12.3) == "12\u00d7"
