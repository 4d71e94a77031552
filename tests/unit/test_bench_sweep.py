import time
from collections.abc import Sequence
from dataclasses import replace
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
from nearfield.bench.builds import Cached, cached
from nearfield.bench.datasets import Dataset, load_dataset
from nearfield.bench.harness import Pacer, Plan, Reporter, Setting, sweep, worth_timing
from nearfield.bench.isolate import IsolatedError, isolated
from nearfield.bench.libraries import in_turn, library_groups
from nearfield.bench.records import RESULTS, RecordWriter, latest_runs, read_records
from nearfield.bench.report.pace import paces
from tests.helpers.bench_sets import write_set
from tests.helpers.child_calls import echo, leave

PLAN = Plan(threads=2, repeats=2, slice_s=0.001, recall_s=0.01)
_WASTE = 64 << 20


class _Oracle:
    """Answers the first `share` of the true neighbours, so its recall is known."""

    def __init__(self, truth: NDArray[np.int64], log: list[str], name: str) -> None:
        self._truth, self._log, self._name = truth, log, name

    def prepare(self, rows: NDArray[Any], metric: str) -> NDArray[Any]:
        return np.asarray(rows, np.float64)

    def fit(self, rows: NDArray[Any], metric: str, threads: int, training_queries: Any = None) -> None:
        assert rows.dtype == np.float64
        self._waste = np.ones(_WASTE // 8)
        self._log.append(f"fit {self._name}")

    def save(self, path: Path) -> None:
        path.write_text("saved")

    def open(self, path: Path, metric: str, dimensions: int) -> None:
        assert path.read_text() == "saved"

    def set_query_arguments(self, params: Params, threads: int) -> None:
        self._keep = params["keep"]
        self._log.append(f"{self._name} keep={self._keep} threads={threads}")

    def query(self, vector: NDArray[np.float32], k: int) -> NDArray[Any]:
        return self._answers(1, k)[0]

    def batch_query(self, queries: NDArray[np.float32], k: int) -> NDArray[Any]:
        time.sleep(3e-3 if self._keep < 10 else 3e-2)  # speed and recall differ, also on a busy machine
        return self._answers(len(queries), k)

    def memory_bytes(self) -> tuple[int | None, int]:
        return 4321, 99

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


def _built(dataset: Dataset, competitors: list[Competitor], folder: Path) -> list[Cached]:
    shape = Shape(dataset.count, dataset.dimensions)
    indexes = [cached(folder, dataset, c, params, "1") for c in competitors for params in c.builds(shape)]
    for index in indexes:
        index.build(dataset, 2)
    return indexes


def _swept(
    dataset: Dataset, indexes: list[Cached], path: Path, pacers: Sequence[Pacer] = ()
) -> list[dict[str, Any]]:
    with RecordWriter(path, {"dataset": dataset.describe(), "machine": {}}) as writer:
        sweep(dataset, indexes, pacers, PLAN, writer, Reporter())
    return read_records(path)


def test_recall_is_measured_and_rounds_are_interleaved(dataset: Dataset, tmp_path: Path) -> None:
    log: list[str] = []
    a, b = _oracle(dataset, "a", log, [9, 10], ours=True), _oracle(dataset, "b", log, [9, 10])
    records = _swept(dataset, _built(dataset, [a, b], tmp_path), tmp_path / RESULTS)
    builds = [record for record in records if record["type"] == "build"]
    assert [(b["competitor"], b["bytes_reported"], b["bytes_mapped"]) for b in builds] == [
        ("a", 4321, 99),
        ("b", 4321, 99),
    ]
    assert all(0.9 * _WASTE < build["peak_bytes"] < 1.5 * _WASTE for build in builds)
    searches = [record for record in records if record["type"] == "search"]
    assert {(s["search"]["keep"], round(s["recall"], 9)) for s in searches} == {(9, 0.9), (10, 1.0)}
    modes = [("batch", 1), ("batch", 2), ("single", 1)]
    assert all((s["latency_ms"] is not None) == (s["mode"] == "single") for s in searches)
    order = [((s["mode"], s["threads"]), s["repeat"], s["search"]["keep"], s["competitor"]) for s in searches]
    assert order == [
        (mode, r, keep, name) for r in (0, 1) for mode in modes for keep in (9, 10) for name in ("a", "b")
    ]
    assert "a keep=9 threads=2" in log and "a keep=9 threads=1" in log


def test_only_settings_near_the_frontier_are_timed(dataset: Dataset, tmp_path: Path) -> None:
    a = _oracle(dataset, "a", [], [])
    index, adapter = cached(tmp_path, dataset, a, {}, "1"), a.make({})

    def setting(recall: float, rate: float) -> Setting:
        return Setting(index, adapter, {"r": recall}, recall, 100, rate)

    slow, near, fast = setting(0.93, 100.0), setting(0.95, 900.0), setting(0.95, 1000.0)
    low, lowest, high = setting(0.80, 3000.0), setting(0.5, 9000.0), setting(0.99, 300.0)
    kept = worth_timing([slow, near, fast, low, lowest, high])
    assert sorted(s.recall for s in kept) == [0.80, 0.95, 0.99]
    assert fast in kept and near not in kept


def test_the_baseline_beside_tells_the_pace(dataset: Dataset, tmp_path: Path) -> None:
    [own] = _built(dataset, [_oracle(dataset, "hnswlib", [], [9])], tmp_path)
    [other] = _built(dataset, [_oracle(dataset, "a", [], [9])], tmp_path)
    records = _swept(dataset, [other], tmp_path / RESULTS, [Pacer(own, {"keep": 9}, 0.9)])
    searches = [record for record in records if record["type"] == "search"]
    assert {(s["competitor"], s["pacer"]) for s in searches} == {("a", False), ("hnswlib", True)}

    def search(run: str, competitor: str, qps: float, pacer: bool) -> dict[str, Any]:
        fixed = {"type": "search", "mode": "batch", "threads": 1, "build": {}, "search": {}}
        return {**fixed, "run": run, "competitor": competitor, "qps": qps, "pacer": pacer}

    measured = [search("one", "hnswlib", 100.0, False), search("two", "hnswlib", 50.0, True)]
    assert paces([*measured, search("two", "a", 500.0, False)]) == {("two", ("batch", 1)): pytest.approx(2.0)}


def test_an_index_of_another_version_is_not_reused(dataset: Dataset, tmp_path: Path) -> None:
    a = _oracle(dataset, "a", [], [9])
    [index] = _built(dataset, [a], tmp_path)
    facts = index.facts()
    assert facts is not None and facts["competitor"] == "a" and facts["seconds"] >= 0
    assert cached(tmp_path, dataset, a, index.params, "2").facts() is None
    index.remove()
    assert index.facts() is None and not index.folder.exists()


def test_a_saturated_build_is_not_swept_further(dataset: Dataset, tmp_path: Path) -> None:
    log: list[str] = []
    _swept(dataset, _built(dataset, [_oracle(dataset, "a", log, [9, 10, 11])], tmp_path), tmp_path / RESULTS)
    assert any("keep=10" in line for line in log) and not any("keep=11" in line for line in log)


def test_interruption_keeps_what_was_measured(dataset: Dataset, tmp_path: Path) -> None:
    class Impatient(Reporter):
        def step(self, what: str) -> None:
            if self.timing:
                raise KeyboardInterrupt

        def stage(self, name: str, total: int) -> None:
            self.timing = name == "timing"

    indexes = _built(dataset, [_oracle(dataset, "a", [], [9])], tmp_path)
    with (
        pytest.raises(KeyboardInterrupt),
        RecordWriter(tmp_path / RESULTS, {"dataset": dataset.describe()}) as writer,
    ):
        sweep(dataset, indexes, [], PLAN, writer, Impatient())
    assert [record["type"] for record in read_records(tmp_path / RESULTS)] == ["build", "search"]


def test_a_child_reports_and_its_failure_is_told() -> None:
    class Heard(Reporter):
        def __init__(self) -> None:
            self.words: list[str] = []

        def note(self, text: str) -> None:
            self.words.append(text)

    heard = Heard()
    isolated(echo, "word", reporter=heard)
    assert heard.words == ["word"]
    with pytest.raises(IsolatedError, match="status 7"):
        isolated(leave, 7, reporter=heard)


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
def test_every_competitor_finds_neighbours(competitor: Competitor, dataset: Dataset, tmp_path: Path) -> None:
    shape = Shape(dataset.count, dataset.dimensions, quick=True)
    for metric in sorted(competitor.metrics & {"l2", "ip", "cosine"}):
        build = competitor.builds(shape)[0]
        built, adapter = competitor.make(build), competitor.make(build)
        built.fit(built.prepare(dataset.base, metric), metric, 1)
        built.save(tmp_path / metric)
        adapter.open(tmp_path / metric, metric, dataset.dimensions)
        held, mapped = adapter.memory_bytes()
        assert (held or 0) + mapped >= dataset.base.nbytes / 2
        adapter.set_query_arguments(competitor.searches(shape, build)[-1], 1)
        found = adapter.batch_query(dataset.queries, 10)
        assert found.shape == (len(dataset.queries), 10)
        # Unit vectors: all three metrics rank alike.
        right = [
            len(np.intersect1d(row, truth[:10])) for row, truth in zip(found, dataset.truth_ids, strict=True)
        ]
        assert np.mean(right) / 10 > 0.8
        assert len(np.intersect1d(adapter.query(dataset.queries[0], 10), found[0])) >= 9


_FILTERED = [c for c in [*our_competitors(), *installed_peers()] if hasattr(c.make({}), "set_filter")]


@pytest.mark.parametrize("competitor", _FILTERED, ids=lambda c: c.name)
def test_filters_let_only_qualifying_rows_through(
    competitor: Competitor, dataset: Dataset, tmp_path: Path
) -> None:
    shape = Shape(dataset.count, dataset.dimensions, quick=True)
    build = competitor.builds(shape)[0]
    built: Any = competitor.make(build)
    built.fit(built.prepare(dataset.base, "ip"), "ip", 1)
    built.save(tmp_path / "index")
    adapter: Any = competitor.make(build)
    adapter.open(tmp_path / "index", "ip", dataset.dimensions)
    adapter.set_query_arguments(competitor.searches(shape, build)[-1], 1)
    allowed = np.arange(dataset.count) % 4 == 1
    exact = np.where(allowed, dataset.queries[:20] @ dataset.base.T, -np.inf)
    truth = np.argsort(-exact, axis=1, kind="stable")[:, :10]
    adapter.set_filter(allowed)
    found = adapter.batch_query(dataset.queries[:20], 10)
    assert allowed[found[found >= 0]].all()
    share = [len(np.intersect1d(row, right)) / 10 for row, right in zip(found, truth, strict=True)]
    assert np.mean(share) > 0.8
    assert len(np.intersect1d(adapter.query(dataset.queries[0], 10), found[0])) >= 9
    adapter.set_filter(None)
    assert not allowed[adapter.batch_query(dataset.queries[:20], 10)].all()


def test_grids_and_names() -> None:
    assert doubling(10, 80, quick=True) == [10, 20, 40, 80]
    assert doubling(10, 40, quick=False) == [10, 14, 20, 28, 40]
    assert nlist_for(Shape(60_000, 8)) == 1024 and nlist_for(Shape(10_000, 8)) == 256
    assert [competitor.name for competitor in installed_peers(["faiss-ivf"])] == ["faiss-ivf"]
    with pytest.raises(ValueError, match="no adapter for nosuch"):
        installed_peers(["nosuch"])
    with pytest.raises(ValueError, match="no index kind nosuch; registered: flat"):
        our_competitors(["nosuch"])


def test_the_command_measures_resumes_and_reports(tmp_path: Path) -> None:
    folder, out = write_set(tmp_path / "tiny-12-ip"), tmp_path / "out"
    options = ["--quick", "--kinds", "hnsw", "--peers", "hnswlib,faiss-ivf", "--resume", "--out", str(out)]
    done = CliRunner().invoke(app, [str(folder), "--scenario", "search,filters", *options])
    assert done.exit_code == 0, done.output
    assert "nearfield-hnsw" in done.output and "hnswlib" in done.output
    records = read_records(out / RESULTS)
    built = [(r["library"], r["competitor"]) for r in records if r["type"] == "build"]
    assert built == [("nearfield", "hnswlib"), ("nearfield", "nearfield-hnsw"), ("faiss-cpu", "faiss-ivf")]
    paced = {(r["library"], r["competitor"]) for r in records if r["type"] == "search" and r["pacer"]}
    assert paced == {("faiss-cpu", "hnswlib")}
    filtered = [record for record in records if record["type"] == "filtered"]
    assert {(r["family"], r["competitor"]) for r in filtered} == {
        (family, name) for family in ("decade", "tag") for name in ("hnswlib", "nearfield-hnsw", "faiss-ivf")
    }
    assert all(r["recall"] == 1.0 and r["short_answers"] == 0 for r in filtered if r["ours"])
    machine = records[0]["machine"]
    assert machine["cores"] >= 1 and machine["isa"] and machine["versions"]["hnswlib"]
    page = (out / "report.html").read_text()
    assert "nearfield-hnsw" in page and "decade: 10.00% of the rows qualify" in page
    again = CliRunner().invoke(app, [str(folder), *options])
    assert again.exit_code == 0 and "measured already" in again.output
    assert len(read_records(out / RESULTS)) == len(records)


def test_builds_take_turns_and_projections_are_compared(tmp_path: Path) -> None:
    folder, out = write_set(tmp_path / "tiny-12-ip"), tmp_path / "out"
    np.save(folder / "train_queries.npy", np.load(folder / "queries.npy"))
    options = ["--scenario", "builds,projections", "--kinds", "auto", "--peers", "hnswlib,faiss-flat"]
    options += ["--repeat", "2", "--resume", "--out", str(out)]
    done = CliRunner().invoke(app, [str(folder), *options])
    assert done.exit_code == 0, done.output
    records = read_records(out / RESULTS)
    rounds = [(r["competitor"], r["build"].get("M"), r["repeat"]) for r in records if r["type"] == "rebuild"]
    one = [("hnswlib", 16), ("nearfield-auto", None), ("hnswlib", 32)]
    assert rounds == [(*build, repeat) for repeat in (0, 1) for build in one]
    compared = [record for record in records if record["type"] == "projection"]
    kinds = {
        (record["index_kind"], record["learned_from"], record["reduced_dimensions"]) for record in compared
    }
    assert kinds == {("lvq", "none", 12), ("leanvec", "rows", 12), ("leanvec", "queries", 12)}
    assert all(record["recall"] > 0.9 and record["qps"] > 0 for record in compared)
    page = (out / "report.html").read_text()
    assert "Medians of 2 builds each" in page and "leanvec 12 from rows and queries" in page
    again = CliRunner().invoke(app, [str(folder), *options])
    assert again.exit_code == 0 and again.output.count("measured already") == 2
    assert len(read_records(out / RESULTS)) == len(records)


def test_a_churn_is_compared_with_a_new_build(tmp_path: Path) -> None:
    folder, out = write_set(tmp_path / "tiny-12-ip"), tmp_path / "out"
    done = CliRunner().invoke(app, [str(folder), "--scenario", "churn", "--peers", "none", "--out", str(out)])
    assert done.exit_code == 0, done.output
    records = [record for record in read_records(out / RESULTS) if record["type"] == "churn"]
    rows = len(np.load(folder / "base.npy"))
    assert {record["points"] for record in records} == {rows // 3}
    compared = [(record["index"], record["ef"]) for record in records]
    assert compared == [(index, ef) for index in ("churned", "built anew") for ef in (16, 32, 48, 96)]
    # So few points are scanned: all of them are found, by the ids that they have after the last round.
    assert all(record["recall"] == 1.0 and record["unfound"] == 0 for record in records)
    assert "replaced 10 times" in (out / "report.html").read_text()


def test_ours_and_the_baseline_are_timed_together(dataset: Dataset, tmp_path: Path) -> None:
    def oracle(name: str, library: str, builds: int, ours: bool = False) -> Competitor:
        made = _oracle(dataset, name, [], [9], ours=ours)
        return replace(made, distribution=library, builds=lambda shape: [{"m": m} for m in range(builds)])

    ours, base = oracle("nearfield-a", "nearfield", 3, True), oracle("hnswlib", "hnswlib", 2)
    other = oracle("other", "elsewhere", 1)
    assert library_groups([other, ours, base]) == {"nearfield": [base, ours], "elsewhere": [other]}
    assert library_groups([other, base]) == {"hnswlib": [base], "elsewhere": [other]}
    indexes = [cached(tmp_path, dataset, c, p, "1") for c in (base, ours) for p in c.builds(Shape(1, 1))]
    names = [(index.competitor.name, index.params["m"]) for index in in_turn(indexes)]
    assert names == [
        ("hnswlib", 0), ("nearfield-a", 0), ("hnswlib", 1), ("nearfield-a", 1), ("nearfield-a", 2),
    ]  # fmt: skip


def test_the_command_explains_its_refusals(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["generated", "--all"]).exit_code == 2
    unknown = runner.invoke(app, ["generated", "--scenario", "nosuch", "--out", str(tmp_path)])
    assert unknown.exit_code == 2 and "no scenario nosuch; known: builds, search" in unknown.output
    missing = runner.invoke(app, ["nosuch", "--data-dir", str(tmp_path), "--out", str(tmp_path)])
    assert missing.exit_code == 2 and "no data set `nosuch`" in missing.output
    assert runner.invoke(app, ["--out", str(tmp_path)]).exit_code == 2
    empty = runner.invoke(app, ["--render", "--out", str(tmp_path)])
    assert empty.exit_code == 1 and "no measurements" in empty.output
