"""Documents of many vectors through the storage layer: written, sealed, merged, damaged, searched."""

from pathlib import Path

import numpy as np
import pytest

from nearfield.engine import (
    Collection,
    CollectionSchema,
    Database,
    Datatype,
    Distance,
    EngineConfig,
    MultiVectorSpec,
    PointBatch,
    PointSelector,
    SearchParams,
    SearchRequest,
    TokenEncoding,
    VectorColumn,
    VectorSpec,
)
from nearfield.engine.errors import InvalidRequest, StorageError, Unprocessable
from nearfield.engine.filter.parse import parse_filter
from nearfield.engine.storage import read_only, verify
from nearfield.engine.storage.segment_files import SectionFile
from tests.helpers.documents import Tokens, documents, ranking

SIZE = 8
EAGER = EngineConfig(threads=1, growing_bytes_seal=2_000, sealed_segments_target=2, settle_pause_s=0.05)
PATIENT = EngineConfig(threads=1, background=False)
ENCODINGS = list(TokenEncoding)


def _schema(
    distance: Distance = Distance.DOT, spec: MultiVectorSpec | None = None, dense: bool = False
) -> CollectionSchema:
    vectors = {"tokens": VectorSpec(SIZE, distance, multivector=spec or MultiVectorSpec())}
    if dense:
        vectors["dense"] = VectorSpec(4, Distance.COSINE)
    return CollectionSchema(vectors)


def _batch(stored: list[Tokens], first: int = 0) -> PointBatch:
    payloads = [b'{"n":%d}' % (i % 3) for i in range(first, first + len(stored))]
    column = VectorColumn.of_documents(stored)
    return PointBatch(range(first, first + len(stored)), {"tokens": column}, payloads)


def _stored(collection: Collection, point: int) -> Tokens | None:
    [record] = collection.retrieve([point], with_vectors=True)
    assert record.vectors is not None
    return record.vectors.get("tokens")


def _tolerance(encoding: TokenEncoding) -> float:
    return {"float32": 0.0, "float16": 2e-3, "lvq8": 0.05, "lvq4": 0.5}[encoding.value]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_written_comes_back_through_every_stage(tmp_path: Path, encoding: TokenEncoding) -> None:
    given = documents(60, longest=9)
    schema = _schema(spec=MultiVectorSpec(encoding=encoding), dense=True)

    def check(collection: Collection) -> None:
        assert collection.count() == len(expected)
        for point, tokens in expected.items():
            found = _stored(collection, point)
            if tokens is None:
                assert found is None
            else:
                assert found is not None and found.shape == tokens.shape
                np.testing.assert_allclose(found, tokens, atol=_tolerance(encoding), rtol=0)

    with Database.open(tmp_path, config=PATIENT) as database:
        collection = database.create_collection("c", schema)
        collection.upsert(_batch(given[:40]))
        expected: dict[int, Tokens | None] = dict(enumerate(given[:40]))
        # Only some points of a batch have the vector; the others keep what they had.
        some = VectorColumn.of_documents([given[50], given[51]], np.array([0, 2]))
        collection.update_vectors(PointBatch([3, 5, 8], {"tokens": some}))
        expected |= {3: given[50], 8: given[51]}
        collection.delete_vectors(PointSelector(ids=[1, 2]), ["tokens"])
        expected |= {1: None, 2: None}
        collection.upsert(PointBatch([70], {"dense": VectorColumn(np.ones((1, 4), np.float32))}))
        expected[70] = None
        check(collection)
    with Database.open(tmp_path, config=EAGER) as database:
        collection = database.collection("c")
        check(collection)
        for first in range(40, 60, 5):
            collection.upsert(_batch(given[first : first + 5], first))
            expected |= dict(enumerate(given[first : first + 5], first))
        collection.delete(PointSelector(ids=list(range(10, 30))))
        for point in range(10, 30):
            del expected[point]
        check(collection)
        collection.wait_settled(30)
        assert collection.info().bytes["vectors"] > 0
        check(collection)
    with Database.open(tmp_path, config=EAGER) as database:
        check(database.collection("c"))
    assert verify.verify_directory(tmp_path) == []


