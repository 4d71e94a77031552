"""The embedded engine against a dictionary, through any sequence of writes, reads, upkeep and reopening."""

import shutil
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nearfield.engine import payload as payloads
from nearfield.engine.config import EngineConfig
from nearfield.engine.database import Database
from nearfield.engine.filter import expression as expr
from nearfield.engine.filter.evaluate import matches
from nearfield.engine.operation import DeletePoints, Operation, SetPayload, Upsert
from nearfield.engine.point import PointBatch, PointId, VectorColumn
from nearfield.engine.query import OrderBy, PointSelector, ScrollRequest, SearchParams, SearchRequest
from nearfield.engine.schema import CollectionSchema, Distance, MultiVectorSpec, VectorSpec

NAME = "points"
SIZES = {"image": 3, "text": 5, "tokens": 2}
SCHEMA = CollectionSchema(
    {
        "image": VectorSpec(3, Distance.DOT),
        "text": VectorSpec(5, Distance.EUCLID),
        "tokens": VectorSpec(2, Distance.DOT, multivector=MultiVectorSpec()),
    },
)
# Every few points a segment is sealed, every few segments are merged.
CONFIG = EngineConfig(
    threads=1, growing_bytes_seal=400, index_rows_min=10**9, sealed_segments_target=2, background=False
)

ids = st.one_of(st.integers(0, 25), st.integers(0, 5).map(lambda i: UUID(int=i)))
one_vector = st.lists(st.integers(-3, 3), min_size=5, max_size=5)
matrix = st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=1, max_size=4)
vectors = st.fixed_dictionaries({}, optional={"image": one_vector, "text": one_vector, "tokens": matrix})
values = st.one_of(
    st.integers(0, 5), st.sampled_from(["red", "green"]), st.lists(st.integers(0, 3), max_size=2)
)
documents = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
points = st.lists(st.tuples(ids, vectors, documents), min_size=1, max_size=8)
conditions = st.one_of(
    st.builds(expr.MatchValue, st.sampled_from("abc"), st.one_of(st.integers(0, 5), st.just("red"))),
    st.builds(expr.Range, st.sampled_from("abc"), gte=st.integers(0, 4).map(float)),
    st.builds(expr.IsEmpty, st.sampled_from("abc")),
    st.builds(expr.HasVector, st.sampled_from(["image", "text", "tokens"])),
    st.builds(expr.HasId, st.lists(ids, max_size=4)),
)
filters = st.builds(
    expr.Filter, must=st.lists(conditions, min_size=1, max_size=2), must_not=st.lists(conditions, max_size=1)
)

Document = dict[str, Any]
Vectors = dict[str, Any]
"""Drawn vectors by name: dense ones are longer than needed, see `_array`."""


def _array(name: str, drawn: Any) -> Any:
    """The vector [d], or the matrix [t, d], that what was drawn stands for."""
    return np.array(drawn, np.float32) if name == "tokens" else np.array(drawn, np.float32)[: SIZES[name]]


def _batch(rows: list[tuple[PointId, Vectors, Document]]) -> PointBatch:
    columns = {}
    for name in SIZES:
        having = [i for i, (_, own, _) in enumerate(rows) if name in own]
        if having:
            own = [_array(name, rows[i][1][name]) for i in having]
            columns[name] = VectorColumn.of_points(own, np.array(having, np.int64))
    encoded = [payloads.encode(document) if document else None for _, _, document in rows]
    return PointBatch([point_id for point_id, _, _ in rows], columns, encoded)


