import json
from pathlib import Path

import numpy as np
import pytest

from nearfield.bench.datasets import DatasetError, load_dataset
from nearfield.bench.generated import generate
from nearfield.bench.ground_truth import exact_neighbours, recall_at_k
from nearfield.bench.payloads import Payloads, filter_families, filter_quality
from tests.helpers import shared_data
from tests.helpers.bench_sets import write_set


def test_folder_by_path_by_name_and_limited(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "sets" / "tiny-12-ip")
    whole = load_dataset(str(folder))
    assert (whole.metric, whole.count, whole.dimensions, whole.base.dtype) == ("ip", 300, 12, np.float16)
    assert whole.queries.dtype == np.float32 and whole.folder == folder
    named = load_dataset("tiny-12-ip", data_dir=tmp_path / "sets", rows=120, queries=4)
    assert (named.name, named.count, named.folder) == ("tiny-12-ip-120", 120, None)
    scores = named.queries @ named.base.astype(np.float32).T
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert recall_at_k(nearest, named.truth_ids, named.truth_scores, 10) == 1.0
    assert named.truth_ids.max() < 120


def test_missing_name_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_SHARED_DATA", str(tmp_path / "elsewhere"))
    write_set(tmp_path / "sets" / "tiny-12-ip")
    with pytest.raises(DatasetError) as caught:
        load_dataset("absent", data_dir=tmp_path / "sets")
    message = str(caught.value)
    assert str(tmp_path / "sets") in message and f"{tmp_path / 'elsewhere'}  (no such folder)" in message
    assert "tiny-12-ip" in message and "generated" in message


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "broken")
    np.save(folder / "gt_ids.npy", np.full((9, 100), 300, np.int32))
    with pytest.raises(DatasetError, match="names row 300, but the base has 300 rows"):
        load_dataset(str(folder))
    np.save(folder / "gt_ids.npy", np.zeros((8, 100), np.int32))
    with pytest.raises(DatasetError, match="expected ground truth for 9 queries"):
        load_dataset(str(folder))
    (folder / "info.json").write_text('{"metric": "hamming"}')
    np.save(folder / "gt_ids.npy", np.zeros((9, 100), np.int32))
    with pytest.raises(DatasetError, match="hamming"):
        load_dataset(str(folder))


def test_hdf5_in_the_ann_benchmarks_layout(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    base = np.eye(20, 8, dtype=np.float32) + 1
    with h5py.File(tmp_path / "small-angular.hdf5", "w") as file:
        file.attrs["distance"] = "angular"
        file["train"], file["test"] = base, base[:3]
        file["neighbors"] = np.tile(np.arange(10), (3, 1))
        file["distances"] = np.zeros((3, 10))
    dataset = load_dataset("small-angular", data_dir=tmp_path)
    assert (dataset.metric, dataset.count, len(dataset.queries)) == ("cosine", 20, 3)


def test_generated_is_the_same_every_time_and_says_what_it_is() -> None:
    first, second = generate(500, 20), generate(500, 20)
    assert np.array_equal(first.base, second.base) and np.array_equal(first.queries, second.queries)
    assert np.allclose(np.linalg.norm(first.base, axis=1), 1, atol=1e-5)
    dataset = load_dataset("generated", rows=500, queries=20)
    assert dataset.generated and "not real" in dataset.source
    assert recall_at_k(dataset.truth_ids, dataset.truth_ids, dataset.truth_scores, 10) == 1.0


@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_exact_neighbours_agree_with_numpy(metric: str) -> None:
    rng = np.random.default_rng(1)
    base = rng.integers(0, 255, (400, 33)).astype(np.uint8)
    queries = rng.standard_normal((7, 33)).astype(np.float32) * 100
    wide = base.astype(np.float64)
    products = queries @ wide.T
    distances = {
        "l2": ((queries[:, None] - wide[None]) ** 2).sum(-1),
        "ip": -products,
        "cosine": -products / np.linalg.norm(wide, axis=1),
    }[metric]
    ids, _ = exact_neighbours(base, queries, metric, 10)
    assert np.array_equal(ids, np.argsort(distances, axis=1, kind="stable")[:, :10])


def test_recall_counts_ties_pads_and_repeats() -> None:
    truth = np.array([[4, 7, 9, 2]])
    scores = np.array([[1.0, 2.0, 2.0, 3.0]], np.float32)
    assert recall_at_k(np.array([[4, 9]]), truth, scores, 2) == 1.0  # 9 ties with 7 at rank 2
    assert recall_at_k(np.array([[4, 9]]), truth, None, 2) == 0.5
    assert recall_at_k(np.array([[4, 4]]), truth, None, 2) == 0.5  # a repeated hit counts once
    assert recall_at_k(np.array([[4, 2]]), truth, scores, 2) == 0.5
    padded = np.array([[5, -1, -1], [-1, -1, -1]])
    assert recall_at_k(np.array([[5, -1, -1], [-1, -1, -1]]), padded, None, 3) == 1.0
    assert recall_at_k(np.array([[-1, -1, -1], [-1, -1, -1]]), padded, None, 3) == 0.0
    with pytest.raises(ValueError, match="ground truth of 5 columns"):
        recall_at_k(np.array([[1] * 5]), truth, None, 5)


def test_payloads_and_filters_in_the_words_of_the_api(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "tiny-12-ip")
    payloads, families = Payloads(folder), filter_families(folder)
    assert list(payloads.rows(0, 2)) == [{"year": 1900, "tags": ["blue"]}, {"year": 1900, "tags": []}]
    tag, decade = families["tag"], families["decade"]
    assert payloads.wire_filter(tag[0]) == {"must": [{"key": "tags", "match": {"value": "blue"}}]}
    assert payloads.wire_filter(decade[0])["must"][1] == {"key": "year", "range": {"lte": 1959}}
    assert [payloads.selectivity(conditions[0]) for conditions in (tag, decade)] == [4 / 300, 0.1]
    with pytest.raises(ValueError, match="got `near`"):
        payloads.wire_filter([("near", "year", 1)])
    found = np.array([[0, 75, 150, 225, -1], [0, 75, -1, -1, -1]])
    quality = filter_quality(folder, payloads, "tag", tag, found, 5)
    assert (quality["recall"], quality["short_answers"], quality["queries"]) == (0.75, 1, 2)
    assert filter_families(None) == {}


def test_selectivity_agrees_with_the_real_filters() -> None:
    folder = shared_data.directory("arxiv-minilm-384-ip")
    payloads, info = Payloads(folder), json.loads((folder / "info.json").read_text())
    conditions = filter_families(folder)["year_within_1"]
    measured = np.mean([payloads.selectivity(of_query) for of_query in conditions[:200]])
    assert measured == pytest.approx(info["filters"]["year_within_1"]["mean_selectivity"], rel=0.1)


def test_our_flat_scan_finds_the_stored_ground_truth() -> None:
    dataset = load_dataset(str(shared_data.directory("mnist-784-l2")), queries=20)
    ids, _ = exact_neighbours(dataset.base, dataset.queries, dataset.metric, 10)
    assert recall_at_k(ids, dataset.truth_ids, dataset.truth_scores, 10) == 1.0
