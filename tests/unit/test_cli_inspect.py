"""`nearfield inspect` and `verify`: every byte that is damaged is found, and nothing is changed or locked."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine import Database
from nearfield.engine.config import EngineConfig
from nearfield.engine.point import PointBatch, VectorColumn
from nearfield.engine.query import PointSelector
from nearfield.engine.schema import UNNAMED, CollectionSchema, Distance, VectorSpec
from nearfield.engine.storage.catalog import CreateAlias
from nearfield.engine.storage.verify import Finding, verify_directory
from tests.helpers.command_line import run_command

ROWS, SIZE = 400, 16
# 100 points of 64 bytes seal a segment; every segment gets an index.
CONFIG = EngineConfig(
    threads=1,
    growing_bytes_seal=100 * SIZE * 4,
    index_rows_min=50,
    sealed_segments_target=8,
    background=False,
)
HNSW = {"kind": "hnsw", "params": {}}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two collections: `c` with sealed, indexed, growing and dead rows, and an empty one."""
    directory = tmp_path_factory.mktemp("built") / "data"
    rng = np.random.default_rng(0)
    schema = CollectionSchema({UNNAMED: VectorSpec(SIZE, Distance.EUCLID, index=HNSW)})
    with Database.open(directory, config=CONFIG) as database:
        database.create_collection("empty", CollectionSchema({}))
        collection = database.create_collection("c", schema)
        database.update_aliases([CreateAlias("c", "nickname")])
        for first in range(0, ROWS, 100):
            values = rng.standard_normal((100, SIZE)).astype(np.float32)
            payloads = [b'{"i":%d}' % i for i in range(100)]
            batch = PointBatch(range(first, first + 100), {UNNAMED: VectorColumn(values)}, payloads)
            collection.upsert(batch)
            collection.wait_settled(60)
        collection.delete(PointSelector(ids=[0, 1, 399]))
        values = rng.standard_normal((7, SIZE)).astype(np.float32)
        collection.upsert(PointBatch(range(1000, 1007), {UNNAMED: VectorColumn(values)}))
    return directory


@pytest.fixture
def data(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "data"))


@pytest.fixture
def collection_directory(data: Path) -> Path:
    with sqlite3.connect(data / "catalog.db") as catalog:
        (name,) = catalog.execute("SELECT directory FROM collections WHERE name = 'c'").fetchone()
    catalog.close()
    return data / "collections" / str(name)


