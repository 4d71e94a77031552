"""The jobs: each writes files beside the living collection, then registers them in one step of its writer."""

import logging
import uuid
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Cancelled, Corrupted
from nearfield.engine.index.multivector import (
    ExtendingMultiVectorBuilder,
    MultiVectorIndexBuilder,
)
from nearfield.engine.index.protocol import (
    BuildContext,
    Cancel,
    ExtendingBuilder,
    IndexBuilder,
)
from nearfield.engine.index.spec import IndexSpec
from nearfield.engine.index.wanted import resolve_index
from nearfield.engine.maintenance import policy
from nearfield.engine.segment import bitmap
from nearfield.engine.segment.index_files import StoredIndex, check_files, save_index
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.segment.sealed import BuiltIndex, SealedSegment
from nearfield.engine.segment.segment_set import Segment, local_positions
from nearfield.engine.segment.write_segment import write_segment
from nearfield.engine.storage.apply import Run
from nearfield.engine.storage.collection_store import CollectionStore
from nearfield.engine.storage.durable import new_directory, quarantine, remove_tree
from nearfield.engine.storage.effects import Effects
from nearfield.engine.storage.recovery import open_or_quarantine
from nearfield.engine.storage.transaction import Transaction

_log = logging.getLogger(__name__)


def run_job(job: policy.Job, parts: CollectionStore, cancel: Cancel) -> None:
    """Do one job to its end.

    Raises:
        Cancelled: `cancel` was set during an index build.
        StorageError: the disk failed; what was there before still counts.
    """
    match job:
        case policy.Seal(first_row):
            _seal(parts, first_row)
        case policy.Freeze():
            _register(
                parts, lambda transaction, effects: effects.announcements.append(parts.publisher.freeze)
            )
        case policy.Open(segment, vector):
            _open(parts, _sealed(parts, segment), vector)
        case policy.Verify(segment, vector):
            _verify(parts, _sealed(parts, segment), vector, cancel)
        case policy.Vacuum(segment):
            _merge(parts, (segment,), cancel)
        case policy.Merge(segments):
            _merge(parts, segments, cancel)
        case policy.Build(segment, vector):
            _build(parts, _sealed(parts, segment), vector, cancel)
        case policy.Drop(segment, vector):
            stored = parts.manifests[segment].indexes[vector]
            _register_index(parts, segment, vector, None, None)
            remove_tree(_sealed(parts, segment).directory / stored.directory)


def _seal(parts: CollectionStore, first_row: int) -> None:
    source = next(view for view in parts.publisher.frozen if view.first_row == first_row)
    end = source.first_row + source.count
    sealed, manifest = _write(parts, [source])

    def register(transaction: Transaction, effects: Effects) -> None:
        _enter(transaction, sealed, manifest)
        sql = transaction.connection
        sql.execute(
            "DELETE FROM vector_chunks WHERE first_row >= ? AND first_row < ?", (source.first_row, end)
        )
        _forget_dropped(transaction, [source])
        transaction.counters.growing_first = end
        effects.announcements.append(lambda: parts.publisher.replace_frozen(first_row, sealed))
        effects.announcements.append(lambda: _note(parts, sealed, manifest))

    try:
        _register(parts, register)
    except BaseException:
        _discard(parts, sealed)
        raise


def _merge(parts: CollectionStore, ids: Sequence[str], cancel: Cancel) -> None:
    """One segment of several. It gets the indexes that these have before it takes their place."""
    sources = [_sealed(parts, id) for id in ids]
    sealed, manifest = _write(parts, sources)
    try:
        if sealed is not None:
            for name in {name: None for source in sources for name in source.indexes}:
                if wanted_index(parts, name, sealed.count) is not None:
                    index, stored = _built(parts, sealed, name, cancel, sources)
                    sealed, manifest = sealed.with_index(name, index), manifest.with_index(name, stored)

        def register(transaction: Transaction, effects: Effects) -> None:
            transaction.connection.executemany("DELETE FROM segments WHERE id = ?", [(id,) for id in ids])
            _enter(transaction, sealed, manifest)
            _forget_dropped(transaction, sources)
            effects.announcements.append(lambda: parts.publisher.replace_sealed(ids, sealed))
            effects.announcements.append(lambda: _note(parts, sealed, manifest, gone=ids))

        _register(parts, register)
    except BaseException:
        _discard(parts, sealed)
        raise
    for source in sources:
        # Queries that still pin it go on reading: a mapped file lives until it is unmapped.
        remove_tree(source.directory)


