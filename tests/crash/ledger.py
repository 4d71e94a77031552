"""The operations that crash tests write, and what must be there after any number of them was acknowledged.

Every writer has ids of its own, and its operation number k is always the same one. So a count of acknowledged
operations says everything: after a crash a writer's points are those after its last acknowledged one, or
after the operation that was on its way; never a part of one.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nearfield.engine import (
    Collection,
    CollectionSchema,
    Distance,
    MultiVectorSpec,
    PointBatch,
    ScrollRequest,
    VectorColumn,
    VectorSpec,
)
from nearfield.engine.operation import DeletePoints, Operation, SetPayload, Upsert
from nearfield.engine.payload import encode
from tests.helpers.points import by_ids

DIMENSIONS = 16
TOKEN_DIMENSIONS = 4
SCHEMA = CollectionSchema(
    {
        "": VectorSpec(DIMENSIONS, Distance.EUCLID, index={"kind": "hnsw", "params": {}}),
        "tokens": VectorSpec(
            TOKEN_DIMENSIONS,
            Distance.DOT,
            index={"kind": "muvera", "params": {"cells": "simhash", "repetitions": 2, "bits": 2}},
            multivector=MultiVectorSpec(),
        ),
    }
)
IDS_PER_WRITER = 100_000
_POOL = 600

State = dict[int, tuple[bytes, bytes]]
"""Payload, and vector and tokens (float32 bytes, one after the other) by id."""


@dataclass(frozen=True)
class Step:
    """One request of a writer: points to write, payload patches and deletions of theirs, in this order.

    Args:
        patched: ids among the written ones.
        deleted: ids that may or may not exist.
    """

    number: int
    ids: list[int]
    vectors: np.ndarray
    patched: list[int]
    deleted: list[int]

    def payload(self, point: int) -> dict[str, int]:
        """Payload of a point as first written."""
        return {"step": self.number, "point": point}

    def patch(self) -> dict[str, int]:
        """What is set on top of the patched ones."""
        return {"patched": self.number}

    def documents(self) -> list[np.ndarray]:
        """One to four tokens for every point, cut from its vector."""
        return [
            vector.reshape(-1, TOKEN_DIMENSIONS)[: 1 + point % 4]
            for point, vector in zip(self.ids, self.vectors, strict=True)
        ]

    def operations(self) -> list[Operation]:
        """The engine's form; one transaction."""
        operations: list[Operation] = []
        if self.ids:
            payloads = [encode(self.payload(point)) for point in self.ids]
            columns = {
                "": VectorColumn(self.vectors),
                "tokens": VectorColumn.of_documents(self.documents()),
            }
            operations.append(Upsert(PointBatch(self.ids, columns, payloads)))
        if self.patched:
            operations.append(SetPayload(by_ids(*self.patched), self.patch()))
        if self.deleted:
            operations.append(DeletePoints(by_ids(*self.deleted)))
        return operations

    def apply(self, state: State) -> None:
        """Do to a state what the request does to the collection."""
        for point, vector, tokens in zip(self.ids, self.vectors, self.documents(), strict=True):
            payload = self.payload(point) | (self.patch() if point in self.patched else {})
            state[point] = (encode(payload), vector.tobytes() + tokens.tobytes())
        for point in self.deleted:
            state.pop(point, None)


def step(writer: int, number: int) -> Step:
    """The operation with this number of a writer."""
    rng = random.Random(writer * 1_000_003 + number)
    pool = range(writer * IDS_PER_WRITER, writer * IDS_PER_WRITER + _POOL)
    ids = rng.sample(pool, rng.randint(1, 60)) if rng.random() < 0.9 else []
    patched = rng.sample(ids, len(ids) // 3) if rng.random() < 0.3 else []
    deleted = rng.sample(pool, rng.randint(1, 30)) if not ids or rng.random() < 0.2 else []
    vectors = np.random.default_rng((writer, number)).standard_normal((len(ids), DIMENSIONS))
    return Step(number, ids, vectors.astype(np.float32), patched, deleted)


class Ledger:
    """Acknowledged operations per writer, as the length of a file each; survives the writer's death."""

    def __init__(self, directory: Path, writers: int) -> None:
        directory.mkdir(exist_ok=True)
        self._paths = [directory / f"writer-{writer}" for writer in range(writers)]
        self._states: list[tuple[int, State]] = [(0, {}) for _ in range(writers)]
        for path in self._paths:
            path.touch()

    def acknowledged(self, writer: int) -> int:
        """How many of its operations were acknowledged."""
        return self._paths[writer].stat().st_size

    def acknowledge(self, writer: int) -> None:
        """One more."""
        with self._paths[writer].open("ab", buffering=0) as file:
            file.write(b".")

    def check(self, found: State) -> None:
        """Compare what is there with what has to be; what was on its way and did arrive counts from now on.

        Raises:
            AssertionError: a point is missing, foreign, or of a part of an operation.
        """
        for writer in range(len(self._paths)):
            first = writer * IDS_PER_WRITER
            mine = {point: value for point, value in found.items() if first <= point < first + IDS_PER_WRITER}
            acknowledged = self.acknowledged(writer)
            done, state = self._states[writer]
            for number in range(done, acknowledged):
                step(writer, number).apply(state)
            if mine != state:
                step(writer, acknowledged).apply(state)
                assert mine == state, _difference(mine, state, writer, acknowledged)
                self.acknowledge(writer)
                acknowledged += 1
            self._states[writer] = (acknowledged, state)
        assert len(found) == sum(len(state) for _, state in self._states)


def state_of(collection: Collection) -> State:
    """All points of an opened collection, by scrolling; each of them must come exactly once."""
    state: State = {}
    for record in _records(collection):
        assert record.id not in state
        assert isinstance(record.id, int) and record.payload is not None and record.vectors is not None
        both = record.vectors[""].tobytes() + record.vectors["tokens"].tobytes()
        state[record.id] = (record.payload, both)
    assert collection.count() == len(state)
    return state


def _records(collection: Collection) -> Iterator:  # type: ignore[type-arg]
    offset = None
    while True:
        page = collection.scroll(ScrollRequest(limit=500, offset=offset, with_vectors=True))
        yield from page.records
        offset = page.next_offset
        if offset is None:
            return


def _difference(found: State, expected: State, writer: int, acknowledged: int) -> str:
    missing = sorted(set(expected) - set(found))
    foreign = sorted(set(found) - set(expected))
    other = sorted(point for point in set(found) & set(expected) if found[point] != expected[point])
    return (
        f"writer {writer} after {acknowledged} acknowledged operations: "
        f"missing {missing[:9]}, not expected {foreign[:9]}, different {other[:9]}"
    )
