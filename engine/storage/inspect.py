"""What a data directory holds: collections, segments and their sizes. Reads without the lock."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nearfield.engine.errors import StorageError
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.segment.sealed import FILE_NAME
from nearfield.engine.storage.durable import tree_bytes
from nearfield.engine.storage.read_only import (
    PointsView,
    holder,
    open_read_only,
    read_catalog,
    read_points_view,
)
from nearfield.engine.storage.segment_files import FORMAT_VERSION, SectionFile


@dataclass(frozen=True)
class SegmentReport:
    """One sealed segment.

    Args:
        indexes: index kind by vector name.
        bytes: on disk, by component: `vectors`, `other` (row numbers, presence, scales), `indexes`.
    """

    id: str
    rows: int
    dead_rows: int
    indexes: Mapping[str, str]
    bytes: Mapping[str, int]


@dataclass(frozen=True)
class VectorReport:
    """One named vector of a collection.

    Args:
        tokens: how the tokens of a multi-vector are stored; None for one vector per point.
    """

    name: str
    size: int
    distance: str
    datatype: str
    index: str
    tokens: str | None = None


@dataclass(frozen=True)
class CollectionReport:
    """One collection.

    Args:
        growing_rows: rows that no sealed segment holds yet, dead ones included.
        bytes: on disk, by component: `vectors`, `other`, `indexes`, `sqlite` (ids, payloads, growing rows).
        problem: why the collection could not be read; the rest is empty then.
    """

    name: str
    directory: str
    aliases: tuple[str, ...]
    format_version: int = 0
    points: int = 0
    growing_rows: int = 0
    dead_rows: int = 0
    operation: int = 0
    vectors: tuple[VectorReport, ...] = ()
    segments: tuple[SegmentReport, ...] = ()
    bytes: Mapping[str, int] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class DirectoryReport:
    """A whole data directory.

    Args:
        format_version: of the catalogue.
        segment_format_version: of the segment files this program reads and writes.
        in_use_by: process that has it open, if any.
        bytes: of all files.
    """

    path: str
    format_version: int
    segment_format_version: int
    in_use_by: int | None
    bytes: int
    collections: tuple[CollectionReport, ...]


def inspect_directory(directory: Path) -> DirectoryReport:
    """Describes a data directory; a collection that cannot be read is reported as such.

    Raises:
        NotFound: not a data directory.
        Corrupted: the catalogue is damaged.
    """
    catalog = read_catalog(directory)
    reports = []
    for name, folder in catalog.collections.items():
        aliases = tuple(alias for alias, collection in catalog.aliases.items() if collection == name)
        try:
            reports.append(_inspect_collection(directory / "collections" / folder, name, aliases))
        except StorageError as error:
            reports.append(CollectionReport(name, folder, aliases, problem=str(error)))
    return DirectoryReport(
        str(directory),
        catalog.format_version,
        FORMAT_VERSION,
        holder(directory),
        tree_bytes(directory),
        tuple(reports),
    )


def _inspect_collection(directory: Path, name: str, aliases: tuple[str, ...]) -> CollectionReport:
    path = directory / "points.db"
    with open_read_only(path) as connection:
        view = read_points_view(connection, path)
        (points,) = connection.execute("SELECT count(*) FROM points").fetchone()
    segments = tuple(
        _inspect_segment(directory / "segments" / id, manifest, view)
        for id, manifest in view.manifests.items()
    )
    totals = {key: sum(segment.bytes[key] for segment in segments) for key in ("vectors", "other", "indexes")}
    totals["sqlite"] = sum(file.stat().st_size for file in directory.glob("points.db*"))
    vectors = tuple(
        VectorReport(
            key,
            spec.size,
            spec.distance,
            spec.datatype,
            str(spec.index.get("kind", "auto")),
            None if spec.multivector is None else spec.token_encoding.value,
        )
        for key, spec in view.schema.vectors.items()
    )
    return CollectionReport(
        name=name,
        directory=directory.name,
        aliases=aliases,
        format_version=view.format_version,
        points=points,
        growing_rows=view.counters.next_row - view.counters.growing_first,
        dead_rows=len(view.deleted),
        operation=view.counters.operation,
        vectors=vectors,
        segments=segments,
        bytes=totals,
    )


def _inspect_segment(directory: Path, manifest: Manifest, view: PointsView) -> SegmentReport:
    file = SectionFile(directory / FILE_NAME)
    rows = file.section("rows").array()
    vectors = sum(section.length for name, section in file.sections.items() if name.startswith("vectors/"))
    return SegmentReport(
        id=directory.name,
        rows=manifest.rows,
        dead_rows=int(np.isin(view.deleted, rows, assume_unique=True).sum()),
        indexes={name: index.spec.kind for name, index in manifest.indexes.items()},
        bytes={
            "vectors": vectors,
            "other": file.path.stat().st_size - vectors,
            "indexes": sum(index.bytes for index in manifest.indexes.values()),
        },
    )
