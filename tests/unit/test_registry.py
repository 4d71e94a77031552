"""Kinds by name: discovery, laziness, what users ask for, what is stored."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearfield.engine import limits
from nearfield.engine.errors import Corrupted, InvalidRequest
from nearfield.engine.index.registry import Registry, discover
from nearfield.engine.index.spec import IndexConfig, IndexSpec
from nearfield.index_builders import default_registry
from nearfield.index_builders.flat import FlatBuilder


def test_installed_kinds_are_discovered() -> None:
    found, built_in = discover(), default_registry()
    assert set(built_in.kinds()) <= set(found.kinds())
    assert set(built_in.policies()) <= set(found.policies())


def test_no_index_library_loads_before_its_kind_is_used() -> None:
    program = """
import sys
import nearfield.index_builders
from nearfield.engine.index.registry import discover
registry = discover()
registry.kinds(), registry.builder("flat")
assert not {"faiss", "hnswlib"} & set(sys.modules), sorted(sys.modules)
registry.builder("hnsw")
assert "hnswlib" in sys.modules and "faiss" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_new_kind_needs_no_change_here() -> None:
    class Other(FlatBuilder):
        kind = "other"

    made: list[str] = []

    def load() -> Other:
        made.append("other")
        return Other()

    registry = default_registry()
    registry.register("other", load)
    assert "other" in registry.kinds() and made == []
    assert registry.resolve({"kind": "other"}, 5, 3, "l1").kind == "other"
    assert registry.builder("other") is registry.builder("other") and made == ["other"]
    with pytest.raises(ValueError, match="`other` is already registered"):
        registry.register("other", load)
    with pytest.raises(ValueError, match="`auto` is already registered"):
        registry.register("auto", load)


@pytest.mark.parametrize(
    "count, metric, kind",
    [
        (limits.INDEX_ROWS_MIN - 1, "l2", "flat"),
        (limits.INDEX_ROWS_MIN, "l2", "leanvec"),
        (None, "cosine", "leanvec"),
        (1_000_000, "l1", "flat"),
        (None, "l1", "flat"),
    ],
)
def test_auto_chooses(count: int | None, metric: str, kind: str) -> None:
    spec = default_registry().resolve({"kind": "auto", "params": {"m": 24}}, count, 64, metric)
    assert spec.kind == kind
    assert kind == "flat" or spec.params["degree"] == 48
    assert default_registry().resolve({}, count, 64, metric).kind == kind


@pytest.mark.parametrize(
    "config, message",
    [
        ("hnsw", "index must be an object"),
        ({"kind": 3}, "kind must be a string"),
        ({"kind": "hnsw", "params": []}, None),
        ({"kind": "hnsw", "params": [1]}, "params must be an object"),
        ({"kind": "hnsw", "size": 1}, "got `size`"),
        ({"kind": "tree"}, "must be one of auto, flat, graph, hnsw, ivf, leanvec, lvq, got `tree`"),
        ({"kind": "hnsw", "params": {"M": 16}}, "no parameter `M`; it has: deterministic, ef, .*, m"),
        ({"kind": "hnsw", "params": {"m": 1}}, "m must be an integer from 2 to 512, got 1"),
        ({"kind": "hnsw", "params": {"m": 16.0}}, "m must be an integer"),
        ({"kind": "hnsw", "params": {"m": True}}, "m must be an integer"),
        ({"kind": "hnsw", "params": {"deterministic": 1}}, "deterministic must be true or false"),
        ({"kind": "lvq", "params": {"encoding": "lvq5"}}, "encoding must be one of lvq4, .*got 'lvq5'"),
        ({"kind": "lvq", "params": {"rotation": 1}}, "rotation must be true or false, got 1"),
        ({"kind": "lvq", "params": {"method": "pca"}}, "`lvq` has no parameter `method`"),
        ({"kind": "leanvec", "params": {"primary_encoding": "none"}}, "one of lvq4, lvq8, null, got"),
        ({"kind": "leanvec", "params": {"method": "svd"}}, "pca, sphering, eigenvector_search, frank"),
        ({"kind": "graph", "params": {"secondary_encoding": None}}, "none, lvq4, lvq8, got None"),
        ({"kind": "ivf", "params": {"nlist": 0}}, "nlist must be an integer from 1"),
        ({"kind": "flat", "params": {"m": 1}}, "`flat` has no parameter `m`; it has: none"),
        ({"kind": "auto", "params": {"nlist": 1}}, "no parameter `nlist`"),
    ],
)  # fmt: skip
def test_what_users_get_wrong(config: Any, message: str | None) -> None:
    if message is None:
        assert default_registry().resolve(config, 10, 3, "l2").kind == "hnsw"
        return
    with pytest.raises(InvalidRequest, match=message):
        default_registry().resolve(config, 10, 3, "l2")


def test_a_spec_is_canonical_json() -> None:
    spec = IndexSpec("ivf", {"nprobe": None, "nlist": 7}, 1)
    text = '{"format_version":1,"kind":"ivf","params":{"nlist":7,"nprobe":null}}'
    assert spec.to_json() == text
    assert IndexSpec.from_json(text) == spec
    for broken in ("", "[]", "{}", '{"kind":1,"params":{},"format_version":1}', text.replace("1", '"1"')):
        with pytest.raises(Corrupted, match="expected the JSON of an index spec"):
            IndexSpec.from_json(broken)
    assert IndexConfig.parse({}) == IndexConfig("auto", {})


def test_files_of_unknown_kind_or_format_are_corrupted(tmp_path: Path) -> None:
    rows = np.zeros((1, 2), dtype=np.float32)
    with pytest.raises(Corrupted, match="`hnsw` is not installed"):
        Registry().open(IndexSpec("hnsw", {}, 1), tmp_path, rows, "l2")
    with pytest.raises(Corrupted, match="have format 99, expected 1"):
        default_registry().open(IndexSpec("flat", {}, 99), tmp_path, rows, "l2")
