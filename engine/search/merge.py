"""Segments' hits into one ranking per query; the only place where a distance becomes a score."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import Hits
from nearfield.engine.schema import Distance
from nearfield.engine.search.request import Ranking, VectorQuery

NO_HITS = Ranking(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))


def merge_segments(parts: Sequence[Hits], k: int) -> Hits:
    """The k nearest over segments, by distance, then row.

    Args:
        parts: per segment, hits of the same queries in collection-wide rows, each sorted; at least one.
        k: how many are kept; fewer come back when the parts hold fewer.
    """
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([part.rows for part in parts], axis=1)
    distances = np.concatenate([part.distances for part in parts], axis=1)
    order = np.lexsort((rows, distances), axis=-1)[:, :k]
    return Hits(np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1))


def to_scores(distances: NDArray[np.float32], distance: Distance) -> NDArray[np.float32]:
    """User-facing scores of internal distances (any shape)."""
    if distance is Distance.COSINE:
        return 1.0 - distances
    if distance is Distance.DOT:
        return 0.0 - distances  # not `-distances`: an orthogonal hit scores 0.0, never -0.0
    return np.sqrt(distances) if distance is Distance.EUCLID else distances


def to_rankings(queries: Sequence[VectorQuery], hits: Hits, distance: Distance) -> list[Ranking]:
    """Each query's merged hits as scored answer, without pads, excluded rows and scores beyond the threshold.

    Args:
        hits: of these queries, in collection-wide rows.
    """
    scores = to_scores(hits.distances, distance)
    if -1 not in hits.rows[:, -1].tolist() and not any([query.excluded for query in queries]):
        rankings = [Ranking(*pair) for pair in zip(hits.rows, scores, strict=True)]
    else:
        rankings = [
            _without_excluded(query, Ranking(*pair))
            for query, pair in zip(queries, zip(hits.rows, scores, strict=True), strict=True)
        ]
    for at, query in enumerate(queries):
        if query.score_threshold is not None:
            rankings[at] = _above_threshold(rankings[at], query.score_threshold, distance)
    return rankings


def _without_excluded(query: VectorQuery, ranking: Ranking) -> Ranking:
    keep = ranking.rows >= 0
    if query.excluded:
        keep &= ~np.isin(ranking.rows, query.excluded)
    return Ranking(ranking.rows[keep][: query.k], ranking.scores[keep][: query.k])


def _above_threshold(ranking: Ranking, threshold: float, distance: Distance) -> Ranking:
    better = np.greater_equal if distance.larger_is_nearer else np.less_equal
    keep = better(ranking.scores, np.float32(threshold))
    return Ranking(ranking.rows[keep], ranking.scores[keep])