class EmbeddedModel(RuleBasedStateMachine):
    """`self.points` is what the collection must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="nearfield-model-"))
        self.points: dict[PointId, tuple[Vectors, Document]] = {}
        self.database = Database.open(self.directory, config=CONFIG)

    @initialize()
    def create(self) -> None:
        self.collection = self.database.create_collection(NAME, SCHEMA)

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.directory)

    # ---- writes -----------------------------------------------------------------------------------------

    @rule(rows=points)
    def upsert(self, rows: list[Any]) -> None:
        self.collection.upsert(_batch(rows))
        self._replace(rows)

    @rule(chosen=st.lists(ids, min_size=1, max_size=4))
    def delete_by_ids(self, chosen: list[PointId]) -> None:
        self.collection.delete(PointSelector(ids=chosen))
        for point_id in chosen:
            self.points.pop(point_id, None)

    @rule(filter=filters)
    def delete_by_filter(self, filter: expr.Filter) -> None:
        self.collection.delete(PointSelector(filter=filter))
        self.points = {one: point for one, point in self.points.items() if one not in self._matching(filter)}

    @precondition(lambda self: self.points)
    @rule(data=st.data(), name=st.sampled_from(sorted(SIZES)))
    def update_vectors(self, data: st.DataObject, name: str) -> None:
        vector = data.draw(matrix if name == "tokens" else one_vector)
        point_id = data.draw(st.sampled_from(sorted(self.points, key=str)))
        self.collection.update_vectors(_batch([(point_id, {name: vector}, {})]))
        before, document = self.points[point_id]
        self.points[point_id] = ({**before, name: vector}, document)

    @rule(filter=filters, name=st.sampled_from(sorted(SIZES)))
    def delete_vectors(self, filter: expr.Filter, name: str) -> None:
        chosen = self._matching(filter)
        self.collection.delete_vectors(PointSelector(filter=filter), [name])
        for point_id in chosen:
            before, document = self.points[point_id]
            self.points[point_id] = ({one: own for one, own in before.items() if one != name}, document)

    @rule(filter=filters, patch=documents)
    def set_payload(self, filter: expr.Filter, patch: Document) -> None:
        chosen = self._matching(filter)
        self.collection.set_payload(PointSelector(filter=filter), patch)
        for point_id in chosen:
            own, document = self.points[point_id]
            self.points[point_id] = (own, {**document, **patch})

    @rule(filter=filters, key=st.sampled_from("abc"))
    def delete_payload(self, filter: expr.Filter, key: str) -> None:
        chosen = self._matching(filter)
        self.collection.delete_payload(PointSelector(filter=filter), [key])
        for point_id in chosen:
            own, document = self.points[point_id]
            self.points[point_id] = (own, {one: value for one, value in document.items() if one != key})

    @rule(rows=points, filter=filters, patch=documents)
    def batch(self, rows: list[Any], filter: expr.Filter, patch: Document) -> None:
        """What a later operation of a batch selects, it selects after the earlier ones."""
        operations: list[Operation] = [
            Upsert(_batch(rows)),
            SetPayload(PointSelector(filter=filter), patch),
            DeletePoints(PointSelector(ids=[rows[0][0]])),
        ]
        self.collection.batch(operations)
        self._replace(rows)
        for point_id in self._matching(filter):
            own, document = self.points[point_id]
            self.points[point_id] = (own, {**document, **patch})
        del self.points[rows[0][0]]

    # ---- life -------------------------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        self.collection.wait_settled(timeout_s=30)

    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.database = Database.open(self.directory, config=CONFIG)
        self.collection = self.database.collection(NAME)

    # ---- reads ------------------------------------------------------------------------------------------

    @invariant()
    def holds_the_points(self) -> None:
        page = self.collection.scroll(ScrollRequest(limit=1000, with_vectors=True))
        assert [record.id for record in page.records] == sorted(self.points, key=_id_order)
        assert self.collection.count() == len(self.points)
        for record in page.records:
            own, document = self.points[record.id]
            assert payloads.decode(record.payload) == document
            assert record.vectors is not None
            assert {name: vector.tolist() for name, vector in record.vectors.items()} == {
                name: _array(name, own[name]).tolist() for name in own
            }

    @rule(filter=filters)
    def filters_agree(self, filter: expr.Filter) -> None:
        page = self.collection.scroll(ScrollRequest(limit=1000, filter=filter))
        assert {record.id for record in page.records} == self._matching(filter)
        assert self.collection.count(filter) == len(page.records)

    @rule(key=st.sampled_from("abc"), descending=st.booleans())
    def orders_agree(self, key: str, descending: bool) -> None:
        page = self.collection.scroll(ScrollRequest(limit=1000, order_by=OrderBy(key, descending)))
        expected = {
            (number, point_id)
            for point_id, (_, document) in self.points.items()
            for number in _numbers(document.get(key))
        }
        assert {(record.order_value, record.id) for record in page.records} == expected
        found = [record.order_value for record in page.records]
        assert found == sorted(found, reverse=descending)

    @rule(
        data=st.data(),
        name=st.sampled_from(sorted(SIZES)),
        limit=st.integers(1, 30),
        filter=st.one_of(st.none(), filters),
        exact=st.booleans(),
    )
    def searches_agree(
        self, data: st.DataObject, name: str, limit: int, filter: expr.Filter | None, exact: bool
    ) -> None:
        vector = _array(name, data.draw(matrix if name == "tokens" else one_vector))
        request = SearchRequest(
            vector, using=name, limit=limit, filter=filter, params=SearchParams(exact=exact)
        )
        (hits,) = self.collection.search([request])
        chosen = self.points.keys() if filter is None else self._matching(filter)
        scores = {
            point_id: _score(name, vector, _array(name, self.points[point_id][0][name]))
            for point_id in chosen
            if name in self.points[point_id][0]
        }
        expected = sorted(scores.values(), reverse=SCHEMA.vectors[name].distance.larger_is_nearer)[:limit]
        np.testing.assert_allclose([hit.score for hit in hits], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            [hit.score for hit in hits], [scores[hit.record.id] for hit in hits], rtol=1e-5, atol=1e-5
        )
        assert len({hit.record.id for hit in hits}) == len(hits)

    # ---- model ------------------------------------------------------------------------------------------

    def _replace(self, rows: list[tuple[PointId, Vectors, Document]]) -> None:
        for point_id, own, document in rows:
            self.points[point_id] = (own, document)

    def _matching(self, filter: expr.Filter) -> set[PointId]:
        return {
            point_id
            for point_id, (own, document) in self.points.items()
            if matches(filter, document, point_id, own)
        }


def _id_order(point_id: PointId) -> tuple[bool, Any]:
    return (isinstance(point_id, UUID), point_id)


def _numbers(value: Any) -> list[int]:
    listed = value if isinstance(value, list) else [value]
    return [number for number in listed if isinstance(number, int)]


def _score(name: str, one: np.ndarray, other: np.ndarray) -> float:
    if name == "tokens":
        return float((one @ other.T).max(axis=1).sum())
    return float(one @ other) if name == "image" else float(np.linalg.norm(one - other))


TestEmbeddedModel = EmbeddedModel.TestCase
TestEmbeddedModel.settings = settings(max_examples=40, stateful_step_count=30)
