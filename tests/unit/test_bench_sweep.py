import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from nearfield.bench.__main__ import app
from nearfield.bench.adapters import installed_peers
from nearfield.bench.adapters.base import Competitor, Params, Shape, doubling, nlist_for
from nearfield.bench.adapters.nearfield import our_competitors
from nearfield.bench.datasets import Dataset, load_dataset
from nearfield.bench.harness import Plan, Reporter, sweep
from nearfield.bench.records import RESULTS, RecordWriter, latest_runs, read_records

PLAN = Plan(threads=2, repeats=2, slice_s=0.001, recall_s=0.01)


class _Oracle:
    """Answers the first `share` of the true neighbours, so its recall is known."""

    def __init__(self, truth: NDArray[np.int64], log: list[str], name: str) -> None:
        self._truth, self._log, self._name = truth, log, name

    def fit(self, rows: NDArray[Any], metric: str, threads: int, training_queries: Any = None) -> None:
        self._log.append(f"fit {self._name}")

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._keep = params["keep"]
        self._log.append(f"{self._name} keep={self._keep} threads={threads}")

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        return self._answers(1, k)[0]

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        time.sleep(1e-4)
        return self._answers(len(queries), k)

    def memory_bytes(self) -> int | None:
        return 4321

    def _answers(self, count: int, k: int) -> NDArray[Any]:
        found = self._truth[:count, :k].copy()
        found[:, self._keep :] = -1
        return found


@pytest.fixture
def dataset() -> Dataset:
    return load_dataset("generated", rows=400, queries=100)


def _oracle(dataset: Dataset, name: str, log: list[str], keeps: list[int], **more: Any) -> Competitor:
    return Competitor(
        name,
        "numpy",
        lambda params: _Oracle(dataset.truth_ids, log, name),
        lambda shape: [{"m": 1}],
        lambda shape, build: [{"keep": keep} for keep in keeps],
        **more,
    )


def _swept(dataset: Dataset, competitors: list[Competitor], plan: Plan, path: Path) -> list[dict[str, Any]]:
    with RecordWriter(path, {"dataset": dataset.describe(), "machine": {}}) as writer:
        sweep(dataset, competitors, plan, writer, Reporter())
    return read_records(path)


def test_recall_is_measured_and_rounds_are_interleaved(dataset: Dataset, tmp_path: Path) -> None:
    log: list[str] = []
    a, b = _oracle(dataset, "a", log, [5, 8], ours=True), _oracle(dataset, "b", log, [5, 8])
    records = _swept(dataset, [a, b], PLAN, tmp_path / RESULTS)
    builds = [record for record in records if record["type"] == "build"]
    assert [(build["competitor"], build["bytes_reported"]) for build in builds] == [("a", 4321), ("b", 4321)]
    searches = [record for record in records if record["type"] == "search"]
    assert {(s["search"]["keep"], round(s["recall"], 9)) for s in searches} == {(5, 0.5), (8, 0.8)}
    assert {(s["mode"], s["threads"]) for s in searches} == {("batch", 1), ("batch", 2), ("single", 1)}
    assert all((s["latency_ms"] is not None) == (s["mode"] == "single") for s in searches)
    order = [(s["repeat"], s["search"]["keep"], s["competitor"]) for s in searches[::3]]
    assert order == [(r, keep, name) for r in (0, 1) for keep in (5, 8) for name in ("a", "b")]
    assert "a keep=5 threads=2" in log and "a keep=5 threads=1" in log


def test_a_saturated_build_is_not_swept_further(dataset: Dataset, tmp_path: Path) -> None:
    competitor = _oracle(dataset, "a", [], [9, 10, 11, 12])
    records = _swept(dataset, [competitor], PLAN, tmp_path / RESULTS)
    assert {s["search"]["keep"] for s in records if s["type"] == "search"} == {9, 10}


def test_a_spent_budget_still_finishes_the_first_round(dataset: Dataset, tmp_path: Path) -> None:
    plan = Plan(threads=1, repeats=50, slice_s=0.001, recall_s=0.01, budget_s=0.001)
    records = _swept(dataset, [_oracle(dataset, "a", [], [5, 8])], plan, tmp_path / RESULTS)
    assert {s["repeat"] for s in records if s["type"] == "search"} == {0}
    assert len([s for s in records if s["type"] == "search"]) == 4


def test_a_metric_a_library_lacks_is_left_out(dataset: Dataset, tmp_path: Path) -> None:
    only_l2 = _oracle(dataset, "a", [], [5], metrics=frozenset({"l2"}))
    assert _swept(dataset, [only_l2], PLAN, tmp_path / RESULTS) == []


