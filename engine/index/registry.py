"""Index kinds by name, the only dynamic lookup of the engine. A kind's libraries load at its first use."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Protocol

from nearfield.engine.errors import Corrupted, InvalidRequest
from nearfield.engine.index.multivector import MultiVectorIndex, MultiVectorIndexBuilder
from nearfield.engine.index.protocol import IndexBuilder, MappingBuilder, RowChecks, Rows, VectorIndex
from nearfield.engine.index.spec import IndexConfig, IndexSpec
from nearfield.engine.multivector.token_rows import TokenRows

ENTRY_POINT_GROUP: Final = "nearfield.index_builders"
"""Each entry point names a function that takes a Registry and registers kinds in it."""


class IndexPolicy(Protocol):
    """A kind that stands for a choice among kinds, such as `auto`."""

    def choose(
        self, registry: "Registry", count: int | None, dimensions: int, metric: str, params: Mapping[str, Any]
    ) -> IndexConfig:
        """The concrete config for that many rows (None: for the largest segments).

        Raises:
            InvalidRequest: the params are not understood.
        """
        ...


class Registry:
    """Builders and policies by kind; made once at the composition root and then only read."""

    def __init__(self) -> None:
        self._builder_loaders: dict[str, Callable[[], IndexBuilder]] = {}
        self._policy_loaders: dict[str, Callable[[], IndexPolicy]] = {}
        self._builders: dict[str, IndexBuilder] = {}
        self._multivector_loaders: dict[str, Callable[[], MultiVectorIndexBuilder]] = {}
        self._multivector_builders: dict[str, MultiVectorIndexBuilder] = {}

    def register(self, kind: str, load: Callable[[], IndexBuilder]) -> None:
        """Make a kind known; `load` imports and makes its builder at first use.

        Raises:
            ValueError: the kind is taken.
        """
        self._reserve(kind)
        self._builder_loaders[kind] = load

    def register_policy(self, kind: str, load: Callable[[], IndexPolicy]) -> None:
        """Make a policy known under a kind's name.

        Raises:
            ValueError: the kind is taken.
        """
        self._reserve(kind)
        self._policy_loaders[kind] = load

    def register_multivector(self, kind: str, load: Callable[[], MultiVectorIndexBuilder]) -> None:
        """Make a kind for documents of many vectors known; its names are apart from those of other kinds.

        Raises:
            ValueError: the kind is taken.
        """
        if kind in self._multivector_loaders:
            raise ValueError(f"multi-vector index kind `{kind}` is already registered")
        self._multivector_loaders[kind] = load

    def multivector_kinds(self) -> list[str]:
        """Kinds for documents of many vectors, sorted."""
        return sorted(self._multivector_loaders)

    def multivector_builder(self, kind: str) -> MultiVectorIndexBuilder:
        """The builder of a kind for documents of many vectors.

        Raises:
            InvalidRequest: no such kind.
        """
        builder = self._multivector_builders.get(kind)
        if builder is None:
            self._require_known(kind, self._multivector_loaders)
            builder = self._multivector_builders.setdefault(kind, self._multivector_loaders[kind]())
        return builder

    def resolve_multivector(self, config: Mapping[str, Any]) -> IndexSpec:
        """The concrete spec a user's index config means for documents of many vectors.

        Raises:
            InvalidRequest: unknown kind or parameter.
        """
        wanted = IndexConfig.parse(config)
        builder = self.multivector_builder(wanted.kind)
        return IndexSpec(builder.kind, builder.parse_params(wanted.params), builder.format_version)

    def open_multivector(self, spec: IndexSpec, directory: Path, documents: TokenRows) -> MultiVectorIndex:
        """As `open`, for documents of many vectors.

        Raises:
            Corrupted: damaged, for other documents, or in a format this version does not read: rebuild it.
        """
        if spec.kind not in self._multivector_loaders:
            known = ", ".join(self.multivector_kinds())
            raise Corrupted(f"multi-vector index kind `{spec.kind}` is not installed; known: {known}")
        builder = self.multivector_builder(spec.kind)
        _require_format(spec, builder.format_version)
        return builder.open(directory, documents, spec.params)

    def kinds(self) -> list[str]:
        """Concrete kinds, sorted."""
        return sorted(self._builder_loaders)

    def policies(self) -> list[str]:
        """Kinds that choose another kind, sorted."""
        return sorted(self._policy_loaders)

    def builder(self, kind: str) -> IndexBuilder:
        """The builder of a concrete kind.

        Raises:
            InvalidRequest: no such kind.
        """
        builder = self._builders.get(kind)
        if builder is None:
            self._require_known(kind, self._builder_loaders)
            builder = self._builders.setdefault(kind, self._builder_loaders[kind]())
        return builder

    def resolve(
        self, config: Mapping[str, Any], count: int | None, dimensions: int, metric: str
    ) -> IndexSpec:
        """The concrete spec a user's index config means for a segment.

        Args:
            config: `{"kind": ..., "params": {...}}`, as a VectorSpec carries it.
            count: rows of the segment; None for the largest.
            metric: `l2`, `ip`, `cosine` or `l1`.

        Raises:
            InvalidRequest: unknown kind or parameter, or a metric the kind does not compute.
        """
        wanted = IndexConfig.parse(config)
        if wanted.kind in self._policy_loaders:
            policy = self._policy_loaders[wanted.kind]()
            wanted = policy.choose(self, count, dimensions, metric, wanted.params)
        self._require_known(wanted.kind, {**self._builder_loaders, **self._policy_loaders})
        builder = self.builder(wanted.kind)
        if metric not in builder.metrics:
            raise InvalidRequest(
                f"index kind `{builder.kind}` computes {', '.join(sorted(builder.metrics))}, not {metric}",
                "index.kind",
            )
        return IndexSpec(builder.kind, builder.parse_params(wanted.params), builder.format_version)

    def open(self, spec: IndexSpec, directory: Path, rows: Rows, metric: str) -> VectorIndex:
        """Open the index that was saved in a directory with this spec.

        Raises:
            Corrupted: damaged, for other rows, or in a format this version does not read: rebuild it.
        """
        if spec.kind not in self._builder_loaders:
            raise Corrupted(f"index kind `{spec.kind}` is not installed; known: {', '.join(self.kinds())}")
        builder = self.builder(spec.kind)
        _require_format(spec, builder.format_version)
        return builder.open(directory, rows, metric, spec.params)

    def maps(self, kind: str) -> bool:
        """Whether indexes of a kind can be opened without reading much."""
        return kind in self._builder_loaders and isinstance(self.builder(kind), MappingBuilder)

    def open_mapped(
        self, spec: IndexSpec, directory: Path, rows: Rows, metric: str, checks: RowChecks
    ) -> VectorIndex:
        """As `open`, of a kind that `maps`; see MappingBuilder.open_mapped.

        Raises:
            Corrupted: see there, or in a format this version does not read: rebuild it.
        """
        builder = self.builder(spec.kind)
        assert isinstance(builder, MappingBuilder)
        _require_format(spec, self.builder(spec.kind).format_version)
        return builder.open_mapped(directory, rows, metric, spec.params, checks)

    def _reserve(self, kind: str) -> None:
        if kind in self._builder_loaders or kind in self._policy_loaders:
            raise ValueError(f"index kind `{kind}` is already registered")

    def _require_known(self, kind: str, known: Mapping[str, Any]) -> None:
        if kind not in known:
            raise InvalidRequest(
                f"index kind must be one of {', '.join(sorted(known))}, got `{kind}`", "index.kind"
            )


def _require_format(spec: IndexSpec, expected: int) -> None:
    if spec.format_version != expected:
        raise Corrupted(
            f"files of index kind `{spec.kind}` have format {spec.format_version}, expected {expected}"
        )


def discover() -> Registry:
    """A registry with every kind the installed packages offer, ours included."""
    registry = Registry()
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda found: found.name):
        entry_point.load()(registry)
    return registry
