"""The write operations a collection understands, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearfield.engine.point import PointBatch
from nearfield.engine.query import PointSelector


@dataclass(frozen=True)
class Upsert:
    """Insert points, or replace those with the same id whole (vectors and payload)."""

    batch: PointBatch


@dataclass(frozen=True)
class DeletePoints:
    """Delete the selected points; ids that are not there are ignored."""

    selector: PointSelector


@dataclass(frozen=True)
class UpdateVectors:
    """Replace the given vectors of existing points; other vectors and the payload stay."""

    batch: PointBatch


@dataclass(frozen=True)
class DeleteVectors:
    """Remove the named vectors of the selected points."""

    selector: PointSelector
    names: Sequence[str]


@dataclass(frozen=True)
class SetPayload:
    """Merge keys into the payload of the selected points, at the top or inside the object at `key`."""

    selector: PointSelector
    payload: Mapping[str, Any]
    key: str | None = None


@dataclass(frozen=True)
class OverwritePayload:
    """Replace the whole payload of the selected points (or the object at `key`)."""

    selector: PointSelector
    payload: Mapping[str, Any]
    key: str | None = None


@dataclass(frozen=True)
class DeletePayload:
    """Remove payload keys (dotted paths) of the selected points."""

    selector: PointSelector
    keys: Sequence[str]


@dataclass(frozen=True)
class ClearPayload:
    """Remove the whole payload of the selected points."""

    selector: PointSelector


Operation = (
    Upsert
    | DeletePoints
    | UpdateVectors
    | DeleteVectors
    | SetPayload
    | OverwritePayload
    | DeletePayload
    | ClearPayload
)
