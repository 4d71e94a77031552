"""Corners of the field indexes that random payloads hardly reach, and concurrent use."""

import threading
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import matches
from nearfield.engine.filter.field_index.bounds import INT64_MAX, INT64_MIN, NOTHING, Bounds, integer_bounds
from nearfield.engine.filter.field_index.indexes import FieldIndexes
from nearfield.engine.filter.field_index.order import Order, order_start
from nearfield.engine.filter.field_index.slots import UNKNOWN, SlotMatches, Slots
from nearfield.engine.filter.field_index.sorted_values import SortedValues
from nearfield.engine.point import PointId
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.row_runs import one_run, runs_of
from tests.helpers.found_rows import found_rows


class Rows:
    """A context over a dictionary; also the source."""

    def __init__(self, payloads: dict[int, bytes | None]) -> None:
        self.by_row = payloads

    def rows_of(self, ids: Sequence[PointId]) -> NDArray[np.int64]:
        return np.array([row for row in ids if row in self.by_row], np.int64)

    def rows_with_vector(self, name: str) -> NDArray[np.int64]:
        return np.array([*self.by_row], np.int64)

    def payloads(self, rows: NDArray[np.int64]) -> Iterable[tuple[int, bytes | None]]:
        return [(row, self.by_row[row]) for row in rows.tolist() if row in self.by_row]

    def found(self, indexes: FieldIndexes, condition: expr.Condition) -> list[int]:
        return found_rows(indexes.evaluate(expr.Filter(must=[condition]), self), self.by_row)


def test_integers_compare_exactly_with_float_bounds() -> None:
    numbers = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]
    rows = Rows({row: orjson.dumps({"n": number}) for row, number in enumerate(numbers)})
    indexes = FieldIndexes(lambda: rows.by_row.items())

    def found(**bounds: float) -> list[int]:
        return rows.found(indexes, expr.Range("n", **bounds))

    assert found(gt=2.0**53) == [1, 2, 4]
    assert found(gte=2.0**53, lt=2.0**63) == [0, 1, 2]
    assert found(gte=2.0**63) == [4]
    assert found(lt=float("inf"), gt=float("-inf")) == [0, 1, 2, 3, 4]
    assert rows.found(indexes, expr.MatchAny("n", [2**64 - 1, 2**53 + 1])) == [1, 4]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None, None), Bounds(None, None)),
        ((1.5, None, 3.5, None), Bounds(2, 3)),
        ((1, 1, 3, 3), Bounds(2, 2)),
        ((0, 1, 4, 3), Bounds(1, 3)),
        ((2.0**63, None, None, None), NOTHING),
        ((INT64_MAX, None, None, None), NOTHING),
        ((None, INT64_MAX, None, None), Bounds(INT64_MAX, None)),
        ((INT64_MIN, None, None, None), Bounds(INT64_MIN + 1, None)),
        ((None, None, INT64_MIN, None), NOTHING),
        ((None, None, None, float("-inf")), NOTHING),
    ],
)
def test_integer_bounds(given: tuple[float | None, ...], expected: Bounds) -> None:
    assert integer_bounds(*given) == expected


def marked(mark: Callable[..., None], what: object, size: int) -> list[int]:
    words = bitmap.empty(size)
    mark(what, words)
    return bitmap.positions(words, size).tolist()


