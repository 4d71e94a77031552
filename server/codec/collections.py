"""Collection bodies to the engine's schemas, and a collection's state to its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from nearfield.engine.errors import InvalidRequest
from nearfield.engine.multivector.token_rows import TokenEncoding
from nearfield.engine.query import CollectionInfo, SegmentRecall
from nearfield.engine.schema import (
    UNNAMED,
    CollectionSchema,
    Datatype,
    Distance,
    FieldType,
    MultiVectorSpec,
    VectorSpec,
)
from nearfield.server.codec.decode import convert, not_served
from nearfield.server.schemas import collections as schemas

T = TypeVar("T")

_SECTIONS = (
    "hnsw_config", "optimizers_config", "wal_config", "quantization_config", "strict_mode_config", "metadata",
    "on_disk_payload", "payload", "id_tracker", "shard_number", "sharding_method", "replication_factor",
    "write_consistency_factor",
)  # fmt: skip
_VECTOR_EXTRAS = ("hnsw_config", "quantization_config", "on_disk", "memory")
_NAMED_FORM = "vectors_by_name"
"""Setting that remembers a collection made with `vectors: {"": {...}}`, so that it is shown in that form."""

# What sections say where the creator said nothing; the wire format's models need every one of these fields.
_HNSW_SHOWN = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0}
_OPTIMIZERS_SHOWN = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "indexing_threshold": 10_000,
    "flush_interval_sec": 0,
}
_WAL_SHOWN = {"wal_capacity_mb": 64, "wal_segments_ahead": 0}
_PARAMS_SHOWN = {
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "on_disk_payload": True,
}
_M_RANGE = (2, 512)
_EF_CONSTRUCTION_MAX = 10_000
"""The graph's own limits; the wire format's are wider, so its values are clipped."""
_SCAN: dict[str, Any] = {"kind": "flat", "params": {}}
_DOCUMENT_KINDS = ("muvera",)
_QUANTIZATIONS = ("scalar", "product", "binary", "turbo")


def _plain(value: Any) -> Any:
    """A decoded section without the fields that were left out."""
    if isinstance(value, msgspec.Struct):
        return {name: part for name, part in msgspec.to_builtins(value).items() if part is not None}
    return value


def _check_quantization(config: Any, path: str) -> None:
    if config in (None, "Disabled"):
        return
    if not isinstance(config, Mapping) or len(config) != 1 or next(iter(config)) not in _QUANTIZATIONS:
        raise InvalidRequest(f"expected an object with one of {', '.join(_QUANTIZATIONS)}", path)


def create_schema(body: schemas.CreateCollection) -> CollectionSchema:
    """The schema a creation asks for.

    Raises:
        InvalidRequest: sparse vectors, or malformed vector parameters.
    """
    if body.sparse_vectors:
        raise not_served("sparse vectors", "dense ones under `vectors`", "sparse_vectors")
    if body.init_from is not None:
        raise not_served("initialising from another collection", "empty collections", "init_from")
    _check_quantization(body.quantization_config, "quantization_config")
    settings = {name: _plain(getattr(body, name)) for name in _SECTIONS if getattr(body, name) is not None}
    config = body.vectors or {}
    shared = _Shared(
        _index(body.index or _of_metadata(body.metadata, "index", schemas.IndexChoice), body.hnsw_config),
        _of_metadata(body.metadata, "tokens", schemas.TokensConfig),
    )
    if "size" in config and not isinstance(config["size"], Mapping):
        return CollectionSchema({UNNAMED: _vector_spec(config, shared, "vectors")}, settings=settings)
    vectors = {name: _vector_spec(part, shared, f"vectors.{name}") for name, part in config.items()}
    if UNNAMED in vectors:
        settings[_NAMED_FORM] = True
    return CollectionSchema(vectors, settings=settings)


def _of_metadata(metadata: Mapping[str, Any] | None, key: str, kind: type[T]) -> T | None:
    """What `metadata.<key>` describes, for clients that cannot send fields of their own."""
    if metadata is None or key not in metadata:
        return None
    return convert(metadata[key], kind, f"metadata.{key}")


def _index(choice: schemas.IndexChoice | None, graph: schemas.HnswConfig | None) -> dict[str, Any] | None:
    """The engine's index config: ours if one is named, else what the wire format's graph parameters mean."""
    if choice is not None:
        return {"kind": choice.kind, "params": choice.params}
    if graph is None or (graph.m is None and graph.ef_construct is None):
        return None
    if graph.m == 0:
        return _SCAN
    params = {}
    if graph.m is not None:
        params["m"] = min(max(graph.m, _M_RANGE[0]), _M_RANGE[1])
    if graph.ef_construct is not None:
        params["ef_construction"] = min(graph.ef_construct, _EF_CONSTRUCTION_MAX)
    return {"kind": "auto", "params": params}


@dataclass(frozen=True)
class _Shared:
    """What vectors have that say nothing else."""

    index: dict[str, Any] | None
    tokens: schemas.TokensConfig | None


def _vector_spec(value: Any, shared: _Shared, path: str) -> VectorSpec:
    params = convert(value, schemas.VectorParams, path)
    _check_quantization(params.quantization_config, f"{path}.quantization_config")
    chosen = _chosen(params.index, params.hnsw_config, shared.index, params.multivector_config is not None)
    extras = {
        name: _plain(getattr(params, name)) for name in _VECTOR_EXTRAS if getattr(params, name) is not None
    }
    multivector = None
    if params.multivector_config is not None:
        multivector = _multivector(params.tokens or shared.tokens or schemas.TokensConfig())
    elif params.tokens is not None:
        raise InvalidRequest("expected a `multivector_config` where `tokens` are described", f"{path}.tokens")
    return VectorSpec(
        size=params.size,
        distance=Distance(params.distance),
        datatype=Datatype(params.datatype or "float32"),
        index=chosen or {"kind": "auto", "params": {}},
        extras=extras,
        multivector=multivector,
    )


def _chosen(
    own: schemas.IndexChoice | None,
    graph: schemas.HnswConfig | None,
    shared: dict[str, Any] | None,
    multivector: bool,
) -> dict[str, Any] | None:
    """A vector's index config: its own, else what is meant for all vectors and suits this one.

    Kinds for multi-vectors have names of their own, and graph parameters of the wire format are not theirs.
    """
    if own is not None:
        return _index(own, None)
    for config in (_index(None, graph), shared):
        if config is not None:
            for_documents = config["kind"] in _DOCUMENT_KINDS
            if for_documents == multivector or config == _SCAN:
                return config
    return None


def _multivector(tokens: schemas.TokensConfig) -> MultiVectorSpec:
    return MultiVectorSpec(
        encoding=None if tokens.encoding is None else TokenEncoding(tokens.encoding),
        vectors_per_document=tokens.vectors_per_document,
        pool_factor=tokens.pool_factor,
        pool_to=tokens.pool_to,
    )


@dataclass(frozen=True)
class SchemaChange:
    """Arguments of `Collection.update_schema`."""

    settings: Mapping[str, Any]
    vector_index: Mapping[str, Mapping[str, Any]]
    vector_extras: Mapping[str, Mapping[str, Any]]


def schema_change(schema: CollectionSchema, body: schemas.UpdateCollection) -> SchemaChange:
    """What a body changes; sections are merged field by field.

    Raises:
        InvalidRequest: an unknown vector name, or sparse vectors.
    """
    if body.sparse_vectors:
        raise not_served("sparse vectors", "dense ones under `vectors`", "sparse_vectors")
    _check_quantization(body.quantization_config, "quantization_config")
    changes = body.vectors or {}
    for name in changes:
        if name not in schema.vectors:
            raise InvalidRequest(f"Not existing vector name error: {name}", "vectors")
    indexes: dict[str, Mapping[str, Any]] = {}
    for name in schema.vectors:
        change = changes.get(name, schemas.VectorParamsChange())
        shared = _index(body.index, body.hnsw_config)
        multivector = schema.vectors[name].multivector is not None
        chosen = _chosen(change.index, change.hnsw_config, shared, multivector)
        if chosen is not None:
            indexes[name] = chosen
    extras = {name: _changed_extras(schema.vectors[name], change, name) for name, change in changes.items()}
    return SchemaChange(_changed_settings(schema.settings, body), indexes, extras)


def _changed_settings(settings: Mapping[str, Any], body: schemas.UpdateCollection) -> dict[str, Any]:
    changed = dict(settings) | (_plain(body.params) or {})
    for name in ("hnsw_config", "optimizers_config", "strict_mode_config"):
        change = _plain(getattr(body, name))
        if change is not None:
            changed[name] = {**changed.get(name, {}), **change}
    if body.quantization_config is not None:
        changed["quantization_config"] = _quantization_after(body.quantization_config)
    if body.metadata is not None:
        merged = {**changed.get("metadata", {}), **body.metadata}
        changed["metadata"] = {key: value for key, value in merged.items() if value is not None}
    return changed


def _changed_extras(spec: VectorSpec, change: schemas.VectorParamsChange, name: str) -> dict[str, Any]:
    _check_quantization(change.quantization_config, f"vectors.{name}.quantization_config")
    extras = dict(spec.extras)
    for part in _VECTOR_EXTRAS:
        value = _plain(getattr(change, part))
        if value is not None:
            extras[part] = (
                {**extras.get(part, {}), **value} if part == "hnsw_config" else _quantization_after(value)
            )
    return extras


def _quantization_after(config: Any) -> Any:
    return None if config == "Disabled" else config


def field_params(body: schemas.FieldIndex) -> dict[str, Any]:
    """The declaration of a payload index, always with its `type`.

    Raises:
        InvalidRequest: no type, or an unknown one.
    """
    given = body.field_schema
    params = {"type": given} if isinstance(given, str) else dict(given or {})
    known = [kind.value for kind in FieldType]
    if params.get("type") not in known:
        raise InvalidRequest(
            f"expected a type of {', '.join(known)}; got {params.get('type')!r:.80}", "field_schema"
        )
    return params


def collection_json(schema: CollectionSchema, info: CollectionInfo) -> dict[str, Any]:
    """Everything `GET /collections/{collection}` says."""
    settings = schema.settings
    params = {name: settings.get(name, shown) for name, shown in _PARAMS_SHOWN.items()}
    params |= {
        name: settings[name]
        for name in (
            "sharding_method",
            "read_fan_out_factor",
            "read_fan_out_delay_ms",
            "payload",
            "id_tracker",
        )
        if name in settings
    }
    single = UNNAMED in schema.vectors and not settings.get(_NAMED_FORM)
    shown = {name: _vector_json(spec) for name, spec in schema.vectors.items()}
    config = {
        "params": {"vectors": shown[UNNAMED] if single else shown, **params},
        "hnsw_config": _HNSW_SHOWN | settings.get("hnsw_config", {}),
        "optimizer_config": _OPTIMIZERS_SHOWN | _numeric_threads(settings.get("optimizers_config", {})),
        "wal_config": _WAL_SHOWN | settings.get("wal_config", {}),
        "quantization_config": settings.get("quantization_config"),
    }
    config |= {name: settings[name] for name in ("strict_mode_config", "metadata") if name in settings}
    return {
        "status": info.status,
        "optimizer_status": "ok" if info.error is None else {"error": info.error},
        "points_count": info.points,
        "indexed_vectors_count": info.indexed_vectors,
        "segments_count": info.segments,
        "config": config,
        "payload_schema": {
            key: {"data_type": params["type"], "params": dict(params), "points": info.points}
            for key, params in info.payload_schema.items()
        },
        "index": {name: spec.index for name, spec in schema.vectors.items()},
        "tokens": {
            name: _tokens_json(spec, spec.multivector)
            for name, spec in schema.vectors.items()
            if spec.multivector is not None
        },
        "bytes": info.bytes,
    }


def _numeric_threads(optimizers: Mapping[str, Any]) -> dict[str, Any]:
    """`max_optimization_threads: "auto"` is shown as missing: answers have a number there."""
    return {name: value for name, value in optimizers.items() if value != "auto"}


def _vector_json(spec: VectorSpec) -> dict[str, Any]:
    shown: dict[str, Any] = {"size": spec.size, "distance": spec.distance.value}
    if spec.datatype is not Datatype.FLOAT32:
        shown["datatype"] = spec.datatype.value
    if spec.multivector is not None:
        shown["multivector_config"] = {"comparator": spec.multivector.comparator.value}
    return shown | dict(spec.extras)


def _tokens_json(spec: VectorSpec, multivector: MultiVectorSpec) -> dict[str, Any]:
    shown: dict[str, Any] = {"encoding": spec.token_encoding.value}
    if multivector.pool_factor > 1:
        shown["pool_factor"] = multivector.pool_factor
    given = {"pool_to": multivector.pool_to, "vectors_per_document": multivector.vectors_per_document}
    return shown | {name: value for name, value in given.items() if value is not None}


def recall_json(
    measured: Mapping[str, Sequence[SegmentRecall]], target: float | None, k: int
) -> dict[str, Any]:
    """Everything `GET /v1/collections/{collection}/recall` says."""
    return {
        "vectors": {
            name: [
                {
                    "points": segment.rows,
                    "kind": None if segment.index is None else segment.index.kind,
                    "params": {} if segment.index is None else dict(segment.index.params),
                    "measured": None if segment.calibration is None else segment.calibration.to_json(),
                    "target": None if target is None else _target_json(segment, target, k),
                }
                for segment in segments
            ]
            for name, segments in measured.items()
        }
    }


def _target_json(segment: SegmentRecall, target: float, k: int) -> dict[str, Any] | None:
    calibration = segment.calibration
    if segment.index is None or (calibration is not None and target == 1):
        return {"ef": None, "reached": True}
    if calibration is None:
        return None
    return {calibration.knob: calibration.width_for(target, k), "reached": calibration.reaches(target)}
