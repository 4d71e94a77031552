"""Documents that come, change and go, under merges that carry their index over, against a dictionary."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

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
from nearfield.index_builders.multivector.builder import MuveraBuilder
from nearfield.index_builders.multivector.index import MuveraIndex
from tests.helpers.documents import ranking
from tests.helpers.themed_documents import DIMENSIONS, rotated, themed

Tokens = NDArray[np.float32]

CONFIG = EngineConfig(
    threads=1, growing_bytes_seal=60_000, multivector_index_rows_min=300, settle_rows_min=20,
    sealed_segments_target=2, settle_pause_s=0.02, background=False,
)  # fmt: skip
PARAMS = {"cells": "kmeans", "cell_count": 12, "dimensions": 24}
SCHEMA = CollectionSchema(
    {
        "": VectorSpec(
            DIMENSIONS,
            Distance.DOT,
            index={"kind": "muvera", "params": PARAMS},
            multivector=MultiVectorSpec(),
        )
    }
)
EVERYTHING = SearchParams(search={"candidates": 100_000})


def split(documents: tuple[Tokens, NDArray[np.int64]]) -> list[Tokens]:
    tokens, offsets = documents
    return [tokens[start:end] for start, end in pairwise(offsets)]


def upsert(collection: Collection, stored: dict[int, Tokens], points: dict[int, Tokens]) -> None:
    collection.upsert(PointBatch(list(points), {"": VectorColumn.of_documents(list(points.values()))}))
    stored |= points


def check(collection: Collection, stored: dict[int, Tokens], queries: list[Tokens]) -> None:
    """With as many candidates as there are documents answers are exact; by default nearly all are found."""
    points = list(stored)
    for params, least in ((EVERYTHING, 1.0), (SearchParams(), 0.8)):
        answers = collection.search([SearchRequest(query, limit=10, params=params) for query in queries])
        for query, hits in zip(queries, answers, strict=True):
            true = [points[at] for _, at in ranking(query, list(stored.values()), Distance.DOT)[:10]]
            found = [hit.record.id for hit in hits]
            assert len(set(found) & set(true)) >= least * len(true)
            if params is EVERYTHING:
                assert found == true


def indexes(collection: Collection) -> list[MuveraIndex]:
    found = [segment.multivector_index("") for segment in collection._parts.pinned]
    return [index for index in found if isinstance(index, MuveraIndex)]


@pytest.fixture
def learnings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many documents each build learned from, in turn."""
    seen: list[int] = []
    learn = MuveraBuilder.encoding

    def counted(self: MuveraBuilder, documents: object, *rest: object) -> object:
        seen.append(documents.count)  # type: ignore[attr-defined]
        return learn(self, documents, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MuveraBuilder, "encoding", counted)
    return seen


def test_documents_of_one_kind_are_learned_once(tmp_path: Path, learnings: list[int]) -> None:
    rng = np.random.default_rng(3)
    pool = split(themed(1_200, empty_each=0))
    queries = split(themed(6, seed=7, empty_each=0))
    stored: dict[int, Tokens] = {}
    with Database.open(tmp_path, config=CONFIG) as database:
        collection = database.create_collection("c", SCHEMA)
        upsert(collection, stored, dict(enumerate(pool[:600])))
        collection.wait_settled(60)
    for turn in range(4):
        with Database.open(tmp_path, config=CONFIG) as database:
            collection = database.collection("c")
            fresh = {600 + 60 * turn + at: pool[600 + 90 * turn + at] for at in range(60)}
            changed = {
                int(id): pool[690 + 90 * turn - at] for at, id in enumerate(rng.choice(list(stored), 30))
            }
            upsert(collection, stored, fresh | changed)
            gone = [int(id) for id in rng.choice(list(stored), 80, replace=False)]
            collection.delete(PointSelector(ids=gone))
            for id in gone:
                del stored[id]
            check(collection, stored, queries)
            collection.wait_settled(60)
            check(collection, stored, queries)
            assert collection.count() == len(stored)
            assert sum(index.count for index in indexes(collection)) >= 500
    assert len(learnings) == 1 and learnings[0] >= 500, learnings
    assert all(
        index.learned is not None and index.learned.documents == learnings[0] for index in indexes(collection)
    )


def test_documents_of_another_kind_are_learned_from(tmp_path: Path, learnings: list[int]) -> None:
    stored: dict[int, Tokens] = {}
    with Database.open(tmp_path, config=CONFIG) as database:
        collection = database.create_collection("c", SCHEMA)
        upsert(collection, stored, dict(enumerate(split(themed(600, empty_each=0)))))
        collection.wait_settled(60)
        first = list(learnings)
        others = split(rotated(themed(240, seed=4, empty_each=0)))
        upsert(collection, stored, {600 + at: tokens for at, tokens in enumerate(others)})
        collection.delete(PointSelector(ids=list(range(130))))
        for id in range(130):
            del stored[id]
        collection.wait_settled(60)
        assert len(learnings) > len(first) and learnings[-1] > 600, learnings
        check(collection, stored, split(rotated(themed(6, seed=7, empty_each=0))))
