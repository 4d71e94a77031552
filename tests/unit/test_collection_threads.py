"""Readers and writers at once, with sealing, merging, vacuuming and indexing going on beneath."""

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nearfield.engine import Collection, Database, SearchParams, SearchRequest
from nearfield.engine.filter.parse import parse_filter
from tests.helpers.points import EAGER, batch, by_ids, schema, vectors

SECONDS = 4.0
STABLE = 300
TAGGED = parse_filter({"must": [{"key": "tag", "match": {"value": "x"}}]})


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads are interrupted a hundred times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def test_every_read_sees_whole_batches(tmp_path: Path, impatient: None) -> None:
    """Points 0..STABLE are replaced all the time and never absent; pairs (n, n + 1) come and go together."""
    config = replace(EAGER, growing_bytes_seal=30_000, index_rows_min=300, search_threads=2)
    with Database.open(tmp_path / "data", config=config) as database:
        points = database.create_collection("points", schema(index="hnsw"))
        values = vectors(STABLE)
        payloads = [{"tag": "x", "n": at} for at in range(STABLE)]
        points.upsert(batch(range(STABLE), values, payloads))
        stop, failures = time.monotonic() + SECONDS, list[BaseException]()

        def run(action: Callable[[Collection, random.Random], None], seed: int) -> threading.Thread:
            def loop() -> None:
                rng = random.Random(seed)
                try:
                    while time.monotonic() < stop and not failures:
                        action(points, rng)
                except BaseException as error:
                    failures.append(error)

            return threading.Thread(target=loop)

        def replace_some(points: Collection, rng: random.Random) -> None:
            chosen = rng.sample(range(STABLE), 40)
            points.upsert(batch(chosen, values[chosen], [payloads[at] for at in chosen]))

        def come_and_go(points: Collection, rng: random.Random) -> None:
            first = 10_000 + 2 * rng.randrange(500)
            if rng.random() < 0.5:
                points.upsert(batch([first, first + 1], np.full((2, 8), 50 + first)))
            else:
                points.delete(by_ids(first, first + 1))

        def look(points: Collection, rng: random.Random) -> None:
            at = rng.randrange(STABLE)
            assert points.count(TAGGED) == STABLE
            exact = SearchRequest(values[at], limit=1, params=SearchParams(exact=True), with_vectors=True)
            plain, filtered = points.search([exact, replace(exact, filter=TAGGED)])
            for [hit] in (plain, filtered):
                assert hit.record.id == at
                assert np.array_equal((hit.record.vectors or {})[""], values[at])
            [found] = points.search([SearchRequest(at, limit=2, filter=TAGGED)])
            assert at not in [hit.record.id for hit in found]
            assert len(points.retrieve(range(STABLE), with_vectors=rng.random() < 0.3)) == STABLE
            pair = 10_000 + 2 * rng.randrange(500)
            assert len(points.retrieve([pair, pair + 1])) in (0, 2)

        threads = [run(action, seed) for seed, action in enumerate([replace_some, come_and_go, look, look])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        assert points.count(TAGGED) == STABLE
        points.wait_settled(20)
        look(points, random.Random(0))
