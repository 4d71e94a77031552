"""Index builders: ways to turn a matrix of vectors into a searchable, immutable index.

Importing this package loads no index library; a kind's library loads when the kind is first used.
"""

from nearfield.engine.index.multivector import MultiVectorIndexBuilder
from nearfield.engine.index.protocol import IndexBuilder
from nearfield.engine.index.registry import IndexPolicy, Registry
from nearfield.index_builders.build import Index, build_index, open_index
from nearfield.index_builders.multivector.build import (
    MultiVectorLibraryIndex,
    build_multivector_index,
    open_multivector_index,
)

__all__ = [
    "Index",
    "MultiVectorLibraryIndex",
    "build_index",
    "build_multivector_index",
    "default_registry",
    "open_index",
    "open_multivector_index",
    "register",
]


def _flat() -> IndexBuilder:
    from nearfield.index_builders.flat import FlatBuilder

    return FlatBuilder()


def _hnsw() -> IndexBuilder:
    from nearfield.index_builders.hnsw import HnswBuilder

    return HnswBuilder()


def _ivf() -> IndexBuilder:
    from nearfield.index_builders.ivf import IvfBuilder

    return IvfBuilder()


def _graph() -> IndexBuilder:
    from nearfield.index_builders.graph.builder import graph_builder

    return graph_builder()


def _lvq() -> IndexBuilder:
    from nearfield.index_builders.graph.builder import lvq_builder

    return lvq_builder()


def _leanvec() -> IndexBuilder:
    from nearfield.index_builders.graph.builder import leanvec_builder

    return leanvec_builder()


def _auto() -> IndexPolicy:
    from nearfield.index_builders.auto import AutoPolicy

    return AutoPolicy()


def _muvera() -> MultiVectorIndexBuilder:
    from nearfield.index_builders.multivector.builder import MuveraBuilder

    return MuveraBuilder()


def register(registry: Registry) -> None:
    """Register our kinds; this is the entry point that `nearfield.engine.index.registry.discover` finds."""
    registry.register("flat", _flat)
    registry.register("hnsw", _hnsw)
    registry.register("ivf", _ivf)
    registry.register("graph", _graph)
    registry.register("lvq", _lvq)
    registry.register("leanvec", _leanvec)
    registry.register_policy("auto", _auto)
    registry.register_multivector("muvera", _muvera)
    registry.register_multivector("auto", _muvera)


def default_registry() -> Registry:
    """A registry with our kinds and no others."""
    registry = Registry()
    register(registry)
    return registry
