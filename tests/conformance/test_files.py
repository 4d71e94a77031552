"""Saved indexes: opened they answer the same, built twice they are equal bytes, damaged they are refused."""

from pathlib import Path

import numpy as np
import pytest

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.protocol import BuildContext, Rows, VectorIndex
from tests.conformance import cases


def _built(kind: str, rows: Rows, metric: str, threads: int = 1, seed: int = 5) -> VectorIndex:
    builder = cases.REGISTRY.builder(kind)
    context = BuildContext(threads=threads, seed=seed)
    return builder.build(rows, metric, cases.params_of(builder), context)


def _saved(index: VectorIndex, directory: Path) -> dict[str, bytes]:
    directory.mkdir()
    paths = index.save(directory)
    assert sorted(paths) == sorted(directory.iterdir()), "save must return every file it wrote"
    return {path.name: path.read_bytes() for path in paths}


def _open(kind: str, directory: Path, rows: Rows, metric: str) -> VectorIndex:
    builder = cases.REGISTRY.builder(kind)
    return builder.open(directory, rows, metric, cases.params_of(builder))


@pytest.mark.parametrize("dtype", cases.DTYPES)
@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_opened_it_answers_the_same(kind: str, metric: str, dtype: str, tmp_path: Path) -> None:
    rows = cases.clustered(dtype, 3_000)
    queries = cases.queries_near(rows)
    allow = cases.words(np.arange(len(rows)) % 3 > 0)
    built = _built(kind, rows, metric)
    _saved(built, tmp_path / "index")
    opened = _open(kind, tmp_path / "index", rows, metric)
    assert opened.resident_bytes() == built.resident_bytes()
    for params in ({}, {"ef": 40, "nprobe": 7}):
        for bitmap in (None, allow):
            before, after = (
                built.search(queries, 10, params, bitmap),
                opened.search(queries, 10, params, bitmap),
            )
            np.testing.assert_array_equal(before.rows, after.rows)
            np.testing.assert_array_equal(before.distances, after.distances)


@pytest.mark.parametrize("kind, metric", cases.KIND_METRICS)
def test_an_index_of_no_rows_and_of_many_copies_can_be_saved(kind: str, metric: str, tmp_path: Path) -> None:
    copies = cases.clustered("float32", 3_000).copy()
    copies[::3] = 0
    for name, rows in (("none", copies[:0]), ("copies", copies)):
        built = _built(kind, rows, metric)
        _saved(built, tmp_path / name)
        opened = _open(kind, tmp_path / name, rows, metric)
        queries = cases.queries_near(cases.clustered("float32"), 5)
        np.testing.assert_array_equal(built.search(queries, 9, {}).rows, opened.search(queries, 9, {}).rows)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_same_seed_same_bytes(kind: str, threads: int, tmp_path: Path) -> None:
    rows = cases.clustered("float32", 3_000)
    first = _saved(_built(kind, rows, "l2", threads), tmp_path / "first")
    second = _saved(_built(kind, rows, "l2", threads), tmp_path / "second")
    assert first == second


@pytest.mark.parametrize("kind", [kind for kind in cases.KINDS if kind != "flat"])
def test_another_seed_is_another_index(kind: str, tmp_path: Path) -> None:
    rows = cases.clustered("float32", 3_000)
    first = _saved(_built(kind, rows, "l2", seed=1), tmp_path / "first")
    assert first != _saved(_built(kind, rows, "l2", seed=2), tmp_path / "second")


@pytest.mark.parametrize("kind, metric", [(kind, "cosine") for kind in cases.KINDS])
def test_any_damage_is_noticed(kind: str, metric: str, tmp_path: Path) -> None:
    rows = cases.clustered("float32", 3_000).copy()
    rows[::3] = 0
    folder = tmp_path / "index"
    for name, content in _saved(_built(kind, rows, metric), folder).items():
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 0x10
        for broken in (bytes(damaged), content[:-1], b"", content + b"x", None):
            if broken is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(broken)
            if broken != content:
                with pytest.raises(Corrupted, match=name.replace(".", r"\.")):
                    _open(kind, folder, rows, metric)
        (folder / name).write_bytes(content)
    _open(kind, folder, rows, metric)


@pytest.mark.parametrize("kind", cases.KINDS)
def test_files_of_other_rows_are_refused(kind: str, tmp_path: Path) -> None:
    rows = cases.clustered("float32", 3_000)
    _saved(_built(kind, rows, "l2"), tmp_path / "index")
    others = {
        "fewer": rows[:-1],
        "changed": rows[::-1].copy(),
        "half": rows.astype(np.float16),
        "narrow": np.ascontiguousarray(rows[:, :-1]),
    }
    for wrong in others.values():
        with pytest.raises(Corrupted, match=r"the index in .* is of rows with"):
            _open(kind, tmp_path / "index", wrong, "l2")
    with pytest.raises(Corrupted, match="metric l2, got rows with ip"):
        _open(kind, tmp_path / "index", rows, "ip")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    rows = cases.clustered("float32", 3_000)
    _saved(_built("flat", rows, "l2"), tmp_path / "index")
    for kind in cases.KINDS:
        if kind != "flat":
            with pytest.raises(Corrupted, match=f"is of kind flat format 1, expected {kind}"):
                _open(kind, tmp_path / "index", rows, "l2")
