"""Creating, changing and describing collections."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType, field

from nearfield.server.schemas.common import Answer, Body, Payload, PayloadKey, ShardKey

Kept = Annotated[
    dict[str, Any], Meta(description="Kept and shown again; without effect on this engine's storage.")
]


class HnswConfig(Body):
    """Graph parameters. `m` and `ef_construct` are used by the `hnsw` index; the rest is kept and shown."""

    m: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    ef_construct: Annotated[int, Meta(ge=4, le=100_000)] | None = None
    full_scan_threshold: Annotated[int, Meta(ge=0)] | None = None
    max_indexing_threads: Annotated[int, Meta(ge=0)] | None = None
    on_disk: bool | None = None
    memory: str | None = None
    payload_m: Annotated[int, Meta(ge=0)] | None = None
    inline_storage: bool | None = None


class OptimizersConfig(Body):
    """Kept and shown; when segments are sealed, merged and indexed is this engine's own decision."""

    deleted_threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    vacuum_min_vector_number: Annotated[int, Meta(ge=0)] | None = None
    default_segment_number: Annotated[int, Meta(ge=0)] | None = None
    max_segment_size: Annotated[int, Meta(ge=0)] | None = None
    memmap_threshold: Annotated[int, Meta(ge=0)] | None = None
    indexing_threshold: Annotated[int, Meta(ge=0)] | None = None
    flush_interval_sec: Annotated[int, Meta(ge=0)] | None = None
    max_optimization_threads: Annotated[int, Meta(ge=0)] | Literal["auto"] | None = None
    prevent_unoptimized: bool | None = None


class WalConfig(Body):
    """Kept and shown; this engine's log is SQLite's."""

    wal_capacity_mb: Annotated[int, Meta(ge=1)] | None = None
    wal_segments_ahead: Annotated[int, Meta(ge=0)] | None = None
    wal_retain_closed: Annotated[int, Meta(ge=0)] | None = None


class IndexChoice(Body):
    """Which index sealed segments get, and its parameters; multi-vectors have `auto`, `flat` and `muvera`."""

    kind: Annotated[str, Meta(examples=["auto", "flat", "hnsw", "ivf", "muvera"])] = "auto"
    params: Annotated[dict[str, Any], Meta(examples=[{"m": 16, "ef_construction": 200}])] = field(
        default_factory=dict
    )


class MultiVectorConfig(Body):
    """Makes a vector a multi-vector: a point has a matrix, that is a list of vectors, one per token."""

    comparator: Annotated[
        Literal["max_sim"],
        Meta(
            description="Score of a query matrix: the sum, over its rows, of the best similarity to any "
            "row of the point's matrix."
        ),
    ]


class TokensConfig(Body):
    """How the matrices of a multi-vector are stored. Clients that cannot send it use `metadata.tokens`."""

    encoding: (
        Annotated[
            Literal["float32", "float16", "lvq8", "lvq4"],
            Meta(
                description="The vector's `datatype` if left out. `lvq8` and `lvq4` store codes of 8 or 4 "
                "bits in place of the numbers (Cosine and Dot only); vectors that come back are decoded ones."
            ),
        ]
        | None
    ) = None
    pool_factor: Annotated[
        int,
        Meta(
            description="Cluster the tokens of each document when it is written, about this many to a "
            "cluster, and store the clusters' means (Cosine and Dot only; the first token stays as it is).",
            ge=1,
            le=65_536,
        ),
    ] = 1
    pool_to: (
        Annotated[
            int,
            Meta(description="The same, with exactly this many vectors for every document.", ge=1, le=65_536),
        ]
        | None
    ) = None
    vectors_per_document: (
        Annotated[
            int,
            Meta(
                description="Refuse documents that do not have exactly this many; such documents are stored "
                "without offsets.",
                ge=1,
                le=65_536,
            ),
        ]
        | None
    ) = None


class VectorParams(Body):
    """One vector of a collection."""

    size: Annotated[int, Meta(description="Number of dimensions.", ge=1, le=65_536, examples=[4])]
    distance: Annotated[
        Literal["Cosine", "Dot", "Euclid", "Manhattan"],
        Meta(description="How vectors compare; Cosine vectors are normalised when written."),
    ]
    datatype: Literal["float32", "float16", "uint8"] | None = None
    index: IndexChoice | None = None
    hnsw_config: HnswConfig | None = None
    quantization_config: Kept | None = None
    on_disk: bool | None = None
    memory: str | None = None
    multivector_config: MultiVectorConfig | None = None
    tokens: TokensConfig | None = None


