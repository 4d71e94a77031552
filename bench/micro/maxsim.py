"""Exact MaxSim against numpy, document by document: scores per second of both, interleaved in one run.

Run as `python -m nearfield.bench.micro.maxsim`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_scan

Floats = NDArray[np.float32]


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def numpy_scan(query: Floats, documents: TokenRows) -> Floats:
    """MaxSim of every document, one product of matrices each."""
    bounds = documents.bounds()
    scores = np.empty(documents.count, np.float32)
    for i in range(documents.count):
        tokens = documents.values[bounds[i] : bounds[i + 1]].astype(np.float32, copy=False)
        scores[i] = (query @ tokens.T).max(axis=1).sum()
    return scores


def main() -> None:
    """Measure, and print one JSON line per encoding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--tokens", type=int, default=128, help="of a document")
    parser.add_argument("--query-tokens", type=int, default=32)
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    query = random.standard_normal((given.query_tokens, given.dims), dtype=np.float32)
    tokens = random.standard_normal((given.documents * given.tokens, given.dims), dtype=np.float32)
    offsets = np.array([0, given.query_tokens], np.int64)
    for encoding in (TokenEncoding.FLOAT32, TokenEncoding.FLOAT16):
        rows = TokenRows.encode(tokens, None, encoding, tokens_per_document=given.tokens)
        taken: dict[str, list[float]] = {"numpy_s": [], "scan_s": []}
        for _ in range(given.rounds):
            taken["numpy_s"].append(seconds(partial(numpy_scan, query, rows)))
            taken["scan_s"].append(seconds(partial(maxsim_scan, query, offsets, rows, 10)))
        figures = {name: statistics.median(values) for name, values in taken.items()}
        line = {"isa": _native.isa(), "encoding": encoding.value, **figures}
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
