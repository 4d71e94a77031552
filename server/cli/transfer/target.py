"""A collection to read from or write to, whether behind a URL or in a directory."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from nearfield.engine.errors import NotFound
from nearfield.engine.point import PointBatch, PointId
from nearfield.server.cli.formats.base import VectorShape


@dataclass(frozen=True)
class Page:
    """Points by ascending id, and the id that the next page starts at (None: that was the last)."""

    batch: PointBatch
    next_id: PointId | None


class Target(Protocol):
    """One collection, which need not exist yet. `close` when done."""

    place: str
    """Where it is: a URL or a directory, as a person would write it."""

    def vectors(self) -> dict[str, VectorShape] | None:
        """The collection's vectors by name; None when there is no such collection."""

    def create(self, vectors: Mapping[str, VectorShape]) -> None:
        """Creates the collection."""

    def count(self) -> int:
        """Points in it."""

    def submit(self, batch: PointBatch) -> Future[Any]:
        """Starts an upsert; the future resolves once the batch is durable."""

    def pages(self, names: list[str], first: PointId | None, size: int) -> Iterator[Page]:
        """All points from an id on, with the named vectors and payloads."""

    def wait_settled(self) -> None:
        """Returns when sealing, merging and index builds are done."""

    def close(self) -> None:
        """Lets go of the connection or the directory."""


def existing_vectors(target: Target, collection: str) -> dict[str, VectorShape]:
    """The vectors of a collection that must be there.

    Raises:
        NotFound: it is not.
    """
    vectors = target.vectors()
    if vectors is None:
        raise NotFound(f"there is no collection {collection!r} at {target.place}")
    return vectors
