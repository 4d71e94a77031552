"""Exact MaxSim against numpy document by document, and against a plain matrix product of the same shape.

Run as `python -m nearfield.bench.micro.maxsim`. Everything runs on one thread and takes turns within one run,
and medians are compared, because other work on the machine moves all alike. A rate counts two operations for
each pair of coordinates that meet, whatever else is done: the plain product writes all inner products and has
no maximum to take.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PRODUCT_TOKENS = 4096
"""Document tokens of one plain product: its operands stay in the second-level cache."""

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


def products(queries: Floats, tokens: Floats, out: Floats) -> None:
    """All inner products, in blocks of tokens."""
    for first in range(0, len(tokens), PRODUCT_TOKENS):
        np.matmul(queries, tokens[first : first + PRODUCT_TOKENS].T, out=out)


def random_tokens(count: int, dims: int, seed: int) -> Floats:
    """Unit vectors [count, dims]."""
    return _native.unit_rows(np.random.default_rng(seed).standard_normal((count, dims), dtype=np.float32))


def cases(given: argparse.Namespace) -> dict[str, tuple[int, Callable[[], object]]]:
    """What to time, with the number of inner products of each."""
    queries = random_tokens(given.batch * given.query_tokens, given.dims, 0)
    tokens = random_tokens(given.documents * given.tokens, given.dims, 1)
    starts = np.arange(given.batch + 1, dtype=np.int64) * given.query_tokens
    one, pairs = queries[: given.query_tokens], given.query_tokens * len(tokens)
    result = np.empty((len(queries), PRODUCT_TOKENS), np.float32)
    candidates = np.random.default_rng(2).integers(0, given.documents, (given.batch, 100))
    rerank_pairs = given.batch * 100 * given.query_tokens * given.tokens
    timed: dict[str, tuple[int, Callable[[], object]]] = {
        "product of one query": (pairs, partial(products, one, tokens, result[: given.query_tokens])),
        "product of the batch": (pairs * given.batch, partial(products, queries, tokens, result)),
    }
    for encoding in TokenEncoding:
        rows = TokenRows.encode(tokens, None, encoding, tokens_per_document=given.tokens)
        if not encoding.is_codes:
            timed[f"numpy, {encoding}"] = (pairs, partial(numpy_scan, one, rows))
        timed[f"scan, {encoding}"] = (pairs, partial(maxsim_scan, one, starts[:2], rows, 10))
        timed[f"scan of the batch, {encoding}"] = (
            pairs * given.batch,
            partial(maxsim_scan, queries, starts, rows, 10),
        )
        timed[f"re-rank of 100, {encoding}"] = (
            rerank_pairs,
            partial(maxsim_rerank, queries, starts, rows, candidates, 10),
        )
    return timed


def show(figures: Mapping[str, object]) -> None:
    """Print one JSON line."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print one JSON line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2_048)
    parser.add_argument("--tokens", type=int, default=128, help="of a document")
    parser.add_argument("--query-tokens", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16, help="queries of a batch")
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose names contain this")
    given = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        # Read when numpy loads: start again with it.
        os.execve(
            sys.executable, [sys.executable, str(Path(__file__)), *sys.argv[1:]], os.environ | ONE_THREAD
        )
    timed = {name: case for name, case in cases(given).items() if given.only in name}
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(given.rounds):
        for name, (_, action) in timed.items():
            taken[name].append(seconds(action))
    show({"isa": _native.isa(), **vars(given)})
    for name, (pairs, _) in timed.items():
        median = statistics.median(taken[name])
        show(
            {
                "case": name,
                "seconds": round(median, 5),
                "gflop_s": round(2e-9 * pairs * given.dims / median, 1),
            }
        )


if __name__ == "__main__":
    main()
