"""`nearfield import` and `export`: round trips, resumption, and errors that say what to do."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import orjson
import pytest

from nearfield.engine import Database
from nearfield.engine.errors import Unavailable
from nearfield.engine.point import PointBatch, VectorColumn
from nearfield.engine.query import PayloadSelector, ScrollRequest
from nearfield.engine.schema import CollectionSchema, Datatype, Distance, VectorSpec
from nearfield.server.cli.transfer import remote
from nearfield.server.cli.transfer.checkpoint import Checkpoint
from nearfield.server.cli.transfer.pipeline import copy_in
from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings
from tests.helpers.command_line import run_command

ROWS, SIZE = 50, 6
UUIDS = [UUID(int=i) for i in range(10)]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A file with payloads beside it."""
    path = tmp_path / "m.npy"
    np.save(path, np.random.default_rng(0).standard_normal((ROWS, SIZE)).astype(np.float32))
    lines = [orjson.dumps({"n": i, "tags": ["a", {"deep": [i]}]}) for i in range(ROWS)]
    path.with_suffix(".payload.jsonl").write_bytes(b"\n".join(lines))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with serve_in_thread(Settings(data=tmp_path / "served", port=0, log_level="error")) as url:
        yield url


def content(data: Path, collection: str) -> list[tuple[Any, ...]]:
    """Every point of a collection."""
    with Database.open(data) as database:
        wanted = ScrollRequest(limit=1000, with_payload=PayloadSelector(enabled=True), with_vectors=True)
        return [
            (
                record.id,
                orjson.loads(record.payload or b"null") or None,
                {name: vector.tolist() for name, vector in (record.vectors or {}).items()},
            )
            for record in database.collection(collection).scroll(wanted).records
        ]


def count(data: Path) -> int:
    """Points of the collection `a`."""
    with Database.open(data) as database:
        return database.collection("a").count()


def fill(data: Path, mixed_ids: bool = False) -> None:
    """A collection `c` with two vectors, points that lack one, and UUIDs."""
    rng = np.random.default_rng(1)
    schema = CollectionSchema(
        {
            "text": VectorSpec(4, Distance.COSINE, Datatype.FLOAT16),
            "image": VectorSpec(3, Distance.EUCLID, Datatype.UINT8),
        }
    )
    ids = [*range(10), *UUIDS] if mixed_ids else list(range(20))
    text = VectorColumn(rng.standard_normal((20, 4)).astype(np.float32))
    image = VectorColumn(rng.integers(0, 255, (5, 3)).astype(np.float32), np.arange(3, 18, 3))
    payloads = [b'{"i":%d}' % i if i % 2 else None for i in range(20)]
    with Database.open(data) as database:
        collection = database.create_collection("c", schema)
        collection.upsert(PointBatch(ids, {"text": text, "image": image}, payloads))


