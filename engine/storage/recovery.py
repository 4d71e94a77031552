"""Opening a collection's directory: what is registered is opened, what is not is garbage and goes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.registry import Registry
from nearfield.engine.schema import CollectionSchema
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.column import StoredColumn
from nearfield.engine.segment.growing import GrowingSegment
from nearfield.engine.segment.index_files import open_index
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.segment.sealed import SealedSegment
from nearfield.engine.segment.segment_set import local_positions
from nearfield.engine.storage.durable import QUARANTINE_SUFFIX, make_directory, quarantine, remove_tree
from nearfield.engine.storage.store import PointStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recovered:
    """What was on disk.

    Args:
        manifests: by segment id, without the indexes that turned out to be damaged.
        sealed: opened segments, with their dead rows and the indexes that were opened.
        growing: unsealed rows.
        growing_live: which of them live; None for all.
    """

    manifests: dict[str, Manifest]
    sealed: list[SealedSegment]
    growing: GrowingSegment
    growing_live: bitmap.Words | None


def recover(
    directory: Path,
    store: PointStore,
    schema: CollectionSchema,
    registry: Registry,
    index_bytes_open_max: int,
) -> Recovered:
    """Open the segments of a collection.

    Args:
        index_bytes_open_max: indexes that are read as a whole are opened here if their files are not larger
            than this together; those that are mapped always are.

    Raises:
        Corrupted: primary data is damaged or missing.
    """
    make_directory(directory)
    manifests = store.load_segments()
    _remove_garbage(directory, manifests)
    sealed = [SealedSegment.open(directory / id, schema.vectors) for id in manifests]
    for segment in sealed:
        if segment.count != manifests[segment.id].rows:
            raise Corrupted(
                f"{segment.directory}: {segment.count} rows, {manifests[segment.id].rows} are registered"
            )
    deleted = store.load_deleted_rows()
    sealed = [_with_deleted(segment, deleted) for segment in sealed]
    stored = [index for manifest in manifests.values() for index in manifest.indexes.values()]
    read = sum(index.bytes for index in stored if not registry.maps(index.spec.kind))
    mapped_only = read > index_bytes_open_max
    sealed = [_with_indexes(segment, manifests, schema, registry, mapped_only) for segment in sealed]
    growing, growing_live = _load_growing(store, schema, deleted)
    living = sum(segment.live_count for segment in sealed) + growing.view(growing_live).live_count
    if living != store.load_counters().points:
        raise Corrupted(
            f"{store.path}: {store.load_counters().points} points are on record, the segments hold {living}"
        )
    return Recovered(manifests, sealed, growing, growing_live)


def open_or_quarantine(
    segment: SealedSegment, name: str, manifest: Manifest, schema: CollectionSchema, registry: Registry
) -> tuple[SealedSegment, Manifest]:
    """Open one stored index; a damaged one is moved out of the way, and both forget it."""
    stored = manifest.indexes[name]
    try:
        return open_index(segment, name, schema.vectors[name], stored, registry), manifest
    except Corrupted as error:
        _log.warning("the index of vector %r is rebuilt, searches scan meanwhile: %s", name, error)
        if (segment.directory / stored.directory).exists():
            quarantine(segment.directory / stored.directory)
        return segment, manifest.with_index(name, None)


def _with_indexes(
    segment: SealedSegment,
    manifests: dict[str, Manifest],
    schema: CollectionSchema,
    registry: Registry,
    mapped_only: bool,
) -> SealedSegment:
    for name, stored in manifests[segment.id].indexes.items():
        if mapped_only and not registry.maps(stored.spec.kind):
            continue
        segment, manifest = open_or_quarantine(segment, name, manifests[segment.id], schema, registry)
        manifests[segment.id] = manifest
    return segment


def _with_deleted(segment: SealedSegment, deleted: NDArray[np.int64]) -> SealedSegment:
    local, inside = local_positions(segment, deleted)
    return segment.without(local[inside]) if inside.any() else segment


def _load_growing(
    store: PointStore, schema: CollectionSchema, deleted: NDArray[np.int64]
) -> tuple[GrowingSegment, bitmap.Words | None]:
    """Rows from `growing_first` up to `next_row`, with the vectors of every chunk."""
    counters = store.load_counters()
    growing = GrowingSegment(schema.vectors, counters.growing_first)
    first, count, columns = counters.growing_first, 0, dict[str, StoredColumn]()
    for chunk_first, chunk_count, name, column in store.load_chunks(schema):
        if chunk_first != first:
            _append(growing, count, columns, until=chunk_first)
            first, columns = chunk_first, {}
        count = chunk_count
        columns[name] = column
    _append(growing, count, columns, until=counters.next_row)
    dead = deleted[deleted >= counters.growing_first] - counters.growing_first
    return growing, bitmap.without(None, growing.count, dead) if len(dead) else None


def _append(growing: GrowingSegment, count: int, columns: Mapping[str, StoredColumn], until: int) -> None:
    """Add a batch, and rows without any vector up to the next one."""
    growing.append(count, columns)
    bare = until - growing.first_row - growing.count
    if bare < 0:
        raise Corrupted(f"the vectors of rows before {until} overlap")
    growing.append(bare, {})


def _remove_garbage(directory: Path, manifests: Mapping[str, Manifest]) -> None:
    """Remove what no transaction registered; indexes that were quarantined stay for inspection."""
    for entry in directory.iterdir():
        if entry.name not in manifests:
            remove_tree(entry)
            continue
        known = {index.directory for index in manifests[entry.name].indexes.values()}
        for inner in entry.iterdir():
            if inner.is_dir() and inner.name not in known and not inner.name.endswith(QUARANTINE_SUFFIX):
                remove_tree(inner)