@pytest.mark.parametrize("distance", list(Distance))
def test_search_is_exact_over_growing_and_sealed_rows(tmp_path: Path, distance: Distance) -> None:
    given, queries = documents(90), documents(8, seed=1)
    with Database.open(tmp_path, config=EAGER) as database:
        collection = database.create_collection("c", _schema(distance))
        for first in range(0, 90, 30):
            collection.upsert(_batch(given[first : first + 30], first))
        for wanted in ([*range(90)], [point for point in range(90) if point % 3 == 1]):
            condition = None
            if len(wanted) < 90:
                condition = parse_filter({"must": [{"key": "n", "match": {"value": 1}}]})
            requests = [SearchRequest(query, "tokens", limit=9, filter=condition) for query in queries]
            answers = collection.search(requests)
            for query, hits in zip(queries, answers, strict=True):
                expected = ranking(query, [given[point] for point in wanted], distance)[:9]
                assert [hit.record.id for hit in hits] == [wanted[at] for _, at in expected]
                np.testing.assert_allclose(
                    [hit.score for hit in hits], [score for score, _ in expected], rtol=1e-4
                )
            collection.wait_settled(30)
        [second] = collection.search([SearchRequest(queries[0], "tokens", limit=4, offset=2)])
        assert [hit.record.id for hit in second] == [
            at for _, at in ranking(queries[0], given, distance)[2:6]
        ]
        best = ranking(queries[0], given, distance)[2][0]
        [near] = collection.search([SearchRequest(queries[0], "tokens", limit=9, score_threshold=best)])
        assert 2 <= len(near) <= 3
        [by_id] = collection.search([SearchRequest(7, "tokens", limit=3)])
        assert [hit.record.id for hit in by_id] == [
            at for _, at in ranking(given[7], given, distance) if at != 7
        ][:3]


def test_nothing_is_found_in_an_empty_collection(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        collection = database.create_collection("c", _schema())
        for exact in (False, True):
            params = SearchParams(exact=exact)
            assert collection.search([SearchRequest(documents(1)[0], "tokens", params=params)]) == [[]]
        collection.upsert(_batch(documents(3)))
        collection.delete(PointSelector(ids=[0, 1, 2]))
        collection.wait_settled(30)
        assert collection.search([SearchRequest(documents(1)[0], "tokens")]) == [[]]


def test_cosine_tokens_are_stored_with_unit_length(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        collection = database.create_collection("c", _schema(Distance.COSINE))
        given = documents(3)
        before = [tokens.copy() for tokens in given]
        collection.upsert(_batch(given))
        np.testing.assert_array_equal(given[0], before[0])
        for point in range(3):
            found = _stored(collection, point)
            assert found is not None
            np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_documents_of_one_size_are_sealed_without_offsets(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((4, SIZE)).astype(np.float32) for _ in range(40)]
    with Database.open(tmp_path, config=EAGER) as database:
        collection = database.create_collection("c", _schema(spec=MultiVectorSpec(vectors_per_document=4)))
        collection.upsert(_batch(given))
        collection.wait_settled(30)
        with pytest.raises(InvalidRequest, match=r"expected 4 vectors.*got 5.*") as error:
            collection.upsert(_batch([given[0], np.ones((5, SIZE), np.float32)]))
        assert error.value.path == "vectors['tokens'][1]"
        [hits] = collection.search([SearchRequest(given[9], "tokens", limit=2)])
        assert [hit.record.id for hit in hits] == [at for _, at in ranking(given[9], given, Distance.DOT)[:2]]
        np.testing.assert_array_equal(_stored(collection, 39), given[39])
    [file] = tmp_path.glob("collections/*/segments/*/vectors.nfs")
    assert sorted(SectionFile(file).sections) == ["rows", "vectors/0"]


@pytest.mark.parametrize("distance", [Distance.COSINE, Distance.DOT])
def test_pooling_stores_fewer_vectors(tmp_path: Path, distance: Distance) -> None:
    rng = np.random.default_rng(0)
    near = rng.standard_normal((4, SIZE)).astype(np.float32)
    # Tokens that come in pairs and in fours are pooled into what each pair and four has in common.
    given = [np.repeat(near, 4, axis=0), near[:1]]
    with Database.open(tmp_path, config=PATIENT) as database:
        for name, spec, lengths in (
            ("by factor", MultiVectorSpec(pool_factor=4), (4, 1)),
            ("to a number", MultiVectorSpec(pool_to=5), (5, 5)),
        ):
            collection = database.create_collection(name, _schema(distance, spec))
            collection.upsert(_batch(given))
            for point, length in enumerate(lengths):
                found = _stored(collection, point)
                assert found is not None and len(found) == length
            [hits] = collection.search([SearchRequest(near, "tokens", limit=1)])
            assert hits[0].record.id == 0
            [everything] = ranking(near, given[:1], distance)
            if name == "to a number":
                assert hits[0].score == pytest.approx(everything[0], rel=1e-4)
    with Database.open(tmp_path, config=PATIENT) as database:
        assert database.collection("to a number").schema == _schema(distance, MultiVectorSpec(pool_to=5))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (VectorColumn(np.ones((1, SIZE), np.float32)), "expected a matrix"),
        (VectorColumn.of_documents([np.ones((2, SIZE - 1), np.float32)]), "expected dim: 8, got 7"),
        (VectorColumn(np.ones((2, SIZE), np.float32), None, np.array([0, 3])), "lead from 0 to 2"),
        (VectorColumn(np.ones((2, SIZE), np.float32), None, np.array([0, 1, 2])), "expected 1 vectors"),
        (VectorColumn(np.ones((0, SIZE), np.float32), None, np.array([0, 0])), "at least one vector"),
        (VectorColumn.of_documents([np.full((2, SIZE), np.nan, np.float32)]), "must be finite"),
        (VectorColumn.of_documents([np.ones((70_000, SIZE), np.float32)]), "at most 65536 vectors"),
    ],
)
def test_bad_documents_are_refused_whole(tmp_path: Path, column: VectorColumn, message: str) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        collection = database.create_collection("c", _schema(dense=True))
        with pytest.raises(InvalidRequest, match=message):
            collection.upsert(PointBatch([1], {"tokens": column}))
        with pytest.raises(InvalidRequest, match="got a matrix"):
            dense = VectorColumn.of_documents([np.ones((1, 4), np.float32)])
            collection.upsert(PointBatch([1], {"dense": dense}))
        assert collection.count() == 0


