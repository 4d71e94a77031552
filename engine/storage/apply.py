"""What each write operation does to the database, inside a transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from nearfield.engine import operation as op
from nearfield.engine import payload
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.payload_path import parse_path
from nearfield.engine.point import PointBatch, StoredId, to_stored
from nearfield.engine.query import PointSelector
from nearfield.engine.schema import CollectionSchema, VectorSpec
from nearfield.engine.segment.column import StoredColumn, gathered
from nearfield.engine.storage import point_table
from nearfield.engine.storage.effects import Effects
from nearfield.engine.storage.transaction import Transaction
from nearfield.engine.storage.validate import (
    StoredPoints,
    occurrences,
    select_points,
    stored_ids,
    stored_points,
    vector_spec,
)

Run = Callable[[Transaction, Effects], None]
_Change = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Prepared:
    """A checked operation, ready to run in a transaction.

    Args:
        points, bytes: what it weighs in the queue of waiting writes.
    """

    run: Run
    points: int = 1
    bytes: int = 0


def prepare(operation: op.Operation, schema: CollectionSchema) -> Prepared:
    """Check an operation against the schema and convert it to its stored form.

    Raises:
        InvalidRequest: whatever can be said to be wrong without looking at the stored points.
    """
    match operation:
        case op.Upsert(batch):
            points = stored_points(batch, schema)
            return Prepared(lambda txn, effects: _upsert(txn, points, effects), len(batch), points.bytes)
        case op.UpdateVectors(batch):
            return _prepare_update_vectors(batch, schema)
        case op.DeletePoints(selector):
            select = _selection(selector, require_all=False)
            return Prepared(lambda txn, effects: _delete(txn, select(txn), effects))
        case op.DeleteVectors(selector, names):
            select = _selection(selector)
            for name in names:
                vector_spec(schema, name)
            if not names:
                raise InvalidRequest("Empty update request: at least one vector name is needed", "vector")
            return Prepared(lambda txn, effects: _delete_vectors(txn, select(txn), names, effects))
        case op.SetPayload(selector, patch, key):
            return _prepare_set_payload(selector, patch, key)
        case op.OverwritePayload(selector, replacement, key):
            if key is not None:
                return _prepare_set_payload(selector, replacement, key)
            data = payload.encode(dict(replacement))
            return _prepare_payload(selector, lambda old: orjson.loads(data))
        case op.DeletePayload(selector, keys):
            for path_key in keys:
                parse_path(path_key)
            return _prepare_payload(selector, lambda old: _without_keys(old, keys))
        case op.ClearPayload(selector):
            return _prepare_payload(selector, lambda old: {})


def _selection(
    selector: PointSelector, require_all: bool = True
) -> Callable[[Transaction], list[tuple[int, StoredId]]]:
    ids, condition = stored_ids(selector), selector.filter
    if ids is not None:
        return lambda txn: txn.rows_of(ids, require_all)
    assert condition is not None
    return lambda txn: txn.rows_matching(condition)


# ---- points -----------------------------------------------------------------------------------------------


def _upsert(txn: Transaction, points: StoredPoints, effects: Effects) -> None:
    count = len(points.ids)
    if not count:
        return
    replaced = [row for row, _ in txn.rows_of(points.ids, require_all=False)]
    _remove(txn, replaced, effects)
    first = txn.claim_rows(count)
    payloads = points.payloads or [None] * count
    point_table.insert(txn.connection, first, points.ids, txn.counters.operation, payloads)
    txn.add_vectors(first, count, points.columns, effects)
    effects.payloads += zip(range(first, first + count), payloads, strict=True)


def _delete(txn: Transaction, found: Sequence[tuple[int, StoredId]], effects: Effects) -> None:
    _remove(txn, [row for row, _ in found], effects)


def _remove(txn: Transaction, rows: list[int], effects: Effects) -> None:
    if rows:
        point_table.remove(txn.connection, rows)
        txn.kill(rows, effects)


# ---- vectors ----------------------------------------------------------------------------------------------


def _prepare_update_vectors(batch: PointBatch, schema: CollectionSchema) -> Prepared:
    """A repeated id gets its vectors one after the other: each occurrence is a round of its own."""
    if not len(batch):
        raise InvalidRequest("Empty update request: at least one point is needed", "points")
    numbered = stored_points(PointBatch(range(len(batch)), batch.vectors), schema)
    whole = replace(numbered, ids=[to_stored(point) for point in batch.ids])
    repeats = occurrences(whole.ids)
    rounds = [whole] if len(repeats) == 1 else [select_points(whole, members) for members in repeats]

    def run(txn: Transaction, effects: Effects) -> None:
        for points in rounds:
            _update_vectors(txn, points, effects)

    return Prepared(run, len(batch), whole.bytes)


def _update_vectors(txn: Transaction, points: StoredPoints, effects: Effects) -> None:
    row_of = {stored: row for row, stored in txn.rows_of(points.ids, require_all=True)}
    old = np.array([row_of[stored] for stored in points.ids], dtype=np.int64)
    columns = {}
    for name, spec in txn.schema.vectors.items():
        kept, given = txn.gather(name, old), points.columns.get(name)
        columns[name] = kept if given is None else _overlaid(spec, kept, given)
    _rebirth(txn, old, columns, effects)


def _delete_vectors(
    txn: Transaction, found: Sequence[tuple[int, StoredId]], names: Sequence[str], effects: Effects
) -> None:
    old = np.array([row for row, _ in found], dtype=np.int64)
    kept = {name: txn.gather(name, old) for name in txn.schema.vectors if name not in names}
    _rebirth(txn, old, kept, effects)


def _overlaid(spec: VectorSpec, kept: StoredColumn, given: StoredColumn) -> StoredColumn:
    """One column in which what is given covers what was there."""
    if given.present is None:
        return given
    assert kept.present is not None
    stays = np.flatnonzero(~np.isin(kept.present, given.present, assume_unique=True))
    return gathered(spec, [(kept.present[stays], kept.taken(stays, None)), (given.present, given)])


def _rebirth(txn: Transaction, old: Any, columns: Mapping[str, StoredColumn], effects: Effects) -> None:
    """Give points new rows with other vectors; ids and payloads stay."""
    count = len(old)
    if not count:
        return
    at_row = {point[0]: point for point in point_table.lookup(txn.connection, "row", old.tolist(), True)}
    points = [at_row[row] for row in old.tolist()]
    first = txn.claim_rows(count)
    point_table.move(txn.connection, first, points, txn.counters.operation)
    txn.kill(old.tolist(), effects)
    packed = {name: column.packed(count) for name, column in columns.items()}
    txn.add_vectors(first, count, packed, effects)
    effects.payloads += [(row, point[3]) for row, point in enumerate(points, first)]


# ---- payloads ---------------------------------------------------------------------------------------------


def _prepare_set_payload(selector: PointSelector, patch: Mapping[str, Any], key: str | None) -> Prepared:
    if key is not None:
        parse_path(key)
    data = payload.encode(dict(patch))

    def change(old: dict[str, Any]) -> dict[str, Any]:
        payload.merge(old, orjson.loads(data), key)
        return old

    return _prepare_payload(selector, change)


def _without_keys(old: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    payload.delete_keys(old, keys)
    return old


def _prepare_payload(selector: PointSelector, change: _Change) -> Prepared:
    select = _selection(selector)

    def run(txn: Transaction, effects: Effects) -> None:
        rows = [row for row, _ in select(txn)]
        changed = []
        for row, stored, _, old in point_table.lookup(txn.connection, "row", rows, True):
            new = change(payload.decode(old))
            changed.append((row, stored, payload.encode(new) if new else None))
        point_table.repaint(txn.connection, changed, txn.counters.operation)
        effects.repainted += rows
        effects.payloads += [(row, data) for row, _, data in changed]

    return Prepared(run)
