"""Searches in stages: prefetches find candidates, the stage above ranks them again or fuses them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.filter.expression import Filter
from nearfield.engine.query import Fusion, Prefetch, SearchRequest
from nearfield.engine.search.fusion import fuse
from nearfield.engine.search.merge import NO_HITS
from nearfield.engine.search.request import Ranking, RowBitmaps, VectorQuery

Stage = SearchRequest | Prefetch
Resolve = Callable[[Stage], VectorQuery | None]
"""A stage's vector, and the row excluded; None when the point it names is just changing."""
Search = Callable[[Sequence[VectorQuery]], list[Ranking]]


def stages(stage: Stage, path: str = "") -> Iterator[tuple[Stage, str]]:
    """A request's stages from the last to the first ones, each with the prefix of its paths in errors."""
    yield stage, path
    for at, inner in enumerate(stage.prefetch):
        yield from stages(inner, f"{path}prefetch[{at}].")


def check_stages(request: SearchRequest) -> None:
    """Check how many prefetches there are, and what they say beside their queries.

    Raises:
        Unprocessable: too many, nested too deep, or a limit outside its range.
        InvalidRequest: weights that are not one per prefetch.
    """
    count = 0
    for stage, path in stages(request):
        count += len(stage.prefetch)
        if path.count("prefetch[") > limits.PREFETCH_DEPTH_MAX or count > limits.PREFETCH_QUERIES_MAX:
            raise Unprocessable(
                f"at most {limits.PREFETCH_QUERIES_MAX} prefetches, nested {limits.PREFETCH_DEPTH_MAX} deep, "
                "are allowed",
                f"{path}prefetch",
            )
        if not 1 <= stage.limit <= limits.SEARCH_LIMIT_MAX:
            raise Unprocessable(
                f"limit must be between 1 and {limits.SEARCH_LIMIT_MAX}, got {stage.limit}", f"{path}limit"
            )
        if isinstance(stage.query, Fusion):
            _check_fusion(stage.query, len(stage.prefetch), f"{path}query")


def _check_fusion(fusion: Fusion, count: int, path: str) -> None:
    if fusion.k < 1:
        raise Unprocessable(
            f"the constant of reciprocal rank fusion must be at least 1, got {fusion.k}", path
        )
    if fusion.weights is not None and len(fusion.weights) != count:
        raise InvalidRequest(
            f"expected {count} weights, one per prefetch, got {len(fusion.weights)}", f"{path}.rrf.weights"
        )


def filters(request: SearchRequest) -> Iterator[Filter]:
    """The filters of all stages."""
    if request.filter is not None:
        yield request.filter
    if request.prefetch:
        for stage, _ in stages(request):
            if stage.filter is not None:
                yield stage.filter


class StagedSearch:
    """Runs requests with prefetches over one pinned set.

    A stage's filter, and the point it asks about, hold for all stages below it too: candidates are counted
    after filtering.

    Args:
        matching: rows that satisfy a filter, by the filter's `id`.
        bitmaps_of: bitmaps of ascending rows.
    """

    def __init__(
        self,
        resolve: Resolve,
        search: Search,
        matching: Mapping[int, RowBitmaps],
        bitmaps_of: Callable[[NDArray[np.int64]], RowBitmaps],
    ) -> None:
        self._resolve = resolve
        self._search = search
        self._matching = matching
        self._bitmaps_of = bitmaps_of

    def run(self, request: SearchRequest) -> Ranking | None:
        """The request's ranking, of limit + offset rows; None when a point it names is just changing."""
        return self._run(request, request.limit + request.offset, None, ())

    def _run(
        self, stage: Stage, k: int, above: RowBitmaps | None, excluded: tuple[int, ...]
    ) -> Ranking | None:
        allowed = self._narrowed(above, stage.filter)
        query: VectorQuery | None = None
        if not isinstance(stage.query, Fusion):
            query = self._resolve(stage)
            if query is None:
                return None
            excluded = (*excluded, *query.excluded)
            query = replace(query, k=k, allowed=allowed, excluded=excluded)
        if not stage.prefetch:
            assert query is not None
            return self._search([query])[0]
        sources = [self._run(inner, inner.limit, allowed, excluded) for inner in stage.prefetch]
        found = [source for source in sources if source is not None]
        if len(found) < len(sources):
            return None
        if isinstance(stage.query, Fusion):
            fused = fuse(found, stage.query, k)
            threshold = stage.score_threshold
            if threshold is None:
                return fused
            keep = fused.scores >= np.float32(threshold)
            return Ranking(fused.rows[keep], fused.scores[keep])
        assert query is not None
        rows = np.unique(np.concatenate([source.rows for source in found]))
        if not len(rows):
            return NO_HITS
        # Candidates are few and were chosen already: all of them are scored.
        params = replace(query.params, exact=True)
        return self._search([replace(query, allowed=self._bitmaps_of(rows), params=params)])[0]

    def _narrowed(self, above: RowBitmaps | None, condition: Filter | None) -> RowBitmaps | None:
        if condition is None:
            return above
        own = self._matching[id(condition)]
        return own if above is None else tuple(map(np.bitwise_and, above, own))
