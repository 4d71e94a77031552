"""Data sets in collections of a database in this process."""

from typing import Final

from nearfield.bench.datasets import Dataset
from nearfield.engine import Database
from nearfield.engine.collection import Collection
from nearfield.engine.schema import UNNAMED, CollectionSchema, Datatype, Distance, VectorSpec

BATCH: Final = 5_000
"""Points of one write."""
SETTLE_LIMIT_S: Final = 1_800.0

_DISTANCES: Final = {"l2": Distance.EUCLID, "ip": Distance.DOT, "cosine": Distance.COSINE}


def new_collection(database: Database, dataset: Dataset) -> Collection:
    """An empty collection for the data set's vectors, with the default index."""
    spec = VectorSpec(dataset.dimensions, _DISTANCES[dataset.metric], Datatype(str(dataset.base.dtype)))
    return database.create_collection("bench", CollectionSchema({UNNAMED: spec}))
