"""What filters found is told again only while nothing was published, and only for the very same filter."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine import Collection, Database, SearchRequest
from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.query import PointSelector
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.engine.storage.filter_answers import FilterAnswers
from nearfield.server.metrics import Metrics
from nearfield.server.search_queue import SearchQueue
from tests.helpers.points import EAGER, batch, schema, vectors

COUNT = 200
VALUES = vectors(COUNT)


def where(key: str, **test: Any) -> expr.Filter:
    return parse_filter({"must": [{"key": key, **test}]})


def red() -> expr.Filter:
    return where("colour", match={"value": "red"})


@pytest.fixture
def points(tmp_path: Path) -> Iterator[Collection]:
    with Database.open(tmp_path / "data", config=EAGER) as database:
        found = database.create_collection("points", schema())
        found.upsert(batch(range(COUNT), VALUES))
        found.set_payload(PointSelector(ids=range(0, COUNT, 4)), {"colour": "red", "n": 1})
        found.wait_settled(20)
        yield found


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[expr.Filter]:
    """The filters that were evaluated."""
    filters: list[expr.Filter] = []
    evaluate = CollectionStore.live_matches

    def recorded(parts: CollectionStore, condition: expr.Filter, pinned: Any) -> Any:
        filters.append(condition)
        return evaluate(parts, condition, pinned)

    monkeypatch.setattr(CollectionStore, "live_matches", recorded)
    return filters


def search(points: Collection, conditions: Sequence[expr.Filter]) -> list[list[Any]]:
    requests = [SearchRequest(VALUES[0], limit=COUNT, filter=condition) for condition in conditions]
    return [sorted(hit.record.id for hit in hits) for hits in points.search(requests)]


def test_an_equal_filter_is_evaluated_once(points: Collection, evaluated: list[expr.Filter]) -> None:
    for _ in range(3):
        assert search(points, [red(), red()]) == [list(range(0, COUNT, 4))] * 2
        assert points.count(red()) == COUNT // 4
    assert len(evaluated) == 2  # both of the first batch


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda points: points.delete(PointSelector(ids=[0])), COUNT // 4 - 1),
        (lambda points: points.set_payload(PointSelector(ids=[1]), {"colour": "red"}), COUNT // 4 + 1),
        (lambda points: points.clear_payload(PointSelector(ids=[4])), COUNT // 4 - 1),
        (lambda points: points.delete_payload(PointSelector(filter=red()), ["colour"]), 0),
        (lambda points: points.upsert(batch([0], VALUES[:1])), COUNT // 4 - 1),
    ],
)
def test_a_write_is_seen_at_once(points: Collection, write: Any, expected: int) -> None:
    assert points.count(red()) == COUNT // 4
    write(points)
    assert points.count(red()) == len(search(points, [red()])[0]) == expected


def test_values_that_python_calls_equal_are_not(points: Collection, evaluated: list[expr.Filter]) -> None:
    assert points.count(where("n", match={"value": 1})) == COUNT // 4
    assert points.count(where("n", match={"value": True})) == 0
    assert points.count(where("n", match={"any": [1]})) == COUNT // 4
    assert points.count(expr.Filter(must=(expr.MatchAny("n", (True,)),))) == 0
    assert points.count(expr.Filter(must=(expr.MatchExcept("n", (True,)),))) == COUNT // 4
    assert points.count(expr.Filter(must=(expr.MatchExcept("n", (1,)),))) == 0
    assert len(evaluated) == 6
    assert expr.MatchValue("n", 1) != expr.MatchValue("n", True)
    assert expr.MatchValue("n", 1) == expr.MatchValue("n", 1) != expr.MatchValue("m", 1)


def test_the_event_loop_answers_what_was_evaluated_before(points: Collection) -> None:
    """Evaluating a filter may take long: a worker does it, and the same filter again needs none."""

    class Counting(ThreadPoolExecutor):
        calls = 0

        def submit(self, *given: Any, **named: Any) -> Any:
            self.calls += 1
            return super().submit(*given, **named)

    async def ask() -> list[int]:
        calls = []
        with Counting(1) as workers:
            queue = SearchQueue(points, workers, 1, Metrics(lambda: []))
            for number in range(5):
                if number == 3:
                    points.set_payload(PointSelector(ids=[1]), {"colour": "red"})
                hits = await queue.submit(SearchRequest(VALUES[0], limit=COUNT, filter=red()))
                assert len(hits) == COUNT // 4 + (number >= 3)
                calls.append(workers.calls)
        return calls

    assert asyncio.run(ask()) == [1, 1, 1, 2, 2]


def test_a_filter_without_a_hash_is_evaluated_each_time(
    points: Collection, evaluated: list[expr.Filter]
) -> None:
    listed = expr.Filter(must=[expr.MatchValue("colour", "red")])
    assert points.count(listed) == points.count(listed) == COUNT // 4
    assert len(evaluated) == 2


def test_bytes_are_bounded() -> None:
    rows = (np.zeros(100, np.uint64),)
    answers = FilterAnswers(bytes_max=10_000)
    for number in range(100):
        answers.keep(where("n", match={"value": number}), rows, 2)
        assert 800 < answers.resident_bytes() <= 10_000
        assert answers.known(where("n", match={"value": number}), 2) is rows
    assert answers.known(where("n", match={"value": 99}), 4) is None
    answers.keep(where("n", match={"value": "x" * 20_000}), rows, 2)
    assert answers.known(where("n", match={"value": "x" * 20_000}), 2) is None
    answers.keep(red(), (np.zeros(2_000, np.uint64),), 2)
    assert answers.known(red(), 2) is None and answers.resident_bytes() <= 10_000


def test_readers_beside_a_writer_never_see_an_older_answer(points: Collection) -> None:
    """The writer announces a number after its write was acknowledged; no reader finds fewer from then on."""
    acknowledged, failures, done = [COUNT // 4], [], threading.Event()
    blue = [number for number in range(COUNT) if number % 4]

    def read() -> None:
        while not done.is_set():
            least = acknowledged[0]
            found = points.count(red())
            if found < least:
                failures.append(f"{found} after {least}")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in blue[:60]:
        points.set_payload(PointSelector(ids=[number]), {"colour": "red"})
        acknowledged[0] += 1
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert points.count(red()) == COUNT // 4 + 60
