"""What others search documents of many vectors with, where it is installed."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from nearfield.bench.scenarios.multivector_corpus import Corpus, Found, Way
from nearfield.engine.search.maxsim import maxsim_rerank

TOKEN_NEIGHBOURS: Final = (2, 5, 10, 20, 50, 100)
"""Nearest tokens asked for per query token; pylate asks for 100."""
_M: Final = 64
_EF_CONSTRUCTION: Final = 200
_EF: Final = 200


def installed_peers(corpus: Corpus, threads: int, say: Callable[[str], None]) -> list[Way]:
    """Ways of the libraries that can be imported here; `say` hears which cannot."""
    if importlib.util.find_spec("voyager") is None:
        say("voyager is not installed: its graph of tokens is left out")
        return []
    return [token_graph(corpus, threads)]


def token_graph(corpus: Corpus, threads: int) -> Way:
    """HNSW over all tokens of all documents, a search per query token, exact MaxSim of every document found.

    The graph and its parameters are those of pylate's Voyager index (M 64, ef_construction and ef 200);
    candidates are ranked by our kernels, faster than by the peer's own product of matrices. The axis is the
    number of tokens per query token; documents found are as many as they are.
    """
    voyager: Any = importlib.import_module("voyager")
    documents = corpus.documents
    bounds = documents.bounds()
    index = voyager.Index(
        voyager.Space.InnerProduct, documents.dimensions, M=_M, ef_construction=_EF_CONSTRUCTION
    )
    index.add_items(documents.decode(), num_threads=threads)

    def search(neighbours: int, k: int) -> Found:
        rows: Found = np.full((corpus.query_count, k), -1, np.int64)
        for i in range(corpus.query_count):
            tokens = corpus.queries[corpus.query_offsets[i] : corpus.query_offsets[i + 1]]
            found, _ = index.query(tokens, k=neighbours, num_threads=1, query_ef=max(_EF, neighbours))
            holding = np.searchsorted(bounds, found.reshape(-1).astype(np.int64), side="right") - 1
            candidates = np.unique(holding)[None]
            rows[i] = maxsim_rerank(tokens, np.array([0, len(tokens)]), documents, candidates, k).rows[0]
        return rows

    return Way("voyager token graph", search, TOKEN_NEIGHBOURS, len(index.as_bytes()) / documents.count)