def wanted_index(parts: CollectionStore, name: str, rows: int) -> IndexSpec | None:
    """The index that a segment of so many rows is to have for a vector; None for none."""
    vector = parts.schema.vectors[name]
    config = parts.config
    least = config.index_rows_min if vector.multivector is None else config.multivector_index_rows_min
    return None if rows < least else resolve_index(parts.registry, vector, rows)


def can_extend(parts: CollectionStore) -> bool:
    """Whether the indexes that large segments are to have can take in rows."""
    wanted = {name: wanted_index(parts, name, parts.config.sealed_rows_max) for name in parts.schema.vectors}
    return all(
        isinstance(_builder(parts, name, spec), ExtendingBuilder | ExtendingMultiVectorBuilder)
        for name, spec in wanted.items()
        if spec is not None
    )


def _builder(parts: CollectionStore, name: str, spec: IndexSpec) -> IndexBuilder | MultiVectorIndexBuilder:
    if parts.schema.vectors[name].multivector is None:
        return parts.registry.builder(spec.kind)
    return parts.registry.multivector_builder(spec.kind)


def _built(
    parts: CollectionStore,
    segment: SealedSegment,
    name: str,
    cancel: Cancel,
    sources: Sequence[SealedSegment] = (),
) -> tuple[BuiltIndex, StoredIndex]:
    """The index of a new segment: that of a segment it was made of, changed, or else a new one."""
    vector = parts.schema.vectors[name]
    spec = wanted_index(parts, name, segment.count)
    assert spec is not None
    context = BuildContext(threads=parts.config.threads, seed=parts.config.seed, cancel=cancel)
    index = _extended(parts, segment, name, spec, context, sources)
    if index is None and vector.multivector is not None:
        builder = parts.registry.multivector_builder(spec.kind)
        index = builder.build(segment.tokens(name), spec.params, context)
    elif index is None:
        index = parts.registry.builder(spec.kind).build(
            segment.vectors(name), vector.distance.metric, spec.params, context
        )
    return index, save_index(segment, name, vector.index, spec, index)


def _extended(
    parts: CollectionStore,
    segment: SealedSegment,
    name: str,
    spec: IndexSpec,
    context: BuildContext,
    sources: Sequence[SealedSegment],
) -> BuiltIndex | None:
    """The index of the largest source that has what is wanted, changed to the rows of a new segment.

    None where no source has one, or where it could not be changed or better is not.
    """
    suitable = [
        (source.live_count, source.id, source)
        for source in sources
        if name in source.indexes
        and (stored := parts.manifests[source.id].indexes.get(name)) is not None
        and stored.spec == spec
    ]
    if not suitable:
        return None
    source = max(suitable, key=lambda entry: entry[:2])[2]
    local, inside = local_positions(source, segment.rows)
    origin = np.where(inside, local, -1)
    try:
        if name in source.unverified:
            stored = parts.manifests[source.id].indexes[name]
            check_files(source.directory / stored.directory, stored)
        return _changed(parts, source, segment, name, spec, origin, context)
    except Cancelled:
        raise
    except Exception as error:
        # Whatever is wrong with the old index, the rows are there to build a new one.
        _log.warning("%s: the index of %s could not be extended", parts.directory.name, name, exc_info=error)
        return None


def _changed(
    parts: CollectionStore,
    source: SealedSegment,
    segment: SealedSegment,
    name: str,
    spec: IndexSpec,
    origin: NDArray[np.int64],
    context: BuildContext,
) -> BuiltIndex | None:
    vector = parts.schema.vectors[name]
    if vector.multivector is not None:
        documents, learned = parts.registry.multivector_builder(spec.kind), source.multivector_index(name)
        if learned is None or not isinstance(documents, ExtendingMultiVectorBuilder):
            return None
        return documents.extend(learned, origin, segment.tokens(name), spec.params, context)
    rows, index = parts.registry.builder(spec.kind), source.index(name)
    if index is None or not isinstance(rows, ExtendingBuilder):
        return None
    return rows.extend(index, origin, segment.vectors(name), vector.distance.metric, spec.params, context)


def _build(parts: CollectionStore, segment: SealedSegment, name: str, cancel: Cancel) -> None:
    index, stored = _built(parts, segment, name, cancel)
    before = parts.manifests[segment.id].indexes.get(name)
    try:
        _register_index(parts, segment.id, name, index, stored)
    except BaseException:
        if before is None or before.directory != stored.directory:
            remove_tree(segment.directory / stored.directory)
        raise
    if before is not None:
        remove_tree(segment.directory / before.directory)


