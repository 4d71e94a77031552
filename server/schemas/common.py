"""What several bodies have in common."""

from typing import Annotated, Any

from msgspec import Meta, Struct


class Body(Struct, forbid_unknown_fields=True, gc=False):
    """A JSON object of a request; an unknown field is an error that names it."""


class Answer(Struct):
    """A JSON object of an answer; clients must ignore fields they do not know."""


PointIdValue = Annotated[
    int | str,
    Meta(
        description="Unsigned 64-bit integer, or a UUID in any usual form (answers use the hyphenated one).",
        examples=[42, "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"],
        extra_json_schema={
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
                {"type": "string", "format": "uuid"},
            ]
        },
    ),
]
VectorValue = Annotated[
    list[float | list[float]],
    Meta(
        description="Finite numbers, as many as the vector has dimensions; for a vector with a "
        "`multivector_config` a list of such lists, one per token.",
        examples=[[0.1, 0.2, 0.3, 0.4]],
        extra_json_schema={
            "anyOf": [
                {"type": "array", "items": {"type": "number"}},
                {"type": "array", "items": {"type": "array", "items": {"type": "number"}}, "minItems": 1},
            ]
        },
    ),
]
VectorName = Annotated[
    str, Meta(description='Name of a vector; `""` is the unnamed one.', examples=["", "text"])
]
VectorsValue = Annotated[
    VectorValue | dict[str, VectorValue],
    Meta(description='The unnamed vector as a list, or vectors by name (`""` is the unnamed one).'),
]
Payload = Annotated[
    dict[str, Any],
    Meta(description="Any JSON object.", examples=[{"city": "Berlin", "year": 2024, "tags": ["a", "b"]}]),
]
PayloadKey = Annotated[
    str,
    Meta(
        description="Dotted path; `a[]` steps into every element of an array.", min_length=1, examples=["a.b"]
    ),
]
FilterValue = Annotated[
    dict[str, Any],
    Meta(
        description="Filter: `must`, `should`, `must_not` (a condition or a list of them) and `min_should`.",
        examples=[{"must": [{"key": "city", "match": {"value": "Berlin"}}]}],
        extra_json_schema={"$ref": "#/components/schemas/Filter"},
    ),
]


class PayloadChoice(Body):
    """Keep or drop payload keys; one of the two is given."""

    include: list[PayloadKey] | None = None
    exclude: list[PayloadKey] | None = None


WithPayload = Annotated[
    bool | list[PayloadKey] | PayloadChoice,
    Meta(
        description="All of the payload, none, the listed keys, or `{include: [...]}` / `{exclude: [...]}`."
    ),
]
WithVector = Annotated[bool | list[VectorName], Meta(description="All vectors, none, or the named ones.")]
ShardKey = Annotated[Any, Meta(description="Accepted and ignored: there is one shard on one node.")]
