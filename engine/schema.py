"""What a collection is made of: its named vectors, how they compare, and how they are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.multivector.token_rows import TokenEncoding

UNNAMED = ""
"""Name of the one vector of a collection that was created without vector names."""


class Distance(StrEnum):
    """How two vectors compare; the values are the wire format's words.

    Cosine vectors are normalised when written (float datatypes), so they are stored and returned with unit
    length.
    """

    COSINE = "Cosine"
    DOT = "Dot"
    EUCLID = "Euclid"
    MANHATTAN = "Manhattan"

    @property
    def metric(self) -> str:
        """The internal metric, smaller-is-nearer: `cosine`, `ip`, `l2` (squared) or `l1`."""
        return {"Cosine": "cosine", "Dot": "ip", "Euclid": "l2", "Manhattan": "l1"}[self.value]

    @property
    def larger_is_nearer(self) -> bool:
        """Whether the user-facing score grows with similarity."""
        return self in (Distance.COSINE, Distance.DOT)


class Datatype(StrEnum):
    """Storage type of one vector's coordinates; requests and answers are always numbers."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    UINT8 = "uint8"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of the stored rows."""
        return np.dtype(self.value)


class FieldType(StrEnum):
    """Declared type of an indexed payload field."""

    KEYWORD = "keyword"
    INTEGER = "integer"
    FLOAT = "float"
    BOOL = "bool"
    GEO = "geo"
    DATETIME = "datetime"
    TEXT = "text"
    UUID = "uuid"


class Comparator(StrEnum):
    """How two documents of many vectors compare; the values are the wire format's words."""

    MAX_SIM = "max_sim"
    """The sum, over the vectors of the query, of the best similarity to any vector of the document."""


@dataclass(frozen=True)
class MultiVectorSpec:
    """What makes a vector a multi-vector: documents (and queries) are matrices of token vectors.

    Args:
        comparator: how two matrices compare.
        encoding: how tokens are stored; None for the vector's datatype. Codes take the place of the numbers
            they were made of (lvq8 a quarter, lvq4 an eighth of float32), and scores are those of the codes.
        vectors_per_document: every document written must have exactly this many tokens.
        pool_factor: tokens of a document are clustered when it is written, about `pool_factor` to a cluster,
            and the clusters' means are stored in their place.
        pool_to: the same, with this many vectors for every document; those with fewer tokens repeat some.

    Raises:
        Unprocessable: a number outside its limits, or both kinds of pooling at once.
    """

    comparator: Comparator = Comparator.MAX_SIM
    encoding: TokenEncoding | None = None
    vectors_per_document: int | None = None
    pool_factor: int = 1
    pool_to: int | None = None

    def __post_init__(self) -> None:
        for name in ("vectors_per_document", "pool_factor", "pool_to"):
            count = getattr(self, name)
            if count is not None and not 1 <= count <= limits.DOCUMENT_VECTORS_MAX:
                raise Unprocessable(
                    f"{name} must be between 1 and {limits.DOCUMENT_VECTORS_MAX}, got {count}",
                    f"vectors.tokens.{name}",
                )
        if self.pool_factor > 1 and self.pool_to is not None:
            raise Unprocessable(
                "tokens are pooled by `pool_factor` or to `pool_to`, not both", "vectors.tokens"
            )

    @property
    def pools(self) -> bool:
        """Whether documents are stored with other vectors than those written."""
        return self.pool_factor > 1 or self.pool_to is not None


@dataclass(frozen=True)
class VectorSpec:
    """One named vector of a collection.

    Args:
        size: number of dimensions.
        distance: how vectors compare.
        datatype: how coordinates are stored.
        index: `{"kind": ..., "params": {...}}` of the index sealed segments get; kind `auto` lets the
            engine choose.
        extras: fields of the wire format kept and echoed without effect on one node (`on_disk`, per-vector
            `hnsw_config`, ...).
        multivector: makes it a multi-vector; None for one vector per point.

    Raises:
        Unprocessable: size outside 1..VECTOR_DIMENSIONS_MAX.
        InvalidRequest: a multi-vector of `uint8`, or of codes that do not suit its distance or datatype.
    """

    size: int
    distance: Distance
    datatype: Datatype = Datatype.FLOAT32
    index: Mapping[str, Any] = field(default_factory=lambda: {"kind": "auto", "params": {}})
    extras: Mapping[str, Any] = field(default_factory=dict)
    multivector: MultiVectorSpec | None = None

    def __post_init__(self) -> None:
        if self.multivector is not None:
            self._check_multivector(self.multivector)
        if not 1 <= self.size <= limits.VECTOR_DIMENSIONS_MAX:
            raise Unprocessable(
                f"vector size must be between 1 and {limits.VECTOR_DIMENSIONS_MAX}, got {self.size}",
                "vectors.size",
            )

    def _check_multivector(self, multivector: MultiVectorSpec) -> None:
        if self.datatype is Datatype.UINT8:
            raise InvalidRequest(
                "multi-vectors have the datatype float32 or float16, got uint8; "
                "`tokens.encoding` of lvq8 takes as little room",
                "vectors.datatype",
            )
        if self.distance.larger_is_nearer:
            return
        if multivector.pools:
            raise InvalidRequest(
                f"tokens are pooled by their cosines: not with distance {self.distance}", "vectors.tokens"
            )
        if self.token_encoding.is_codes:
            raise InvalidRequest(
                f"tokens of distance {self.distance} are stored as float32 or float16, "
                f"got {multivector.encoding}",
                "vectors.tokens.encoding",
            )

    @property
    def token_encoding(self) -> TokenEncoding:
        """How the tokens of a multi-vector are stored."""
        chosen = None if self.multivector is None else self.multivector.encoding
        return TokenEncoding(self.datatype.value) if chosen is None else chosen


@dataclass(frozen=True)
class CollectionSchema:
    """Everything decided when a collection is created or updated; stored as canonical JSON.

    Args:
        vectors: by name; the key `""` (UNNAMED) alone for a collection without vector names; may be empty.
        payload_fields: declared payload indexes, by dotted key, each with its params as given
            (`{"type": "keyword", ...}`).
        settings: wire-format sections that are kept and echoed (`hnsw_config`, `optimizers_config`,
            `metadata`, ...).
    """

    vectors: Mapping[str, VectorSpec]
    payload_fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
