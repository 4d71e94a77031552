"""The competitors of a benchmark: our own index kinds, and every peer library in a file of its own."""

import importlib
import importlib.util
from collections.abc import Sequence

from nearfield.bench.adapters.base import Competitor

_PEERS = {"hnswlib": "hnswlib", "faiss": "faiss", "usearch": "usearch", "svs": "svs"}
"""Importable library -> adapter module in this package, with its `COMPETITORS`."""

BASELINE = "hnswlib"
"""Competitor that all are compared with, and that paces every group of measurements."""


def installed_peers(wanted: Sequence[str] | None = None) -> list[Competitor]:
    """Competitors of the peer libraries that can be imported here.

    Args:
        wanted: libraries or competitor names (`faiss`, `faiss-hnsw`); None for all.

    Raises:
        ValueError: a name no adapter answers to, or one whose library is not installed.
    """
    found: list[Competitor] = []
    answered: set[str] = set()
    known: list[str] = []
    for library, module in _PEERS.items():
        installed = importlib.util.find_spec(library) is not None
        if not installed and wanted is not None and library in wanted:
            raise ValueError(f"peer library `{library}` is not installed")
        offered = importlib.import_module(f"{__name__}.{module}").COMPETITORS if installed else []
        kept = [c for c in offered if wanted is None or library in wanted or c.name in wanted]
        known += [library, *(competitor.name for competitor in offered)]
        answered |= {library, *(competitor.name for competitor in kept)}
        found += kept
    if unknown := [name for name in wanted or () if name not in answered]:
        raise ValueError(f"no adapter for {', '.join(unknown)}; known: {', '.join(dict.fromkeys(known))}")
    return found
