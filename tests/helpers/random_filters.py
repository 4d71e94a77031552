"""Random payloads, and random wire-format filters that often match them."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NAMES = ["a", "b", "c", "key with space"]
WORDS = ["red", "Red", "green light", "light green", "red, green", "ünï", "x", ""]
DATETIMES = [
    "2024-06-15",
    "2024-06-15T12:00",
    "2024-06-15 12:00:00",
    "2024-06-15T14:00:00+02:00",
    "2024-06-15T12:00:00.25Z",
    "2024-06-15T12:00:00.1234567z",
    "2024-06-15T12:00:00 UTC",
    "2023-01-01T00:00:00+01",
]
# Those that the client's models take as bounds.
BOUND_DATETIMES = [
    "2024-06-15",
    "2024-06-15T12:00",
    "2024-06-15T14:00:00+02:00",
    "2024-06-15T12:00:00.25Z",
    "2023-01-01T00:00:00",
]
NOT_DATETIMES = ["2024-06-31", "2024-06-15T12", "12:00"]
STRINGS = WORDS + DATETIMES + NOT_DATETIMES
INTEGERS = [-1, 0, 1, 2, 3, 2**53, 2**53 + 1, 2**62]
FLOATS = [-1.0, 0.0, 0.5, 1.0, 2.0, 1e300, float(2**53)]
_BOUNDS = ["gt", "gte", "lt", "lte"]


def random_value(rng: Random, depth: int = 3) -> Any:
    """A JSON value, of containers up to a depth."""
    kind = rng.random()
    if depth and kind < 0.2:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if depth and kind < 0.4:
        return random_payload(rng, depth - 1)
    return rng.choice(
        [None, True, False, *rng.sample(INTEGERS, 2), rng.choice(FLOATS), *rng.sample(STRINGS, 3)]
    )


def random_payload(rng: Random, depth: int = 3) -> dict[str, Any]:
    """A JSON object over NAMES."""
    return {name: random_value(rng, depth) for name in rng.sample(NAMES, rng.randrange(4))}


def random_key(rng: Random) -> str:
    """A dotted key over NAMES, with steps into arrays now and then."""
    names = [rng.choice(NAMES) for _ in range(rng.choice([1, 1, 2, 3]))]
    return ".".join(
        (f'"{name}"' if " " in name else name) + rng.choice(["", "", "", "[]", "[0]", "[1]", "[][]"])
        for name in names
    )


class RandomFilters:
    """Filters with every condition that is served.

    Args:
        ids: JSON forms of point ids that `has_id` may ask for.
        vector_names: names that `has_vector` may ask for.
        key: makes payload keys.
    """

    def __init__(
        self,
        rng: Random,
        ids: Sequence[int | str],
        vector_names: Sequence[str],
        key: Callable[[Random], str] = random_key,
    ) -> None:
        self._rng = rng
        self._ids = ids
        self._vector_names = vector_names
        self._key = key

    def filter(self, depth: int = 2) -> dict[str, Any]:
        rng = self._rng
        clauses: dict[str, Any] = {}
        for name in rng.sample(
            ["must", "must", "should", "must_not", "min_should"], rng.choice([1, 1, 2, 3])
        ):
            conditions = [self.condition(depth) for _ in range(rng.choice([1, 1, 2, 3, 0]))]
            if name == "min_should":
                clauses[name] = {"conditions": conditions, "min_count": rng.randint(1, 3)}
            else:
                clauses[name] = conditions[0] if conditions and rng.random() < 0.2 else conditions
        return clauses

    def condition(self, depth: int) -> dict[str, Any]:
        rng = self._rng
        kind = rng.random()
        if depth and kind < 0.1:
            return self.filter(depth - 1)
        if depth and kind < 0.25:
            return {"nested": {"key": self._key(rng), "filter": self.filter(depth - 1)}}
        if kind < 0.3:
            return {"has_id": rng.sample(self._ids, rng.randrange(min(3, len(self._ids)) + 1))}
        if kind < 0.34:
            return {"has_vector": rng.choice(self._vector_names)}
        if kind < 0.42:
            return {rng.choice(["is_empty", "is_null"]): {"key": self._key(rng)}}
        return {"key": self._key(rng), **self._test()}

    def _test(self) -> dict[str, Any]:
        rng = self._rng
        return rng.choice(
            [
                lambda: {"match": self._match()},
                lambda: {"match": self._match()},
                lambda: {
                    "range": self._bounds(lambda: rng.choice([*FLOATS, 1, 2**53 + 2]), rng.randrange(3))
                },
                lambda: {"range": self._bounds(lambda: rng.choice(BOUND_DATETIMES), rng.randint(1, 2))},
                lambda: {"values_count": self._bounds(lambda: rng.randrange(4), rng.randint(1, 2))},
                lambda: {rng.choice(["is_empty", "is_null"]): rng.random() < 0.5},
            ]
        )()

    def _match(self) -> dict[str, Any]:
        rng = self._rng
        several = rng.choice([STRINGS, INTEGERS])
        return rng.choice(
            [
                {"value": rng.choice([True, False, rng.choice(STRINGS), rng.choice(INTEGERS)])},
                {rng.choice(["any", "except"]): [rng.choice(several) for _ in range(rng.randrange(4))]},
                {"text": rng.choice(["red", "green LIGHT", "", "ünï", "red green", "2024"])},
                {"text_any": rng.choice(["red x", "green", "-", "15 06"])},
                {"phrase": rng.choice(["green light", "red green", "red", "", "06 15"])},
                {"prefix": rng.choice(["", "r", "2024", "green"])},
                {"substring": rng.choice(["", "e", "light", "06-15"])},
            ]
        )

    def _bounds(self, bound: Callable[[], Any], count: int) -> dict[str, Any]:
        return {name: bound() for name in self._rng.sample(_BOUNDS, count)}
