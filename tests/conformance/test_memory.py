"""Memory: the estimate is honest about the index, and the index about the process."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.conformance import cases

# Builds in a fresh process and prints by how much its resident memory grew, and what the index says.
MEASURE = """
import ctypes, json, sys
import numpy as np, psutil
from nearfield.index_builders import default_registry
from nearfield.engine.index.protocol import BuildContext

kind, dtype, params = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
builder = default_registry().builder(kind)
rows = (np.random.default_rng(0).random((40_000, 128), dtype=np.float32) * 200).astype(dtype)
builder.build(rows[:500].copy(), "l2", builder.parse_params(params), BuildContext())
before = psutil.Process().memory_info().rss
index = builder.build(rows, "l2", builder.parse_params(params), BuildContext(threads=2))
index.search(rows[:1].astype(np.float32), 10, {})
if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
    trim(0)  # what building freed is not the index's
print(json.dumps({"grown": psutil.Process().memory_info().rss - before, "says": index.resident_bytes()}))
"""


@pytest.mark.parametrize("dimensions", [8, 96, 400])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_the_estimate_is_within_a_quarter(kind: str, dimensions: int) -> None:
    rows = np.random.default_rng(0).random((10_000, dimensions), dtype=np.float32)
    builder = cases.REGISTRY.builder(kind)
    for given in ({}, {"m": 8, "ef_construction": 16}) if kind == "hnsw" else ({},):
        params = builder.parse_params({**given, **({"ef_construction": 16} if kind == "hnsw" else {})})
        says = builder.build(rows, "l2", params, cases.PLAIN).resident_bytes()
        estimate = builder.estimate_bytes(*rows.shape, params)
        assert abs(estimate - says) <= 0.25 * says


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("kind", cases.KINDS)
def test_resident_bytes_are_what_the_process_grows_by(kind: str, dtype: str) -> None:
    params = {"ef_construction": 16} if kind == "hnsw" else {}
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, kind, dtype, json.dumps(params)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    measured = json.loads(output)
    spare = 4 * 2**20  # blocks, samples and the allocator's own slack
    assert measured["says"] * 0.8 - spare <= measured["grown"] <= measured["says"] * 1.25 + spare
