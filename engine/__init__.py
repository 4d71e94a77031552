"""Nearfield engine: storage, filters, search and the native core, usable without a server.

from nearfield.engine import *

with Database.open("data") as database:
    books = database.create_collection("books", CollectionSchema({"": VectorSpec(384, Distance.COSINE)}))
    books.upsert(PointBatch(ids=[1, 2], vectors={"": VectorColumn(vectors)}))
    [hits] = books.search([SearchRequest(query=vectors[0], limit=5)])
"""

from nearfield.engine.collection import Collection
from nearfield.engine.config import EngineConfig
from nearfield.engine.database import Database
from nearfield.engine.multivector.pooling import pool_to_constant, pool_tokens
from nearfield.engine.multivector.token_rows import TokenEncoding
from nearfield.engine.point import PointBatch, PointId, VectorColumn
from nearfield.engine.query import (
    CollectionInfo,
    Fusion,
    FusionMethod,
    OrderBy,
    PayloadSelector,
    PointSelector,
    Prefetch,
    Record,
    ScoredPoint,
    ScrollPage,
    ScrollRequest,
    SearchParams,
    SearchRequest,
)
from nearfield.engine.schema import (
    CollectionSchema,
    Datatype,
    Distance,
    FieldType,
    MultiVectorSpec,
    VectorSpec,
)
from nearfield.engine.storage.catalog import CreateAlias, DeleteAlias, RenameAlias

__all__ = [
    "Collection",
    "CollectionInfo",
    "CollectionSchema",
    "CreateAlias",
    "Database",
    "Datatype",
    "DeleteAlias",
    "Distance",
    "EngineConfig",
    "FieldType",
    "Fusion",
    "FusionMethod",
    "MultiVectorSpec",
    "OrderBy",
    "PayloadSelector",
    "PointBatch",
    "PointId",
    "PointSelector",
    "Prefetch",
    "Record",
    "RenameAlias",
    "ScoredPoint",
    "ScrollPage",
    "ScrollRequest",
    "SearchParams",
    "SearchRequest",
    "TokenEncoding",
    "VectorColumn",
    "VectorSpec",
    "pool_to_constant",
    "pool_tokens",
]
