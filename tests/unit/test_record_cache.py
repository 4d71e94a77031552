"""What searches keep of rows they found: never older than an acknowledged write, never more than allowed."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from nearfield.engine import Collection, Database, PayloadSelector, SearchRequest
from nearfield.engine.point import to_stored
from nearfield.engine.query import ScoredPoint
from nearfield.engine.storage.point_table import StoredPoint
from nearfield.engine.storage.record_cache import RecordCache
from nearfield.engine.storage.store import PointStore
from tests.helpers.points import EAGER, batch, by_ids, schema, vectors

COUNT = 300
VALUES = vectors(COUNT)


@pytest.fixture
def points(tmp_path: Path) -> Iterator[Collection]:
    with Database.open(tmp_path / "data", config=EAGER) as database:
        found = database.create_collection("points", schema())
        found.upsert(batch([*range(COUNT - 1), UUID(int=7)], VALUES))
        found.wait_settled(20)
        yield found


def nearest(points: Collection, at: int, limit: int = 5) -> list[ScoredPoint]:
    return points.search([SearchRequest(VALUES[at], limit=limit)])[0]


def stored(rows: Sequence[int], version: int = 1) -> list[StoredPoint]:
    return [(row, to_stored(row), version, None) for row in rows]


def test_hits_that_were_found_before_are_not_looked_up(
    points: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [nearest(points, at) for at in (3, COUNT - 1)]
    assert first[1][0].record.id == UUID(int=7)
    asked: list[int] = []
    lookup = PointStore.points_of_rows

    def counted(store: PointStore, rows: Sequence[int], with_payload: bool = True) -> list[StoredPoint]:
        asked.extend(rows)
        return lookup(store, rows, with_payload)

    monkeypatch.setattr(PointStore, "points_of_rows", counted)
    assert [nearest(points, at) for at in (3, COUNT - 1)] == first
    assert not asked
    # Only what is not known is asked for, and payloads always are.
    more = nearest(points, 3, limit=9)
    assert more[:5] == first[0] and len(asked) == 4
    shown = points.search([SearchRequest(VALUES[3], limit=5, with_payload=PayloadSelector(enabled=True))])[0]
    assert [hit.record.payload for hit in shown] == [b"{}"] * 5 and len(asked) == 9


def test_one_batch_with_and_without_payloads_and_vectors(points: Collection) -> None:
    shown = PayloadSelector(enabled=True)
    points.set_payload(by_ids(*range(COUNT - 1)), {"a": 1})
    plain, painted, whole = points.search(
        [
            SearchRequest(VALUES[3], limit=2),
            SearchRequest(VALUES[4], limit=2, with_payload=shown),
            SearchRequest(VALUES[3], limit=2, with_vectors=True),
        ]
    )
    assert [hit.record.payload for hit in plain] == [None, None]
    assert [hit.record.payload for hit in painted] == [b'{"a":1}'] * 2
    assert whole[0].record.vectors is not None and plain[0].record.vectors is None
    assert whole[0].record.vectors[""].tolist() == VALUES[3].tolist()
    assert [hit.record.id for hit in whole] == [hit.record.id for hit in plain]


def test_acknowledged_writes_are_seen(points: Collection) -> None:
    assert nearest(points, 3)[0].record.id == 3
    version = points.set_payload(by_ids(3), {"a": 1})
    assert nearest(points, 3)[0].record[:2] == (3, version)
    version = points.upsert(batch([3], VALUES[3:4]))
    assert nearest(points, 3)[0].record[:2] == (3, version)
    points.delete(by_ids(3))
    assert 3 not in [hit.record.id for hit in nearest(points, 3, COUNT)]


def test_versions_are_never_older_than_the_last_acknowledged(points: Collection) -> None:
    """One thread paints and then looks; others look all the time, so that the cache fills at any moment."""
    stop, failures = time.monotonic() + 2, list[BaseException]()
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)

    def look() -> None:
        try:
            while time.monotonic() < stop and not failures:
                nearest(points, 3, 50)
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        painted = 0
        while time.monotonic() < stop and not failures:
            version = points.set_payload(by_ids(3), {"n": painted})
            assert nearest(points, 3)[0].record[:2] == (3, version)
            painted += 1
    finally:
        stop = 0.0
        for reader in readers:
            reader.join()
        sys.setswitchinterval(before)
    assert not failures and painted > 10


def test_what_was_read_before_rows_were_forgotten_is_not_kept() -> None:
    cache = RecordCache()
    generation = cache.generation
    cache.forget([2])
    assert cache.remember(stored([1, 2]), generation)[2].version == 1
    assert cache.known([1]) is None and cache.known([2]) is None
    cache.remember(stored([1, 2], version=2), cache.generation)
    records = cache.known([2, 1, 2])
    assert records is not None and [record.id for record in records] == [2, 1, 2]
    cache.forget([2])
    assert cache.known([2]) is None and cache.known([1]) is not None


def test_rows_that_are_used_stay_and_others_make_room() -> None:
    cache = RecordCache(rows_max=20)
    for start in range(0, 200, 5):
        cache.remember(stored(range(start, start + 5)), cache.generation)
        assert cache.known([0]) is not None  # asked for every time, so it stays
    assert cache.known([50]) is None
    assert 10 < len(cache.among(range(200))) <= 20
    assert len(cache.remember(stored(range(500)), cache.generation)) == 500
    assert len(cache.among(range(500))) <= 20
