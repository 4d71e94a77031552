"""Field indexes answer exactly what the evaluator answers, whatever was written before, between and after."""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from qdrant_client.local.order_by import to_order_value
from qdrant_client.local.payload_value_extractor import value_by_key

from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import matches
from nearfield.engine.filter.field_index import indexes as indexes_module
from nearfield.engine.filter.field_index.indexes import FieldIndexes
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.point import PointId
from tests.helpers.found_rows import found_rows
from tests.helpers.random_filters import RandomFilters, random_payload


class Points:
    """Rows in a dictionary, with the context that filters need; the id of a row is the row itself."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._split = Random(0)
        self._next_row = 0
        self.payloads_by_row: dict[int, bytes | None] = {}
        self.indexes = FieldIndexes(lambda: iter(sorted(self.payloads_by_row.items())))

    def payload(self, row: int) -> dict[str, Any]:
        return orjson.loads(self.payloads_by_row[row] or b"{}")

    def write(self) -> None:
        """Some rows go, some change their payload, some are new."""
        rng = self._rng
        rows = list(self.payloads_by_row)
        gone = rng.sample(rows, rng.randrange(len(rows) // 8 + 1))
        kept = sorted(set(rows) - set(gone))
        changed = rng.sample(kept, rng.randrange(len(kept) // 8 + 1))
        born = range(self._next_row, self._next_row + rng.randrange(30))
        self._next_row = born.stop
        added = [(row, self._random_payload()) for row in [*changed, *born]]
        for row in gone:
            del self.payloads_by_row[row]
        self.payloads_by_row |= dict(added)
        self.indexes.apply([*gone, *changed], added)

    def _random_payload(self) -> bytes | None:
        return orjson.dumps(random_payload(self._rng)) if self._rng.random() < 0.9 else None

    def found(self, filter: expr.Filter) -> list[int]:
        """Asked for in segments that also have dead rows, or lack some."""
        found = self.indexes.evaluate(filter, self)
        dead = sorted({*range(self._next_row)} - {*self.payloads_by_row})
        lacking = {*self._split.sample(dead, len(dead) // 3)}
        rows = [row for row in range(self._next_row) if row not in lacking]
        return found_rows(found, rows, parts=self._split.choice([1, 1, 3]))

    def vector_names(self, row: int) -> list[str]:
        return ["", "image"] if row % 3 else [""]

    def rows_of(self, ids: Sequence[PointId]) -> NDArray[np.int64]:
        return np.array([row for row in ids if row in self.payloads_by_row], np.int64)

    def rows_with_vector(self, name: str) -> NDArray[np.int64]:
        return np.array([row for row in self.payloads_by_row if name in self.vector_names(row)], np.int64)

    def payloads(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, bytes | None]]:
        return ((row, self.payloads_by_row[row]) for row in rows.tolist())


@pytest.mark.parametrize("seed", range(12))
def test_indexes_agree_with_the_evaluator(seed: int) -> None:
    rng = Random(seed)
    points = Points(rng)
    generator = RandomFilters(rng, list(range(200)), ["", "image", "other"])
    for _ in range(40):
        points.write()
        for _ in range(3):
            json = generator.filter()
            filter = parse_filter(json)
            expected = [
                row
                for row in sorted(points.payloads_by_row)
                if matches(filter, points.payload(row), row, points.vector_names(row))
            ]
            assert points.found(filter) == expected, json


@pytest.mark.parametrize("seed", range(4))
def test_orders_agree_with_the_reference(seed: int) -> None:
    rng = Random(seed)
    points = Points(rng)
    for _ in range(30):
        points.write()
        for key in ("a", "b[]", "a.b"):
            expected = {
                (number, row)
                for row in points.payloads_by_row
                for value in value_by_key(points.payload(row), key) or []
                if (number := to_order_value(value)) is not None
            }
            order = points.indexes.values(key)
            found = list(zip(order.values.tolist(), order.rows.tolist(), strict=True))
            assert len(found) == len(expected) and set(found) == expected
            assert np.all(order.values[1:] >= order.values[:-1])


def test_most_slots_dead_means_building_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes_module, "_DEAD_SLOTS_MIN", 20)
    test_indexes_agree_with_the_evaluator(99)


def test_writes_during_a_build_are_not_lost() -> None:
    rng = Random(7)
    points = Points(rng)
    for _ in range(5):
        points.write()
    rows_at_scan: list[int] = []

    def source() -> Iterable[tuple[int, bytes | None]]:
        rows_at_scan.append(len(points.payloads_by_row))
        yield from sorted(points.payloads_by_row.items())
        points.write()

    points.indexes = FieldIndexes(source)
    generator = RandomFilters(rng, [1, 2, 3], [""])
    for _ in range(60):
        filter = parse_filter(generator.filter())
        found = points.found(filter)
        expected = [
            row
            for row in sorted(points.payloads_by_row)
            if matches(filter, points.payload(row), row, points.vector_names(row))
        ]
        assert found == expected
    assert len(rows_at_scan) > 5, "every new key scans again"
