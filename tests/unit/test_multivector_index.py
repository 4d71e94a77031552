"""Indexes over sealed multi-vectors: built in the background, opened again, rebuilt when damaged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nearfield.engine import (
    Collection,
    CollectionSchema,
    Database,
    Distance,
    EngineConfig,
    MultiVectorSpec,
    PointBatch,
    PointSelector,
    SearchParams,
    SearchRequest,
    VectorColumn,
    VectorSpec,
)
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.storage.verify import verify_directory
from nearfield.server.codec.collections import recall_json
from tests.helpers.documents import documents, ranking

COUNT, SIZE = 400, 16
GIVEN = documents(COUNT, size=SIZE)
QUERIES = documents(6, seed=1, size=SIZE)
EVERYTHING = SearchParams(search={"candidates": COUNT})
CONFIG = EngineConfig(
    threads=1, growing_bytes_seal=30_000, multivector_index_rows_min=100, settle_pause_s=0.05
)
IDLE = EngineConfig(threads=1, multivector_index_rows_min=100, background=False)
THIRD = parse_filter({"must": [{"key": "n", "match": {"value": 1}}]})


def _schema(kind: str = "auto", distance: Distance = Distance.DOT, **params: object) -> CollectionSchema:
    index = {"kind": kind, "params": params}
    return CollectionSchema({"": VectorSpec(SIZE, distance, index=index, multivector=MultiVectorSpec())})


def _fill(data: Path, schema: CollectionSchema) -> None:
    with Database.open(data, config=CONFIG) as database:
        collection = database.create_collection("c", schema)
        for first in range(0, COUNT, 100):
            payloads = [b'{"n":%d}' % (i % 3) for i in range(first, first + 100)]
            column = VectorColumn.of_documents(GIVEN[first : first + 100])
            collection.upsert(PointBatch(range(first, first + 100), {"": column}, payloads))
        collection.wait_settled(60)
        assert collection.info().indexed_vectors == COUNT


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A settled collection; tests that change it take a copy."""
    data = tmp_path_factory.mktemp("data")
    _fill(data, _schema())
    yield data


def _check(collection: Collection, params: SearchParams, distance: Distance = Distance.DOT) -> None:
    """Answers are those of an exact search."""
    requests = [SearchRequest(query, limit=7, params=params) for query in QUERIES]
    for query, hits in zip(QUERIES, collection.search(requests), strict=True):
        expected = ranking(query, GIVEN, distance)[:7]
        assert [hit.record.id for hit in hits] == [at for _, at in expected]
        np.testing.assert_allclose([hit.score for hit in hits], [score for score, _ in expected], rtol=1e-4)


def _index_files(data: Path) -> list[Path]:
    """Of the index in use, not of those set aside."""
    folders = [one for one in data.glob("collections/*/segments/*/index-*") if one.suffix != ".damaged"]
    return sorted(file for folder in folders for file in folder.rglob("*") if file.is_file())


def test_scores_are_exact_whatever_the_candidates(filled: Path) -> None:
    with Database.open(filled, config=IDLE) as database:
        collection = database.collection("c")
        _check(collection, EVERYTHING)
        _check(collection, SearchParams(exact=True))
        for params in (SearchParams(search={"candidates": 20}), SearchParams(search={"oversampling": 3.0})):
            for query in QUERIES:
                [hits] = collection.search([SearchRequest(query, limit=7, params=params)])
                scores = {at: score for score, at in ranking(query, GIVEN, Distance.DOT)}
                found = [scores[int(hit.record.id)] for hit in hits]  # type: ignore[arg-type]
                assert len(hits) == 7 and found == sorted(found, reverse=True)
                np.testing.assert_allclose([hit.score for hit in hits], found, rtol=1e-4)
        [hits] = collection.search([SearchRequest(QUERIES[0], limit=200, filter=THIRD)])
        assert sorted(int(hit.record.id) for hit in hits) == list(range(1, COUNT, 3))  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="oversampling"):
            bad = SearchParams(search={"oversampling": 0.5})
            collection.search([SearchRequest(QUERIES[0], limit=7, params=bad)])


def test_a_search_is_estimated_by_what_it_ranks(filled: Path) -> None:
    """The server answers cheap searches at once and hands dear ones to a worker."""
    with Database.open(filled, config=IDLE) as database:
        collection = database.collection("c")

        def cost(tokens: int, params: SearchParams) -> int:
            query = np.ones((tokens, SIZE), np.float32)
            return collection.search_cost_hint([SearchRequest(query, params=params)])

        exact, few, all_of_them = SearchParams(exact=True), SearchParams(search={"candidates": 4}), EVERYTHING
        assert cost(64, exact) == 8 * cost(8, exact) == 8 * sum(tokens.nbytes for tokens in GIVEN)
        assert cost(64, all_of_them) - cost(64, few) == pytest.approx(0.99 * cost(64, exact), rel=1e-3)


