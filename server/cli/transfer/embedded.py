"""A collection in a data directory, opened in this process; no server may have the directory open."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import numpy as np

from nearfield.engine.collection import Collection
from nearfield.engine.database import Database
from nearfield.engine.errors import NotFound
from nearfield.engine.operation import Upsert
from nearfield.engine.point import PointBatch, PointId, VectorColumn
from nearfield.engine.query import PayloadSelector, Record, ScrollRequest
from nearfield.engine.schema import CollectionSchema, Distance, MultiVectorSpec, VectorSpec
from nearfield.server.cli.formats.base import VectorShape
from nearfield.server.cli.transfer.target import Page

SETTLE_TIMEOUT_S: Final = 24 * 3600.0


class EmbeddedCollection:
    """See Target.

    Raises:
        DirectoryLocked: a server or another program has the directory open.
    """

    def __init__(self, data: Path, collection: str) -> None:
        self.place = str(data)
        self._name = collection
        self._database = Database.open(data)

    @property
    def _collection(self) -> Collection:
        return self._database.collection(self._name)

    def vectors(self) -> dict[str, VectorShape] | None:
        """See Target."""
        try:
            specs = self._collection.schema.vectors
        except NotFound:
            return None
        return {
            name: VectorShape(spec.size, spec.datatype, spec.distance, spec.multivector is not None)
            for name, spec in specs.items()
        }

    def create(self, vectors: Mapping[str, VectorShape]) -> None:
        """See Target."""
        specs = {
            name: VectorSpec(
                shape.size,
                shape.distance or Distance.COSINE,
                shape.datatype,
                multivector=MultiVectorSpec() if shape.multivector else None,
            )
            for name, shape in vectors.items()
        }
        self._database.create_collection(self._name, CollectionSchema(specs))

    def count(self) -> int:
        """See Target."""
        return self._collection.count()

    def submit(self, batch: PointBatch) -> Future[Any]:
        """See Target."""
        return self._collection.submit(Upsert(batch))

    def pages(self, names: list[str], first: PointId | None, size: int) -> Iterator[Page]:
        """See Target."""
        whole = PayloadSelector(enabled=True)
        while True:
            page = self._collection.scroll(
                ScrollRequest(limit=size, offset=first, with_payload=whole, with_vectors=names)
            )
            first = page.next_offset
            yield Page(_to_batch(page.records, names), first)
            if first is None:
                return

    def wait_settled(self) -> None:
        """See Target."""
        self._collection.wait_settled(SETTLE_TIMEOUT_S)

    def close(self) -> None:
        """See Target."""
        self._database.close()


def _to_batch(records: Sequence[Record], names: list[str]) -> PointBatch:
    vectors = {}
    for name in names:
        present = [i for i, record in enumerate(records) if record.vectors and name in record.vectors]
        if present:
            values = [(records[i].vectors or {})[name] for i in present]
            points = None if len(present) == len(records) else np.array(present, np.int64)
            vectors[name] = VectorColumn.of_points(values, points)
    payloads = [record.payload if record.payload and record.payload != b"{}" else None for record in records]
    return PointBatch([record.id for record in records], vectors, payloads)
