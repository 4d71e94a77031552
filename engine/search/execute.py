"""Answer a batch of vector queries over pinned segments."""

from collections.abc import Sequence

from nearfield.engine.search.request import DistanceByName, Ranking, SearchableSegment, VectorQuery


def search_batch(
    segments: Sequence[SearchableSegment],
    distances: DistanceByName,
    queries: Sequence[VectorQuery],
    threads: int = 1,
) -> list[Ranking]:
    """The nearest live rows of every query, in the order of the queries.

    Args:
        segments: what the caller pinned; each global row is live in at most one of them.
        distances: how each vector name compares (`schema.vectors[name].distance`).
        queries: resolved questions; those of the same `using`, k, `allowed` array and params go to native code together.
        threads: native threads per call.

    Returns:
        One Ranking per query: rows int64 [h], scores float32 [h], h <= k.
    """
    return []
