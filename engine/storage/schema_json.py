"""Collection schemas as canonical JSON."""

import json
from collections.abc import Mapping
from typing import Any

from nearfield.engine.errors import Corrupted
from nearfield.engine.multivector.token_rows import TokenEncoding
from nearfield.engine.schema import (
    CollectionSchema,
    Comparator,
    Datatype,
    Distance,
    MultiVectorSpec,
    VectorSpec,
)


def schema_to_json(schema: CollectionSchema) -> str:
    """The schema's stored form; vectors stay in order, because segment files number them."""
    document = {
        "vectors": [[name, _vector_to_json(spec)] for name, spec in schema.vectors.items()],
        "payload_fields": {key: dict(params) for key, params in schema.payload_fields.items()},
        "settings": dict(schema.settings),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def schema_from_json(text: str) -> CollectionSchema:
    """The schema behind its stored form.

    Raises:
        Corrupted: the text is not one.
    """
    try:
        document = json.loads(text)
        vectors = {name: _vector_from_json(spec) for name, spec in document["vectors"]}
        return CollectionSchema(vectors, document["payload_fields"], document["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupted(f"the stored schema is not readable: {error}") from error


def _vector_to_json(spec: VectorSpec) -> dict[str, Any]:
    return {
        "size": spec.size,
        "distance": spec.distance.value,
        "datatype": spec.datatype.value,
        "index": dict(spec.index),
        "extras": dict(spec.extras),
    } | ({} if spec.multivector is None else {"multivector": _multivector_to_json(spec.multivector)})


def _vector_from_json(spec: Mapping[str, Any]) -> VectorSpec:
    return VectorSpec(
        spec["size"],
        Distance(spec["distance"]),
        Datatype(spec["datatype"]),
        spec["index"],
        spec["extras"],
        None if "multivector" not in spec else _multivector_from_json(spec["multivector"]),
    )


def _multivector_to_json(multivector: MultiVectorSpec) -> dict[str, Any]:
    return {name: value for name, value in multivector.__dict__.items() if value is not None}


def _multivector_from_json(document: Mapping[str, Any]) -> MultiVectorSpec:
    encoding = document.get("encoding")
    return MultiVectorSpec(
        Comparator(document["comparator"]),
        None if encoding is None else TokenEncoding(encoding),
        document.get("vectors_per_document"),
        document["pool_factor"],
        document.get("pool_to"),
    )