def snapshot(data: Path) -> dict[str, bytes]:
    return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def flip(path: Path, offset: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_inspect_counts_what_is_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(data)
    ran = run_command(capsys, "inspect", data, "--json")
    assert ran.code == 0 and snapshot(data) == before
    report = json.loads(ran.out)
    assert report["in_use_by"] is None and report["format_version"] == 1
    full, empty = report["collections"]
    assert (full["name"], full["aliases"], empty["name"]) == ("c", ["nickname"], "empty")
    assert (full["points"], full["growing_rows"], full["dead_rows"]) == (404, 7, 3)
    assert sum(segment["rows"] for segment in full["segments"]) == ROWS
    assert sum(segment["dead_rows"] for segment in full["segments"]) == 3
    assert sum(segment["bytes"]["vectors"] for segment in full["segments"]) == ROWS * SIZE * 4
    assert all(segment["indexes"] == {"": "hnsw"} for segment in full["segments"])
    assert full["vectors"] == [
        {
            "name": "",
            "size": SIZE,
            "distance": "Euclid",
            "datatype": "float32",
            "index": "hnsw",
            "tokens": None,
        }
    ]


def test_inspect_and_verify_an_open_directory(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Database.open(data, config=CONFIG) as database:
        database.collection("c").delete(PointSelector(ids=[5]))
        report = json.loads(run_command(capsys, "inspect", data, "--json").out)
        assert report["in_use_by"] is not None and report["collections"][0]["points"] == 403
        assert run_command(capsys, "verify", data).code == 0


def test_inspect_prints_80_columns(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_command(capsys, "inspect", data)
    lines = ran.out.splitlines()
    assert ran.code == 0 and max(len(line) for line in lines[1:]) <= 80
    for expected in ("404 points, 7 growing rows, 3 dead", "hnsw", "also nickname"):
        assert expected in ran.out


def test_verify_finds_nothing_in_a_whole_directory(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(data)
    ran = run_command(capsys, "verify", data, "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"ok": True, "findings": []})
    assert "no damage found" in run_command(capsys, "verify", data).out
    assert snapshot(data) == before


def places(directory: Path) -> Iterator[tuple[Path, int]]:
    """A byte of every part of every segment file: header, sections, table, index files."""
    for path in sorted((directory / "segments").rglob("*")):
        if path.is_file():
            size = path.stat().st_size
            yield from ((path, offset) for offset in {0, 64, size // 3, size // 2, size - 1} if offset < size)


def test_verify_finds_every_flipped_bit(data: Path, collection_directory: Path) -> None:
    checked = 0
    for path, offset in list(places(collection_directory)):
        flip(path, offset)
        findings = verify_directory(data)
        assert findings, f"{path} at {offset}"
        assert {finding.kind for finding in findings} == {"derived" if "index-" in str(path) else "primary"}
        assert any(str(path) in finding.message for finding in findings), findings
        flip(path, offset)
        checked += 1
    assert checked >= 10 and verify_directory(data) == []


def sql(directory: Path, *statements: str) -> None:
    connection = sqlite3.connect(directory / "points.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM points WHERE row = 17", "rows 17: the vectors are there, their points are not"),
        ("DELETE FROM deleted_rows", "rows 0, 1, 399: the vectors are there"),
        ("UPDATE points SET row = 5000 WHERE row = 17", "rows 5000: the points are there, their vectors"),
        ("UPDATE points SET payload = x'7b7d' WHERE row = 17", "the point in row 17 of points.db fails its"),
        ("UPDATE points SET id = id + 5000 WHERE row = 18", "the point in row 18 of points.db fails its"),
        ("UPDATE points SET version = 9 WHERE row = 19", "the point in row 19 of points.db fails its"),
        ("UPDATE vector_chunks SET crc = crc + 1", "fails its checksum"),
        ("UPDATE meta SET value = 390 WHERE key = 'growing_first'", "in more than one segment"),
        ("UPDATE segments SET manifest = json_set(manifest, '$.rows', 3)", "3 are registered"),
        ("UPDATE segments SET manifest = '{'", "manifest is not readable"),
        ("DELETE FROM meta WHERE key = 'schema'", "has no schema"),
    ],
)
def test_verify_compares_the_parts(
    data: Path, collection_directory: Path, capsys: pytest.CaptureFixture[str], statement: str, message: str
) -> None:
    sql(collection_directory, statement)
    ran = run_command(capsys, "verify", data)
    assert ran.code == 1 and message in ran.out and "DAMAGED" in ran.out


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.collection) for finding in findings]


def test_verify_finds_what_is_missing(data: Path, collection_directory: Path) -> None:
    (segment, *_) = (collection_directory / "segments").iterdir()
    (index,) = segment.glob("index-*")
    index.rename(segment / "index-away.damaged")
    assert kinds(verify_directory(data)) == [("derived", "c"), ("leftover", "c")]
    segment.rename(segment.with_name("away"))
    assert kinds(verify_directory(data)) == [("primary", "c"), ("leftover", "c")]
    (collection_directory / "points.db").unlink()
    assert kinds(verify_directory(data)) == [("primary", "c")]


def test_verify_names_leftovers_but_does_not_fail(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "collections" / "nobody").mkdir()
    ran = run_command(capsys, "verify", data)
    assert ran.code == 0 and "nobody: belongs to no collection" in ran.out and "no damage found" in ran.out


def test_a_damaged_database_file(
    data: Path, collection_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = collection_directory / "points.db"
    content = bytearray(path.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    path.write_bytes(content)
    ran = run_command(capsys, "verify", data, "--json")
    document: dict[str, Any] = json.loads(ran.out)
    assert ran.code == 1 and document["ok"] is False and "points.db" in document["findings"][0]["message"]
    ran = run_command(capsys, "inspect", data)
    assert ran.code == 1 and "cannot be read" in ran.out and "empty" in ran.out
    path.write_bytes(b"nothing")
    assert run_command(capsys, "verify", data).code == 1


def test_not_a_data_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("inspect", "verify"):
        ran = run_command(capsys, command, tmp_path)
        assert ran.code == 1 and "is not a data directory" in ran.err