@pytest.mark.parametrize("name", ["x.npy", "x.fvecs", "x.hdf5", "x.parquet", "x.jsonl"])
def test_import_of_an_export_is_the_collection(
    tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = tmp_path / "data"
    ran = run_command(capsys, "import", matrix, "-c", "a", "--data", data, "--distance", "l2", "--batch", 7)
    assert ran.code == 0 and "imported 50 points into 'a'" in ran.out
    assert "payload from m.payload.jsonl" in ran.err
    out = tmp_path / name
    assert run_command(capsys, "export", "-c", "a", "--data", data, "-o", out, "--batch", 8).code == 0
    assert run_command(capsys, "import", out, "-c", "b", "--data", data, "--distance", "euclid").code == 0
    assert content(data, "b") == content(data, "a")
    assert content(data, "a")[3][1] == {"n": 3, "tags": ["a", {"deep": [3]}]}


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl"])
def test_named_vectors_and_uuids(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    data, out = tmp_path / "data", tmp_path / name
    fill(data, mixed_ids=True)
    assert run_command(capsys, "export", "-c", "c", "--data", data, "-o", out).code == 0
    ran = run_command(capsys, "import", out, "-c", "d", "--data", data, "--distance", "cosine", "--batch", 6)
    assert ran.code == 0, ran.err
    stored = content(data, "d")
    assert [point[:2] for point in stored] == [point[:2] for point in content(data, "c")]
    assert [set(point[2]) for point in stored] == [set(point[2]) for point in content(data, "c")]


def test_through_a_server(tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bulk route in, scroll out: mixed ids, missing vectors and payloads arrive unchanged."""
    data = tmp_path / "data"
    fill(data, mixed_ids=True)
    first, second = tmp_path / "x.parquet", tmp_path / "y.parquet"
    assert run_command(capsys, "export", "-c", "c", "--data", data, "-o", first).code == 0
    ran = run_command(capsys, "import", first, "-c", "c d", "--url", server, "--batch", 6, "--wait")
    assert ran.code == 0, ran.err
    assert "created collection 'c d': 'text' 4 x float16 Cosine, 'image' 3 x uint8 Euclid" in ran.err
    ran = run_command(capsys, "export", "-c", "c d", "--url", server, "-o", second, "--batch", 7)
    assert ran.code == 0, ran.err
    assert run_command(capsys, "import", second, "-c", "e", "--data", data).code == 0
    assert content(data, "e") == content(data, "c")


def test_import_repeats_without_duplicates(
    tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for _ in range(2):
        assert run_command(capsys, "import", matrix, "-c", "a", "--data", data, "--distance", "dot").code == 0
    assert [point[0] for point in content(data, "a")] == list(range(ROWS))


def test_an_import_stops_at_a_damaged_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, path = tmp_path / "data", tmp_path / "p.jsonl"
    lines = [b'{"id": %d, "vector": [%d, 1]}' % (i, i) for i in range(1200)]
    path.write_bytes(b"\n".join([*lines[:1150], b"broken", *lines[1151:]]))
    arguments = ["import", path, "-c", "a", "--data", data, "--distance", "l2", "--batch", 100]
    ran = run_command(capsys, *arguments)
    assert ran.code == 1 and "line 1151: not JSON" in ran.err
    assert "stopped after 1,100 of 1,200 points" in ran.err and "--resume" in ran.err
    assert count(data) == 1100
    path.write_bytes(b"\n".join(lines))
    ran = run_command(capsys, *arguments, "--resume")
    assert "continuing" not in ran.err, "a changed file is another file"
    assert ran.code == 0 and "imported 1,200 points" in ran.out and count(data) == 1200


def test_resume_continues_after_the_last_acknowledged_batch(
    tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    arguments = ["import", matrix, "-c", "a", "--data", data, "--distance", "l2", "--batch", 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", interrupted_at(4))
        ran = run_command(capsys, *arguments)
    assert ran.code == 130 and "of 50 points; to continue: nearfield import" in ran.err
    saved = len(content(data, "a"))
    ran = run_command(capsys, *arguments, "--resume")
    assert ran.code == 0 and "continuing after 15 points" in ran.err and "imported 35 points" in ran.out
    assert saved >= 15 and [point[0] for point in content(data, "a")] == list(range(ROWS))
    ran = run_command(capsys, *arguments, "--resume")
    assert "imported 50 points" in ran.out, "a completed import leaves nothing to resume"


def interrupted_at(number: int) -> Any:
    """A Checkpoint.save that is interrupted when it is called for the given time, and never saves again."""
    calls = 0
    save = Checkpoint.save

    def replacement(self: Checkpoint, state: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt
        if calls < number:
            save(self, state)

    return replacement


class FakeTarget:
    """Refuses the batch with a given number; acknowledges the others."""

    def __init__(self, refuse: int) -> None:
        self.refuse = refuse
        self.seen = 0

    def submit(self, batch: PointBatch) -> "Future[Any]":
        future: Future[Any] = Future()
        self.seen += 1
        if self.seen == self.refuse:
            future.set_exception(Unavailable("no"))
        else:
            future.set_result(None)
        return future


def batches(count: int) -> Iterator[PointBatch]:
    for i in range(count):
        yield PointBatch(range(i * 4, i * 4 + 4))


@pytest.mark.parametrize("refuse", [1, 2, 5, 10])
def test_the_checkpoint_never_passes_a_refused_batch(tmp_path: Path, refuse: int) -> None:
    checkpoint = Checkpoint(tmp_path / "c.json")
    told: list[int] = []
    with pytest.raises(Unavailable):
        copy_in(batches(10), FakeTarget(refuse), checkpoint, 100, told.append)  # type: ignore[arg-type]
    position = (checkpoint.load() or {"position": 100})["position"]
    assert position == 100 + 4 * (refuse - 1) == 100 + sum(told)


def test_copy_in_returns_the_count_and_clears(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.json")
    assert copy_in(batches(3), FakeTarget(99), checkpoint, 0, lambda n: None) == 12  # type: ignore[arg-type]
    assert checkpoint.load() is None


def test_an_unwritable_state_directory_does_not_stop_a_transfer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checkpoint = Checkpoint(tmp_path / "file" / "c.json")
    assert copy_in(batches(3), FakeTarget(99), checkpoint, 0, lambda n: None) == 12  # type: ignore[arg-type]
    assert not checkpoint.writable


def test_export_resumes(tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data", tmp_path / "x.npy"
    run_command(capsys, "import", matrix, "-c", "a", "--data", data, "--distance", "l2")
    export = ["export", "-c", "a", "--data", data, "-o", out, "--batch", 8]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", interrupted_at(3))
        ran = run_command(capsys, *export)
    assert ran.code == 130 and "--resume" in ran.err and not out.exists()
    ran = run_command(capsys, *export, "--resume")
    assert ran.code == 0 and "continuing after 16 points" in ran.err and "exported 50 points" in ran.out
    assert np.array_equal(np.load(out), np.load(matrix))
    assert sorted(path.name for path in tmp_path.glob("x.*")) == ["x.npy", "x.points.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add --distance cosine, dot, euclid or manhattan"),
        (["--distance", "hamming"], "unknown distance 'hamming'"),
        (["--distance", "dot", "--url", "http://127.0.0.1:1"], "either --url or --data"),
        (["--distance", "dot", "--id-column", "key"], "no sidecar has the id column 'key'"),
        (["--distance", "dot", "--payload", "none.jsonl"], "none.jsonl"),
    ],
)
def test_import_errors(
    tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    ran = run_command(capsys, "import", matrix, "-c", "a", "--data", tmp_path / "data", *arguments)
    assert ran.code in (1, 2) and message in ran.err and ran.err.count("error:") == 1


def test_vectors_that_do_not_fit(tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    fill(data)
    ran = run_command(capsys, "import", matrix, "-c", "c", "--data", data)
    assert ran.code == 1 and "takes 'text' 4 x float16 Cosine" in ran.err and "--using text" in ran.err
    ran = run_command(capsys, "import", matrix, "-c", "c", "--data", data, "--using", "text")
    assert ran.code == 1 and "the file has 'text' 6 x float32" in ran.err


def test_using_names_the_vector(tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    common = ["--data", data, "--using", "v"]
    assert run_command(capsys, "import", matrix, "-c", "a", *common, "--distance", "l1").code == 0
    assert all(set(point[2]) == {"v"} for point in content(data, "a"))
    assert run_command(capsys, "export", "-c", "a", *common, "-o", tmp_path / "x.npy").code == 0
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.load(matrix))


def test_export_errors(tmp_path: Path, matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    fill(data)
    ran = run_command(capsys, "export", "-c", "c", "--data", data, "-o", matrix)
    assert ran.code == 1 and "--force replaces it" in ran.err
    ran = run_command(capsys, "export", "-c", "nope", "--data", data, "-o", tmp_path / "x.npy")
    assert ran.code == 1 and "no collection 'nope'" in ran.err
    ran = run_command(capsys, "export", "-c", "c", "--data", data, "-o", tmp_path / "x.npy")
    assert ran.code == 1 and "--using" in ran.err
    export = ["export", "-c", "c", "--data", data, "-o", tmp_path / "x.npy"]
    ran = run_command(capsys, *export, "--using", "image")
    assert ran.code == 1 and "has no such vector; export to parquet or jsonl" in ran.err
    assert not (tmp_path / "x.npy").exists()


def test_no_server(matrix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_command(capsys, "import", matrix, "-c", "a", "--url", "http://127.0.0.1:1")
    assert ran.code == 1 and "no server answers at http://127.0.0.1:1" in ran.err


def test_a_busy_server_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_S", 0.001)
    answers = [
        httpx.Response(429, json={"status": {"error": "queue full"}}),
        httpx.Response(503, text="starting"),
        httpx.Response(200, json={"result": {"count": 7}}),
    ]
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: answers.pop(0))
    collection = remote.RemoteCollection("http://127.0.0.1:1", "a")
    assert collection.count() == 7
    answers.extend(httpx.Response(429, json={"status": {"error": "queue full"}}) for _ in range(remote.TRIES))
    with pytest.raises(Unavailable, match=f"after {remote.TRIES} tries: queue full"):
        collection.count()
    collection.close()