def test_sorted_values_merge_what_is_new() -> None:
    column = SortedValues("q")
    rng = np.random.default_rng(0)
    size = 30_000
    values = rng.integers(0, 50, size)
    for slot, value in enumerate(values.tolist()):
        column.append(value, slot)
        if slot % 997 == 0:
            found = marked(column.mark_between, Bounds(10, 19), size)
            assert found == np.flatnonzero(values[: slot + 1] // 10 == 1).tolist()
    for asked in ([3, 7], [3, 3, -1, 99], [], list(range(0, 60, 2))):
        has = np.isin(values, asked)
        assert marked(column.mark_among, asked, size) == np.flatnonzero(has).tolist()
        assert marked(column.mark_outside, asked, size) == np.flatnonzero(~has).tolist()


@pytest.mark.parametrize("distinct", [1, 3, 254, 255, 256, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("several", [False, True], ids=["one each", "some twice"])
def test_ranges_of_any_width_are_those_of_the_values(distinct: int, several: bool) -> None:
    """Few and many values, narrow and wide ranges: slots are listed or compared, the answer is the same."""
    rng = np.random.default_rng(distinct)
    size = 70_100
    values = rng.permutation(np.arange(70_000) % distinct).astype(np.float64) / 4
    slots = np.arange(100, size)
    if several:
        values, slots = np.append(values, values[:5] + 1), np.append(slots, slots[:5])
    column = SortedValues("d")
    column.extend(values, slots)
    for share in (0.0, 0.0004, 0.02, 0.3, 0.9, 1.1):
        low = float(rng.random() * distinct / 4 * max(0.0, 1 - share))
        for bounds in (Bounds(low, low + share * distinct / 4, True), Bounds(None, low), Bounds(low, None)):
            inside = np.ones(len(values), bool)
            if bounds.low is not None:
                inside &= values > bounds.low if bounds.low_open else values >= bounds.low
            if bounds.high is not None:
                inside &= values <= bounds.high
            expected = np.unique(slots[inside]).tolist()
            assert marked(column.mark_between, bounds, size) == expected


def test_runs_of_rows() -> None:
    for rows, expected in [
        ([], [[], []]),
        ([7], [[0], [7]]),
        ([7, 8, 9], [[0], [7]]),
        ([7, 9, 10, 20], [[0, 1, 3], [7, 9, 20]]),
    ]:
        assert runs_of(np.array(rows, np.int64)).tolist() == expected


def test_slots_follow_rows_that_change() -> None:
    slots = Slots()
    assert slots.add(np.array([10, 20, 30])).tolist() == [0, 1, 2]
    assert slots.add(np.array([20, 40])).tolist() == [3, 4]
    slots.kill([30, 99])
    assert slots.find(np.array([10, 20, 40, 99])).tolist() == [0, 3, 4, UNKNOWN]
    live = SlotMatches(slots.live(), slots.slot_rows())
    assert found_rows(live, [5, 10, 15, 20, 30, 40, 99]) == [10, 20, 40]
    assert found_rows(live, [20]) == [20]


def test_a_key_that_is_no_path_is_refused() -> None:
    rows = Rows({})
    indexes = FieldIndexes(lambda: rows.by_row.items())
    with pytest.raises(InvalidRequest, match="payload key"):
        indexes.evaluate(expr.Filter(must=[expr.IsNull("a..b")]), rows)
    with pytest.raises(InvalidRequest, match="payload key"):
        indexes.values("")


def test_a_failing_scan_leaves_nothing_half_built() -> None:
    rows = Rows({row: orjson.dumps({"a": row % 2}) for row in range(10)})
    broken = True

    def source() -> Iterable[tuple[int, bytes | None]]:
        yield from list(rows.by_row.items())[:5]
        if broken:
            raise OSError("disk")
        yield from list(rows.by_row.items())[5:]

    indexes = FieldIndexes(source)
    odd = expr.MatchValue("a", 1)
    with pytest.raises(OSError, match="disk"):
        rows.found(indexes, odd)
    broken = False
    assert rows.found(indexes, odd) == [1, 3, 5, 7, 9]


def test_order_pages() -> None:
    order = Order.of(
        [
            (np.array([5, 1, 1, 2]), np.array([7, 3, 3, 9])),
            (np.array([], np.int64), np.array([], np.float64)),
        ]
    )
    assert (order.rows.tolist(), order.values.tolist()) == ([1, 5, 2], [3, 7, 9])
    assert order.values.dtype == np.int64
    assert order.page(2, descending=True).rows.tolist() == [2, 5]
    assert order.page(9, start_from=order_start(7.0)).rows.tolist() == [5, 2]
    assert order.page(9, descending=True, start_from=8, allowed=np.array([1, 2])).rows.tolist() == [1]
    assert order_start("1970-01-02") == 86_400_000_000
    for wrong in ("tomorrow", True):
        with pytest.raises(InvalidRequest, match="datetime"):
            order_start(wrong)


def test_orders_keep_large_integers_apart_from_floats() -> None:
    order = Order.of(
        [(np.array([2, 1, 3]), np.array([2**53 + 1, 2**53, 7])), (np.array([4, 3]), np.array([0.5, 7.0]))]
    )
    assert order.rows.tolist() == [4, 3, 1, 2]
    assert order.values.tolist() == [0.5, 7, 2**53, 2**53 + 1]
    assert order.page(9, start_from=7.5).values.tolist() == [2**53, 2**53 + 1]
    assert order.page(1, descending=True, start_from=2**53).rows.tolist() == [1]
    integers = Order.of([(np.array([1, 2]), np.array([2**53, 2**53 + 1]))])
    assert integers.page(9, descending=True, start_from=2.0**53).rows.tolist() == [1]
    assert integers.page(9, start_from=1e300).rows.tolist() == []


def test_all_words_must_stand_in_one_string() -> None:
    documents = [
        {"k": ["red", "green"]},
        {"k": ["red green"]},
        {"k": ["x", "Green, red"]},
        {"k": "green red"},
    ]
    rows = Rows({row: orjson.dumps(document) for row, document in enumerate(documents)})
    indexes = FieldIndexes(lambda: rows.by_row.items())
    for condition, expected in [
        (expr.MatchText("k", "red green"), [1, 2, 3]),
        (expr.MatchText("k", "red green", any_word=True), [0, 1, 2, 3]),
        (expr.MatchPhrase("k", "green red"), [2, 3]),
    ]:
        assert rows.found(indexes, condition) == expected


def test_readers_beside_a_writer_see_whole_writes() -> None:
    """Every write adds two rows with the same new value: no reader sees only one of them."""
    rows = Rows({})
    lock = threading.Lock()

    def source() -> Iterable[tuple[int, bytes | None]]:
        with lock:
            return list(rows.by_row.items())

    indexes = FieldIndexes(source)
    failures: list[str] = []
    done = threading.Event()

    def read(key: str) -> None:
        while not done.is_set():
            found = indexes.evaluate(expr.Filter(must=[expr.Range(key, gte=0)]), rows)
            count = bitmap.count(found.within(one_run(0), 800))
            if count % 2:
                failures.append(f"{count} rows with {key}")

    readers = [threading.Thread(target=read, args=(key,)) for key in ("a", "b", "a")]
    for reader in readers:
        reader.start()
    for i in range(400):
        payload = orjson.dumps({"a": i, "b": i, "c": i})
        added = [(2 * i, payload), (2 * i + 1, payload)]
        with lock:
            rows.by_row |= dict(added)
        indexes.apply([], added)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert len(rows.found(indexes, expr.Range("c", gte=0))) == 800


COLUMNS: list[list[object]] = [
    ["x", "y", "x", "z"],
    [3, 1, 2**62, 3],
    [2**63, 1, 2, 3],
    [["x"], [], ["x", "y"], ["z", "x", "x"]],
    [[1, 2], [3], [], [2]],
    [[1, 2], ["x"], [None], []],
    [[], [], [], []],
    [True, False, True, 1],
]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_columns_of_one_type_are_indexed_like_mixed_ones(column: list[object]) -> None:
    documents = [{"k": value} for value in column]
    rows = Rows({row: orjson.dumps(document) for row, document in enumerate(documents)})
    indexes = FieldIndexes(lambda: rows.by_row.items())
    conditions: list[expr.Condition] = [
        expr.MatchAny("k", ["x"]),
        expr.MatchAny("k", [2, 3, 2**63]),
        expr.MatchExcept("k", ["x"]),
        expr.MatchExcept("k", [3, 2]),
        expr.MatchValue("k", True),
        expr.Range("k", gt=1, lt=2.0**63),
        expr.ValuesCount("k", gte=2),
        expr.ValuesCount("k", lt=1),
        expr.IsEmpty("k"),
        expr.IsNull("k"),
        expr.MatchText("k", "X"),
    ]
    for condition in conditions:
        expected = [row for row, document in enumerate(documents) if matches(condition, document, row, ())]
        assert rows.found(indexes, condition) == expected, condition
