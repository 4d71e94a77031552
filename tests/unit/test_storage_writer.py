"""Group commit, full disks, failing disks, full queues and waiting for maintenance."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nearfield.engine import Collection, Database, limits
from nearfield.engine.errors import OutOfSpace, StorageError, TooManyRequests, Unavailable
from nearfield.engine.maintenance import rebuild
from nearfield.engine.operation import Upsert
from nearfield.engine.storage.collection_store import CollectionStore
from tests.helpers.points import EAGER, PATIENT, batch, by_ids, schema


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "data", config=PATIENT) as database:
        yield database


@pytest.fixture
def points(database: Database) -> Collection:
    return database.create_collection("points", schema())


def store_of(collection: Collection) -> CollectionStore:
    assert isinstance(collection._opened, CollectionStore)
    return collection._opened


class Intercepted:
    """A connection whose `execute` first calls a hook with the statement."""

    def __init__(self, connection: sqlite3.Connection, hook: Callable[[str], None]) -> None:
        self._connection = connection
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._hook(sql)
        return self._connection.execute(sql, *values)


def intercept(collection: Collection, hook: Callable[[str], None]) -> None:
    store = store_of(collection).store
    store.writer = Intercepted(store.writer, hook)  # type: ignore[assignment]


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("injected")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_INJECTED"
    return error


def test_waiting_operations_share_one_commit(points: Collection) -> None:
    held, commits = threading.Event(), []

    def hook(sql: str) -> None:
        if sql == "COMMIT":
            commits.append(sql)
            held.wait(10)

    intercept(points, hook)
    futures = [points.submit_upsert(batch([number])) for number in range(50)]
    time.sleep(0.1)
    held.set()
    ids = [future.result() for future in futures]
    assert ids == list(range(1, 51))
    assert len(commits) <= 3
    assert points.count() == 50


def test_one_failing_operation_does_not_disturb_its_group(points: Collection) -> None:
    held = threading.Event()
    intercept(points, lambda sql: held.wait(10) and None if sql == "COMMIT" else None)
    first = points.submit_upsert(batch([1]))
    good, bad, last = (
        points.submit_upsert(batch([2])),
        points._parts.submit([Upsert(batch([3])), Failing()]),  # type: ignore[list-item]
        points.submit_upsert(batch([4])),
    )
    held.set()
    with pytest.raises(ZeroDivisionError):
        bad.result()
    assert (first.result(), good.result(), last.result()) == (1, 2, 3)
    assert points.count() == 3
    assert [record.id for record in points.retrieve([1, 2, 3, 4])] == [1, 2, 4]


class Failing:
    """Not an operation at all."""


@pytest.fixture(autouse=True)
def failing_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfield.engine.storage import collection_store
    from nearfield.engine.storage.apply import Prepared

    real = collection_store.prepare

    def explode(*_: object) -> None:
        raise ZeroDivisionError

    def prepare(operation: Any, schema: Any) -> Prepared:
        return Prepared(explode) if isinstance(operation, Failing) else real(operation, schema)

    monkeypatch.setattr(collection_store, "prepare", prepare)


def test_a_full_disk_fails_the_write_and_nothing_else(database: Database, points: Collection) -> None:
    points.upsert(batch(range(100)))
    connection = store_of(points).store.writer
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (most,) = connection.execute("PRAGMA max_page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(OutOfSpace, match="no space left"):
            points.upsert(batch(range(100, 20_000)))
    assert points.count() == 100
    assert len(points.retrieve(range(100))) == 100
    assert points.info().status == "green"
    connection.execute(f"PRAGMA max_page_count = {most}")
    points.upsert(batch(range(100, 20_000)))
    assert points.count() == 20_000
    database.close()
    with Database.open(database.path, config=PATIENT) as again:
        assert again.collection("points").count() == 20_000


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "INSERT INTO vector_chunks", "COMMIT"])
def test_a_failing_disk_stops_writes_until_reopened(
    database: Database, points: Collection, statement: str
) -> None:
    points.upsert(batch([1, 2]))

    def hook(sql: str) -> None:
        if sql.startswith(statement):
            raise sqlite_error(sqlite3.SQLITE_IOERR)

    intercept(points, hook)
    with pytest.raises(StorageError, match="SQLITE_INJECTED"):
        points.upsert(batch([3]))
    with pytest.raises(Unavailable, match="refused until the collection is opened again"):
        points.upsert(batch([4]))
    info = points.info()
    assert info.status == "red"
    assert info.error is not None and "SQLITE_INJECTED" in info.error
    assert [record.id for record in points.retrieve([1, 2, 3, 4])] == [1, 2]
    other = database.create_collection("other", schema())
    other.upsert(batch([1]))
    database.close()
    with Database.open(database.path, config=PATIENT) as again:
        collection = again.collection("points")
        collection.upsert(batch([4]))
        assert [record.id for record in collection.retrieve([1, 2, 3, 4])] == [1, 2, 4]
        assert collection.info().status == "green"


def test_a_full_queue_refuses(points: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    intercept(points, lambda sql: held.wait(10) and None if sql == "COMMIT" else None)
    futures = [points.submit_upsert(batch([0]))]
    time.sleep(0.05)
    monkeypatch.setattr(limits, "WAITING_WRITES_MAX", 3)
    futures += [points.submit_upsert(batch([number])) for number in (1, 2, 3)]
    with pytest.raises(TooManyRequests, match="3 writes"):
        points.submit_upsert(batch([4]))
    monkeypatch.setattr(limits, "WAITING_WRITES_MAX", 1000)
    monkeypatch.setattr(limits, "WAITING_WRITES_BYTES_MAX", 100)
    with pytest.raises(TooManyRequests, match="96 bytes"):
        points.submit_upsert(batch([4]))
    held.set()
    for future in futures:
        future.result()
    assert points.count() == 4


def test_a_cancelled_write_that_still_waits_is_not_done(points: Collection) -> None:
    held = threading.Event()
    intercept(points, lambda sql: held.wait(10) and None if sql == "COMMIT" else None)
    points.submit_upsert(batch([0]))
    time.sleep(0.05)
    waiting, last = points.submit_upsert(batch([1])), points.submit_upsert(batch([2]))
    assert waiting.cancel()
    held.set()
    last.result()
    with pytest.raises(CancelledError):
        waiting.result()
    assert [record.id for record in points.retrieve([0, 1, 2])] == [0, 2]


def test_closing_writes_what_waits(database: Database, points: Collection) -> None:
    futures = [points.submit_upsert(batch([number])) for number in range(200)]
    database.close()
    assert [future.result() for future in futures] == list(range(1, 201))
    with Database.open(database.path, config=PATIENT) as again:
        assert again.collection("points").count() == 200


def test_writers_wait_while_sealing_lags_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_seal = threading.Event()
    real = rebuild.write_segment

    def slow(*values: Any) -> int:
        may_seal.wait(10)
        return real(*values)

    monkeypatch.setattr(rebuild, "write_segment", slow)
    config = replace(EAGER, frozen_segments_max=2)
    with Database.open(tmp_path / "data", config=config) as database:
        points = database.create_collection("points", schema())
        futures = [points.submit_upsert(batch(range(at, at + 100))) for at in range(0, 20_000, 100)]
        time.sleep(0.2)
        limit = 2 * config.growing_bytes_seal + limits.GROUP_COMMIT_POINTS_MAX * 96
        assert not futures[-1].done() or points.info().bytes["growing"] <= limit
        assert len(store_of(points).publisher.frozen) <= 3
        points.count()
        may_seal.set()
        for future in futures:
            future.result(20)
        assert points.count() == 20_000


def test_no_room_for_sealing_fails_writes_instead_of_holding_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = threading.Event()
    full.set()
    real = rebuild.write_segment

    def no_room(*values: Any) -> int:
        if full.is_set():
            raise OutOfSpace("no space left for a segment")
        return real(*values)

    monkeypatch.setattr(rebuild, "write_segment", no_room)
    monkeypatch.setattr("nearfield.engine.maintenance.worker._RETRY_S", 0.05)
    with Database.open(tmp_path / "data", config=EAGER) as database:
        points = database.create_collection("points", schema())
        accepted = 0
        with pytest.raises(OutOfSpace, match="segment"):
            for at in range(0, 10_000, 100):
                points.submit_upsert(batch(range(at, at + 100))).result(10)
                accepted += 100
        assert points.info().error == "no space left for a segment"
        full.clear()
        deadline = time.monotonic() + 10
        while True:
            try:
                points.delete(by_ids(0))
                break
            except OutOfSpace:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        points.wait_settled(20)
        assert points.count() == accepted - 1
        assert points.info().status == "green"