def test_a_bad_number_is_named_by_document_and_token(tmp_path: Path) -> None:
    given = [np.ones((length, SIZE), np.float32) for length in (2, 1, 3)]
    given[2][1, 4] = np.inf
    with Database.open(tmp_path, config=PATIENT) as database:
        collection = database.create_collection("c", _schema())
        with pytest.raises(InvalidRequest) as error:
            collection.upsert(_batch(given))
        assert error.value.path == "vectors['tokens'][2][1]"


@pytest.mark.parametrize(
    ("query", "using", "message"),
    [
        (np.ones(SIZE, np.float32), "tokens", "expected a matrix"),
        (np.ones((2, 4), np.float32), "dense", "got a matrix"),
        (np.ones((0, SIZE), np.float32), "tokens", "at least one vector"),
        (np.ones((2, SIZE + 1), np.float32), "tokens", "expected dim: 8, got 9"),
        (np.full((2, SIZE), np.nan, np.float32), "tokens", "must be finite"),
    ],
)
def test_bad_queries(tmp_path: Path, query: Tokens, using: str, message: str) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        collection = database.create_collection("c", _schema(dense=True))
        collection.upsert(_batch(documents(2)))
        with pytest.raises(InvalidRequest, match=message):
            collection.search([SearchRequest(query, using)])


def test_what_cannot_be_a_multivector() -> None:
    with pytest.raises(InvalidRequest, match="got uint8"):
        VectorSpec(SIZE, Distance.DOT, Datatype.UINT8, multivector=MultiVectorSpec())
    with pytest.raises(InvalidRequest, match="got lvq4"):
        coded = MultiVectorSpec(encoding=TokenEncoding.LVQ4)
        VectorSpec(SIZE, Distance.EUCLID, multivector=coded)
    with pytest.raises(InvalidRequest, match="not with distance Manhattan"):
        VectorSpec(SIZE, Distance.MANHATTAN, multivector=MultiVectorSpec(pool_factor=2))
    with pytest.raises(Unprocessable, match="not both"):
        MultiVectorSpec(pool_factor=2, pool_to=8)
    with pytest.raises(Unprocessable, match="vectors_per_document"):
        MultiVectorSpec(vectors_per_document=0)


def test_format_versions(tmp_path: Path) -> None:
    """Programs that know no multi-vectors must refuse such a collection, and still read all others."""
    with Database.open(tmp_path, config=PATIENT) as database:
        database.create_collection("many", _schema())
        database.create_collection("one", CollectionSchema({"": VectorSpec(SIZE, Distance.DOT)}))
    catalog = read_only.read_catalog(tmp_path)
    for name, version in (("many", 2), ("one", 1)):
        path = tmp_path / "collections" / catalog.collections[name] / "points.db"
        with read_only.open_read_only(path) as connection:
            assert read_only.read_points_view(connection, path).format_version == version


@pytest.mark.parametrize("section", ["offsets/0", "vectors/0"])
def test_damaged_tokens_are_never_returned(tmp_path: Path, section: str) -> None:
    with Database.open(tmp_path, config=EAGER) as database:
        collection = database.create_collection("c", _schema())
        collection.upsert(_batch(documents(60)))
        collection.wait_settled(30)
        assert collection.info().segments == 1
    [file] = tmp_path.glob("collections/*/segments/*/vectors.nfs")
    entry = SectionFile(file).sections[section]._entry
    with file.open("r+b") as stream:
        stream.seek(entry.offset + entry.length // 2)
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 1]))
    assert [finding.kind for finding in verify.verify_directory(tmp_path)] == ["primary"]
    with Database.open(tmp_path, config=EAGER) as database, pytest.raises(StorageError, match="checksum"):
        database.collection("c").search([SearchRequest(documents(1)[0], "tokens")])