def _open(parts: CollectionStore, segment: SealedSegment, name: str) -> None:
    manifest = parts.manifests[segment.id]
    opened, manifest = open_or_quarantine(segment, name, manifest, parts.schema, parts.registry)
    _register_index(parts, segment.id, name, opened.indexes.get(name), manifest.indexes.get(name))


def _verify(parts: CollectionStore, segment: SealedSegment, name: str, cancel: Cancel) -> None:
    """Damage of the index takes it away, to be built again; damage of the rows is raised."""
    stored = parts.manifests[segment.id].indexes.get(name)
    if stored is not None and not _index_holds(segment, stored):
        now = parts.manifests.get(segment.id)
        # Another lane may have put a new index, or a new segment, in its place and removed the files.
        if now is not None and now.indexes.get(name) == stored:
            _register_index(parts, segment.id, name, None, None)
            if (segment.directory / stored.directory).exists():
                quarantine(segment.directory / stored.directory)
    segment.section(name).verify(cancel.is_set)
    if cancel.is_set():
        raise Cancelled("the collection is being closed")
    segment.unverified.discard(name)


def _index_holds(segment: SealedSegment, stored: StoredIndex) -> bool:
    try:
        check_files(segment.directory / stored.directory, stored)
    except Corrupted as error:
        _log.warning("an index is damaged, searches scan until it is rebuilt: %s", error)
        return False
    return True


# ---- shared steps -----------------------------------------------------------------------------------------


def _sealed(parts: CollectionStore, id: str) -> SealedSegment:
    return next(segment for segment in parts.publisher.sealed if segment.id == id)


def _write(parts: CollectionStore, sources: Sequence[Segment]) -> tuple[SealedSegment | None, Manifest]:
    """The living rows of some segments as a new one on disk; no segment when none lives."""
    if not any(source.live_count for source in sources):
        return None, Manifest(0)
    directory = parts.segments_directory / uuid.uuid4().hex
    with new_directory(directory) as temporary:
        rows = write_segment(temporary, parts.schema.vectors, sources)
    return SealedSegment.open(directory, parts.schema.vectors), Manifest(rows)


def _discard(parts: CollectionStore, sealed: SealedSegment | None) -> None:
    """Remove a new segment that was not registered."""
    if sealed is not None and sealed.id not in parts.manifests:
        remove_tree(sealed.directory)


def _register_index(
    parts: CollectionStore, id: str, name: str, index: BuiltIndex | None, stored: StoredIndex | None
) -> None:
    """Record a segment's index of one vector, or that it has none, and make it visible."""

    def register(transaction: Transaction, effects: Effects) -> None:
        # Read here, on the writer thread: the other lane may have registered another index meanwhile.
        manifest = parts.manifests[id].with_index(name, stored)
        sql = "UPDATE segments SET manifest = ? WHERE id = ?"
        transaction.connection.execute(sql, (manifest.to_json(), id))
        effects.announcements.append(
            lambda: parts.publisher.update_sealed(id, lambda old: old.with_index(name, index))
        )
        effects.announcements.append(lambda: setattr(parts, "manifests", {**parts.manifests, id: manifest}))

    _register(parts, register)


def _register(parts: CollectionStore, register: Run) -> None:
    done: Future[int] = parts.writer.submit_internal(register)
    done.result()


def _enter(transaction: Transaction, sealed: SealedSegment | None, manifest: Manifest) -> None:
    if sealed is not None:
        transaction.connection.execute("INSERT INTO segments VALUES (?, ?)", (sealed.id, manifest.to_json()))


def _forget_dropped(transaction: Transaction, sources: Sequence[Segment]) -> None:
    """Rows that were dead when the sources were read are in no segment any more; later ones are."""
    for source in sources:
        if source.live is not None:
            dead = source.rows[~bitmap.to_bools(source.live, source.count)]
            transaction.connection.executemany(
                "DELETE FROM deleted_rows WHERE row = ?", [(r,) for r in dead.tolist()]
            )


def _note(
    parts: CollectionStore, sealed: SealedSegment | None, manifest: Manifest, gone: Sequence[str] = ()
) -> None:
    manifests = {id: old for id, old in parts.manifests.items() if id not in gone}
    parts.manifests = manifests if sealed is None else {**manifests, sealed.id: manifest}