VectorsConfig = Annotated[
    dict[str, Any],
    Meta(
        description="The parameters of the one unnamed vector, or an object of parameters by vector name.",
        examples=[{"size": 4, "distance": "Cosine"}, {"text": {"size": 4, "distance": "Dot"}}],
        extra_json_schema={
            "anyOf": [
                {"$ref": "#/components/schemas/VectorParams"},
                {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/VectorParams"}},
            ]
        },
    ),
]


class CreateCollection(Body):
    """A new collection."""

    vectors: VectorsConfig | None = None
    index: (
        Annotated[
            IndexChoice,
            Meta(description="Index of every vector that names none and that the kind is for."),
        ]
        | None
    ) = None
    metadata: Payload | None = None
    hnsw_config: HnswConfig | None = None
    optimizers_config: OptimizersConfig | None = None
    wal_config: WalConfig | None = None
    quantization_config: Kept | None = None
    strict_mode_config: Kept | None = None
    sparse_vectors: (
        Annotated[
            dict[str, Any],
            Meta(
                description="Only `{}` is served; others are answered 400.",
                extra_json_schema={"maxProperties": 0},
            ),
        ]
        | None
    ) = None
    on_disk_payload: bool | None = None
    payload: Kept | None = None
    id_tracker: Kept | None = None
    shard_number: Annotated[int, Meta(ge=1)] | None = None
    sharding_method: Literal["auto", "custom"] | None = None
    replication_factor: Annotated[int, Meta(ge=1)] | None = None
    write_consistency_factor: Annotated[int, Meta(ge=1)] | None = None
    init_from: ShardKey | None = None


class CollectionParamsChange(Body):
    """Kept and shown."""

    replication_factor: Annotated[int, Meta(ge=1)] | None = None
    write_consistency_factor: Annotated[int, Meta(ge=1)] | None = None
    read_fan_out_factor: Annotated[int, Meta(ge=0)] | None = None
    read_fan_out_delay_ms: Annotated[int, Meta(ge=0)] | None = None
    on_disk_payload: bool | None = None
    payload: Kept | None = None
    id_tracker: Kept | None = None


class VectorParamsChange(Body):
    """New parameters of one existing vector."""

    index: IndexChoice | None = None
    hnsw_config: HnswConfig | None = None
    quantization_config: Any = None
    on_disk: bool | None = None
    memory: str | None = None


class UpdateCollection(Body):
    """What to change; fields left out stay as they are."""

    vectors: dict[str, VectorParamsChange] | None = None
    index: IndexChoice | None = None
    metadata: (
        Annotated[dict[str, Any], Meta(description="Merged into the metadata; a null removes its key.")]
        | None
    ) = None
    params: CollectionParamsChange | None = None
    hnsw_config: HnswConfig | None = None
    optimizers_config: OptimizersConfig | None = None
    quantization_config: Any = None
    strict_mode_config: Kept | None = None
    sparse_vectors: dict[str, Any] | None = None


class FieldIndex(Body):
    """A payload key to index."""

    field_name: PayloadKey
    field_schema: (
        Annotated[
            str | dict[str, Any],
            Meta(
                description="Type of the key's values, alone or as `{type: ..., ...}` with its parameters.",
                examples=["keyword", {"type": "integer", "range": True}],
            ),
        ]
        | None
    ) = None


class CreateAlias(Body):
    """Give a collection another name."""

    collection_name: str
    alias_name: Annotated[str, Meta(min_length=1, max_length=255)]


class DeleteAlias(Body):
    """Remove a name."""

    alias_name: str


class RenameAlias(Body):
    """Change a name."""

    old_alias_name: str
    new_alias_name: Annotated[str, Meta(min_length=1, max_length=255)]


class AliasAction(Body):
    """One of the three."""

    create_alias: CreateAlias | UnsetType = UNSET
    delete_alias: DeleteAlias | UnsetType = UNSET
    rename_alias: RenameAlias | UnsetType = UNSET


class ChangeAliases(Body):
    """Done in order, all or none."""

    actions: list[AliasAction]


class CollectionName(Answer):
    """Name of a collection."""

    name: str


class CollectionList(Answer):
    """Every collection."""

    collections: list[CollectionName]


class Existence(Answer):
    """Whether it is there."""

    exists: bool


class Alias(Answer):
    """A second name of a collection."""

    alias_name: str
    collection_name: str


class AliasList(Answer):
    """Second names of collections."""

    aliases: list[Alias]


class CollectionConfigInfo(Answer):
    """How the collection was configured."""

    params: dict[str, Any]
    hnsw_config: dict[str, Any]
    optimizer_config: dict[str, Any]
    wal_config: dict[str, Any]
    quantization_config: dict[str, Any] | None = None
    strict_mode_config: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class CollectionState(Answer):
    """State, counts and configuration."""

    status: Literal["green", "yellow", "red"]
    optimizer_status: Literal["ok"] | dict[str, str]
    points_count: int
    indexed_vectors_count: int
    segments_count: int
    config: CollectionConfigInfo
    payload_schema: dict[str, Any]
    bytes: Annotated[dict[str, int], Meta(description="Bytes in memory and on disk, by component.")]


class MeasuredRecall(Answer):
    """Recall at k, a mean over sampled queries, by search breadth: `ef` (`hnsw_ef` of a search) of graphs,
    `candidates` of multi-vectors.
    """

    k: int
    sample: Annotated[
        Literal["training_queries", "mirrored_rows", "mixed_documents"],
        Meta(
            description="What was asked: real queries, rows mirrored at one of their neighbours, or tokens "
            "of two documents each."
        ),
    ]
    queries: int
    recall: list[float]
    standard_error: list[float]
    ef: list[int] | UnsetType = UNSET
    candidates: list[int] | UnsetType = UNSET


class TargetBreadth(Answer):
    """What a search for `target_recall` does."""

    reached: Annotated[bool, Meta(description="False: the target is beyond what was measured.")]
    ef: Annotated[int | None, Meta(description="Its breadth; null: a scan.")] | UnsetType = UNSET
    candidates: Annotated[int, Meta(description="How many documents MaxSim ranks.")] | UnsetType = UNSET


class SegmentRecall(Answer):
    """How a part of the points is searched, and the recall that was measured there."""

    points: Annotated[int, Meta(description="Including deleted ones that still take room.")]
    kind: Annotated[str | None, Meta(description="Kind of index; null: scanned, which finds everything.")]
    params: dict[str, Any]
    measured: Annotated[MeasuredRecall | None, Meta(description="Null: not measured.")]
    target: Annotated[
        TargetBreadth | None,
        Meta(description="Null: none asked for, or not measured, so that it is refused."),
    ]


class CollectionRecall(Answer):
    """By vector name."""

    vectors: dict[str, list[SegmentRecall]]
