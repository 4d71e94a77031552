"""Multi-vectors through export and import: into files, a directory and a server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nearfield.engine import (
    CollectionSchema,
    Database,
    Distance,
    MultiVectorSpec,
    PointBatch,
    ScrollRequest,
    VectorColumn,
    VectorSpec,
)
from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings
from tests.helpers.command_line import run_command
from tests.helpers.documents import documents

COUNT = 30


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_in_thread(Settings(data=tmp_path_factory.mktemp("served"), port=0)) as url:
        yield url


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A collection `c`: every point has a dense vector, all but every fourth a matrix."""
    schema = CollectionSchema(
        {
            "tokens": VectorSpec(8, Distance.DOT, multivector=MultiVectorSpec()),
            "dense": VectorSpec(3, Distance.EUCLID),
        }
    )
    having = np.array([point for point in range(COUNT) if point % 4], np.int64)
    tokens = VectorColumn.of_documents(documents(len(having)), having)
    dense = VectorColumn(np.arange(3 * COUNT, dtype=np.float32).reshape(COUNT, 3))
    payloads = [b'{"n":%d}' % point for point in range(COUNT)]
    with Database.open(tmp_path / "data") as database:
        batch = PointBatch(range(COUNT), {"tokens": tokens, "dense": dense}, payloads)
        database.create_collection("c", schema).upsert(batch)
    return tmp_path / "data"


def _content(data: Path, collection: str) -> list[object]:
    with Database.open(data) as database:
        page = database.collection(collection).scroll(ScrollRequest(limit=1000, with_vectors=True))
        return [
            (record.id, record.payload, {name: v.tolist() for name, v in (record.vectors or {}).items()})
            for record in page.records
        ]


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_import_of_an_export_is_the_collection(
    data: Path, tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out, again, there = tmp_path / name, tmp_path / f"again-{name}", f"there {name}"
    steps = [
        ("export", "-c", "c", "--data", data, "-o", out, "--batch", 7),
        ("import", out, "-c", there, "--url", server, "--distance", "dot", "--batch", 6, "--wait"),
        ("export", "-c", there, "--url", server, "-o", again, "--batch", 9),
        ("import", again, "-c", "d", "--data", data, "--distance", "dot", "--batch", 11),
    ]
    for step in steps:
        ran = run_command(capsys, *step)
        assert ran.code == 0, ran.err
    assert _content(data, "d") == _content(data, "c")


def test_inspect_says_how_tokens_are_stored(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_command(capsys, "inspect", data)
    assert ran.code == 0 and "tokens: lists of 8 x float32, Dot, index auto" in ran.out
    assert "dense: 3 x float32, Euclid" in ran.out


def test_formats_of_one_vector_per_point_refuse(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_command(
        capsys, "export", "-c", "c", "--data", data, "-o", tmp_path / "x.npy", "--using", "tokens"
    )
    assert ran.code != 0 and "multi-vectors to parquet or jsonl" in ran.err


def test_matrices_do_not_go_into_dense_collections(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Database.open(data) as database:
        database.create_collection("plain", CollectionSchema({"tokens": VectorSpec(8, Distance.DOT)}))
    out = tmp_path / "x.jsonl"
    assert run_command(capsys, "export", "-c", "c", "--data", data, "-o", out, "--using", "tokens").code == 0
    ran = run_command(capsys, "import", out, "-c", "plain", "--data", data)
    assert ran.code != 0 and "lists of 8 x float32" in ran.err


def test_a_bad_row_of_a_matrix_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": 1, "vector": [[1, 2], [3, 4]]}\n{"id": 2, "vector": [[1, 2], [3]]}\n')
    ran = run_command(capsys, "import", path, "-c", "a", "--data", tmp_path / "data", "--distance", "dot")
    assert ran.code != 0 and "line 2" in ran.err and "1 dimensions instead of 2" in ran.err
    path.write_text('{"id": 1, "vector": [[1, 2], [3, 4]]}\n{"id": 2, "vector": [1, 2]}\n')
    ran = run_command(capsys, "import", path, "-c", "b", "--data", tmp_path / "data", "--distance", "dot")
    assert ran.code != 0 and "line 2" in ran.err and "not a list of lists" in ran.err
