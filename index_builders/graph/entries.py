"""Where searches of a graph start, so that they come everywhere: data in separate parts need more entries."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nearfield.index_builders.encodings.lvq import LvqCodes
from nearfield.index_builders.graph.linking import Linking

ENTRIES_MOST: Final = 512
"""Every search scores them all."""

_PROBES: Final = 512
_MORE_PROBES: Final = 4_096
_ADDED: Final = 64
_MET_LEAST: Final = 2
"""Probes that each added entry must make up for: those in the parts of others, not outliers alone."""


def reaching(
    linking: Linking,
    neighbours: NDArray[np.uint32],
    entries: NDArray[np.uint32],
    codes: LvqCodes,
    candidates: int,
    lost_most: float = 0.005,
) -> NDArray[np.uint32]:
    """The entries, with more in parts of the graph that searches do not come to.

    Between parts that are far apart nothing tells a search which way to go, so it comes to those where it
    starts. Some rows are searched for; of those that are not met some become entries, spread as k-means++
    spreads centres, until all but a few are met or more do not help.

    Args:
        neighbours: uint32 [m, degree], the graph of the first m rows.
        entries: uint32 [e], searches start from the nearest of them.
        codes: of the rows, for the search.
        candidates: its window.
        lost_most: share of the rows that need not be met.
    """
    rng = np.random.default_rng((linking.context.seed, len(neighbours)))
    probes = rng.permutation(len(neighbours))[:_MORE_PROBES]
    searched = probes[:_PROBES]
    lost = linking.unmet(neighbours, entries, codes, searched, candidates)
    if len(lost) <= lost_most * len(searched):
        return entries
    more = linking.unmet(neighbours, entries, codes, probes[_PROBES:], candidates)
    lost = np.concatenate([lost, more])
    while len(lost) > lost_most * len(probes) and len(entries) < ENTRIES_MOST:
        added = _spread(linking, lost, min(_ADDED, ENTRIES_MOST - len(entries)), rng)
        more_entries = np.concatenate([entries, added.astype(np.uint32)])
        left = linking.unmet(neighbours, more_entries, codes, lost, candidates)
        if len(lost) - len(left) < _MET_LEAST * len(added):
            break
        entries, lost = more_entries, left
    return entries


def _spread(
    linking: Linking, rows: NDArray[np.int64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """At most so many of the rows, each drawn by its squared distance to the nearest one drawn before."""
    vectors = linking.rows.decode(rows, linking.dimensions)
    picked = [int(rng.integers(len(rows)))]
    nearest = np.full(len(rows), np.inf)
    while len(picked) < most:
        nearest = np.minimum(nearest, np.square(vectors - vectors[picked[-1]]).sum(axis=1, dtype=np.float64))
        total = nearest.sum()
        if not total > 0:
            break
        picked.append(int(np.searchsorted(np.cumsum(nearest), rng.random() * total, side="right")))
    return rows[np.unique(picked)]