def test_interruption_keeps_what_was_measured(dataset: Dataset, tmp_path: Path) -> None:
    class Impatient(Reporter):
        def step(self, what: str) -> None:
            if self.timing:
                raise KeyboardInterrupt

        def stage(self, name: str, total: int) -> None:
            self.timing = name == "timing"

    with (
        pytest.raises(KeyboardInterrupt),
        RecordWriter(tmp_path / RESULTS, {"dataset": dataset.describe()}) as writer,
    ):
        sweep(dataset, [_oracle(dataset, "a", [], [5, 8])], PLAN, writer, Impatient())
    assert [record["type"] for record in read_records(tmp_path / RESULTS)] == ["build", "search"]


def test_records_survive_torn_lines_and_later_runs(tmp_path: Path) -> None:
    path = tmp_path / RESULTS
    common = {"dataset": {"name": "x"}}
    with RecordWriter(path, {**common, "run": "one"}) as writer:
        writer.write("search", qps=1.0)
        writer.write("http", qps=2.0)
    with path.open("ab") as file:
        file.write(b'{"type": "search", "dataset": {"na')
    with RecordWriter(path, {**common, "run": "two"}) as writer:
        writer.write("search", qps=3.0)
    records = read_records(path)
    assert [record["qps"] for record in records] == [1.0, 2.0, 3.0]
    assert [record["qps"] for record in latest_runs(records)] == [2.0, 3.0]


@pytest.mark.parametrize("competitor", [*our_competitors(), *installed_peers()], ids=lambda c: c.name)
def test_every_competitor_finds_neighbours(competitor: Competitor, dataset: Dataset) -> None:
    shape = Shape(dataset.count, dataset.dimensions, quick=True)
    for metric in sorted(competitor.metrics & {"l2", "ip", "cosine"}):
        build = competitor.builds(shape)[0]
        adapter = competitor.make(build)
        adapter.fit(dataset.base, metric, 1)
        adapter.set_query_arguments(competitor.searches(shape, build)[-1], 1)
        found = adapter.batch_query(dataset.queries, 10)
        assert found.shape == (len(dataset.queries), 10)
        # Unit vectors: all three metrics rank alike.
        right = [
            len(np.intersect1d(row, truth[:10])) for row, truth in zip(found, dataset.truth_ids, strict=True)
        ]
        assert np.mean(right) / 10 > 0.8
        assert len(np.intersect1d(adapter.query(dataset.queries[0], 10), found[0])) >= 9


def test_grids_and_names() -> None:
    assert doubling(10, 80, quick=True) == [10, 20, 40, 80]
    assert doubling(10, 40, quick=False) == [10, 14, 20, 28, 40]
    assert nlist_for(Shape(60_000, 8)) == 1024 and nlist_for(Shape(10_000, 8)) == 256
    assert [competitor.name for competitor in installed_peers(["faiss-ivf"])] == ["faiss-ivf"]
    with pytest.raises(ValueError, match="no adapter for nosuch"):
        installed_peers(["nosuch"])
    with pytest.raises(ValueError, match="no index kind nosuch; registered: flat"):
        our_competitors(["nosuch"])


def test_the_command_measures_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--quick", "--limit", "300", "--queries", "20", "--kinds", "flat,hnsw", "--peers", "hnswlib"]
    done = CliRunner().invoke(app, ["generated", *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "nearfield-hnsw" in done.output and "hnswlib" in done.output and "not real data" in done.output
    records = read_records(out / RESULTS)
    assert {record["competitor"] for record in records} == {"nearfield-flat", "nearfield-hnsw", "hnswlib"}
    machine = records[0]["machine"]
    assert machine["cores"] >= 1 and machine["isa"] and machine["versions"]["hnswlib"]
    page = (out / "report.html").read_text()
    assert "nearfield-hnsw" in page and "generated, not real" in page
    assert all(json.loads(line) for line in (out / RESULTS).read_text().splitlines())
    again = CliRunner().invoke(app, ["--render", "--out", str(out)])
    assert again.exit_code == 0 and "hnswlib" in again.output


def test_the_command_explains_its_refusals(tmp_path: Path) -> None:
    runner = CliRunner()
    missing = runner.invoke(app, ["nosuch", "--data-dir", str(tmp_path), "--out", str(tmp_path)])
    assert missing.exit_code == 2 and "no data set `nosuch`" in missing.output
    assert runner.invoke(app, ["--out", str(tmp_path)]).exit_code == 2
    empty = runner.invoke(app, ["--render", "--out", str(tmp_path)])
    assert empty.exit_code == 1 and "no measurements" in empty.output
