from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from nearfield.bench.datasets import Dataset, DatasetError, load_dataset
from nearfield.bench.harness import Plan, Reporter
from nearfield.bench.job import Job, Source
from nearfield.bench.load.closed_loop import LoadError
from nearfield.bench.records import RESULTS, Record, RecordWriter, read_records
from nearfield.bench.scenarios import http_import
from nearfield.bench.scenarios.filters import measure_filters
from nearfield.bench.scenarios.http import HttpTarget, measure_http
from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings
from tests.helpers.bench_sets import write_set

PLAN = Plan(repeats=1, quick=True)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load_dataset(str(write_set(tmp_path / "tiny-12-ip")))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with serve_in_thread(Settings(data=tmp_path / "data", port=0)) as address:
        yield address


def _measured(dataset: Dataset, url: str, path: Path) -> list[Record]:
    target = HttpTarget(url, clients=3, seconds=0.1)
    with RecordWriter(path, {"dataset": dataset.describe()}) as writer:
        measure_http(dataset, target, PLAN, writer, Reporter(), filters=True)
    return read_records(path)


def _check_filters(records: list[Record]) -> None:
    filters = {record["family"]: record for record in records if record["type"] == "filter"}
    assert filters["decade"]["selectivity"] == pytest.approx(0.1)
    assert filters["tag"]["selectivity"] == pytest.approx(4 / 300)
    assert all(record["recall"] == 1.0 and record["short_answers"] == 0 for record in filters.values())
    assert len(filters) == 2


def test_a_running_server(
    dataset: Dataset, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_import, "_SETTLED_S", 0.1)
    records = _measured(dataset, url, tmp_path / RESULTS)
    imports = {record["method"]: record for record in records if record["type"] == "import"}
    assert imports["json"]["points"] == imports["bulk"]["points"] == 300
    searches = {record["label"]: record for record in records if record["type"] == "http"}
    assert set(searches) == {"default parameters", "exact"}
    for search in searches.values():
        assert search["recall"] == 1.0 and search["qps"] > 0 and search["clients"] == 3
        assert search["latency_ms"] == sorted(search["latency_ms"])
    _check_filters(records)
    collections = httpx.get(f"{url}/collections").json()["result"]["collections"]
    assert collections == [{"name": "bench-tiny-12-ip-payload"}]  # and no leftover of the JSON import
    again = _measured(dataset, url, tmp_path / "again.jsonl")
    assert not [record for record in again if record["type"] == "import"]  # it holds the points already


def test_no_server(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="ConnectError"):
        _measured(dataset, "http://127.0.0.1:9", tmp_path / RESULTS)


def test_filters_embedded(dataset: Dataset, tmp_path: Path) -> None:
    job = Job(Source(str(dataset.folder)), PLAN, tmp_path, {})
    measure_filters(job, [], Reporter())
    with pytest.raises(DatasetError, match="has no filters"):
        measure_filters(replace(job, source=Source(str(dataset.folder), rows=200)), [], Reporter())
    _check_filters(read_records(tmp_path / RESULTS))