def test_recall_is_measured_and_asked_for(filled: Path) -> None:
    with Database.open(filled, config=IDLE) as database:
        collection = database.collection("c")
        [segment] = collection.recall()[""]
        assert segment.rows == COUNT and segment.index is not None and segment.index.kind == "muvera"
        assert segment.calibration is not None and segment.index.params["target_recall"] == 0.98
        enough = segment.calibration.width_for(0.9)
        shown = recall_json(collection.recall(), 0.9, 10)["vectors"][""][0]
        assert shown["target"] == {"candidates": enough, "reached": True}
        assert shown["measured"]["candidates"] == list(segment.calibration.widths)
        _check(collection, SearchParams(search={"target_recall": 1.0}))
        counted, asked = (
            collection.search(
                [SearchRequest(query, limit=7, params=SearchParams(search=knobs)) for query in QUERIES]
            )
            for knobs in ({"candidates": enough}, {"target_recall": 0.9})
        )
        assert counted == asked
        few = SearchParams(search={"candidates": 6})
        with pytest.raises(InvalidRequest, match=r"candidates must be at least .* 7, got 6"):
            collection.search([SearchRequest(QUERIES[0], limit=5, offset=2, params=few)])


def test_an_index_is_opened_again_and_not_rebuilt(filled: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in _index_files(filled)}
    with Database.open(filled, config=CONFIG) as database:
        collection = database.collection("c")
        assert collection.info().indexed_vectors == COUNT
        collection.wait_settled(60)
    assert before and {file: file.stat().st_mtime_ns for file in _index_files(filled)} == before


@pytest.mark.parametrize("damage", ["flipped bit", "cut short", "missing"])
def test_a_damaged_index_costs_a_rebuild_and_no_answer(tmp_path: Path, damage: str) -> None:
    _fill(tmp_path, _schema("muvera", cells="simhash", repetitions=2, bits=2, projected=8))
    files = len(_index_files(tmp_path))
    assert files > 2
    for number in sorted({0, files // 2, files - 1}):
        file = _index_files(tmp_path)[number]
        content = bytearray(file.read_bytes())
        if damage == "missing":
            file.unlink()
        elif damage == "cut short":
            file.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 2] ^= 4
            file.write_bytes(content)
        found = [finding.kind for finding in verify_directory(tmp_path)]
        assert [kind for kind in found if kind != "leftover"] == ["derived"]
        with Database.open(tmp_path, config=IDLE) as database:
            collection = database.collection("c")
            assert collection.info().indexed_vectors == 0 and collection.info().error is None
            _check(collection, SearchParams(search={"candidates": 7}))
            collection.wait_settled(60)
            assert collection.info().indexed_vectors == COUNT
            _check(collection, EVERYTHING)
        assert {finding.kind for finding in verify_directory(tmp_path)} == {"leftover"}
        with Database.open(tmp_path, config=IDLE) as database:
            assert database.collection("c").info().indexed_vectors == COUNT


def test_deleted_and_changed_documents(tmp_path: Path) -> None:
    _fill(tmp_path, _schema("muvera", cells="simhash", repetitions=2, bits=2, projected=8))
    with Database.open(tmp_path, config=CONFIG) as database:
        collection = database.collection("c")
        [best] = collection.search([SearchRequest(QUERIES[0], limit=1)])
        gone = int(best[0].record.id)  # type: ignore[arg-type]
        collection.delete(PointSelector(ids=[gone]))
        new = VectorColumn.of_documents([10 * QUERIES[0]])
        collection.update_vectors(PointBatch([(gone + 1) % COUNT], {"": new}))
        collection.delete(PointSelector(ids=[point for point in range(100) if point != (gone + 1) % COUNT]))
        for _ in range(2):
            [hits] = collection.search([SearchRequest(QUERIES[0], limit=5)])
            assert hits[0].record.id == (gone + 1) % COUNT
            assert all(hit.record.id != gone for hit in hits)
            collection.wait_settled(60)


@pytest.mark.parametrize("distance", [Distance.EUCLID, Distance.MANHATTAN])
def test_distances_without_an_index_are_scanned(tmp_path: Path, distance: Distance) -> None:
    with Database.open(tmp_path, config=CONFIG) as database:
        collection = database.create_collection("c", _schema("auto", distance))
        collection.upsert(PointBatch(range(COUNT), {"": VectorColumn.of_documents(GIVEN)}))
        collection.wait_settled(60)
        assert collection.info().indexed_vectors == 0
        _check(collection, SearchParams(), distance)
        with pytest.raises(InvalidRequest, match=f"not {distance}"):
            database.create_collection("d", _schema("muvera", distance))


def test_kinds_are_checked_when_a_collection_is_created(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=IDLE) as database:
        with pytest.raises(InvalidRequest, match="muvera"):
            database.create_collection("a", _schema("hnsw"))
        with pytest.raises(InvalidRequest, match="cells"):
            database.create_collection("a", _schema("muvera", cells="round"))
        collection = database.create_collection("a", _schema("flat"))
        with pytest.raises(InvalidRequest):
            collection.update_schema(vector_index={"": {"kind": "lvq", "params": {}}})
        collection.update_schema(vector_index={"": {"kind": "muvera", "params": {"cells": "simhash"}}})
