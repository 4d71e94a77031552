"""Queries made of documents, for measuring where no real ones are known."""

from typing import Final

import numpy as np

from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.index_builders.multivector.encoding import Sets

_DOCUMENTS: Final = 2
_TOKENS: Final = 8


def mixed_queries(documents: TokenRows, count: int, seed: int) -> Sets:
    """Queries of up to 16 tokens, half of each from one of two documents, in their order.

    A piece of one document is easier than a real query: the document itself answers it, and its encoding
    was made of these very tokens. Two that have nothing in common have no document that answers both, as
    hard queries do. Decision 0019 has them compared.
    """
    rng = np.random.default_rng(seed)
    with_tokens = np.flatnonzero(np.diff(documents.bounds()))
    taken = documents.take(rng.choice(with_tokens, count * _DOCUMENTS))
    bounds = taken.bounds()
    lengths = np.diff(bounds)
    used = np.minimum(lengths, _TOKENS)
    first = bounds[:-1] + (rng.random(len(used)) * (lengths - used + 1)).astype(np.int64)
    before = np.cumsum(used) - used
    rows = np.repeat(first - before, used) + np.arange(used.sum())
    ends = np.cumsum(used.reshape(count, -1).sum(axis=1))
    return np.ascontiguousarray(taken.decode()[rows]), np.concatenate([[0], ends]).astype(np.int64)
