"""The competitors of a benchmark: our own index kinds, and every peer library in a file of its own."""

import importlib
import importlib.util
from collections.abc import Iterable, Sequence

from nearfield.bench.adapters.base import Competitor

_PEERS = {
    "hnswlib": ("hnswlib",),
    "faiss": ("faiss_hnsw", "faiss_ivf", "faiss_flat"),
    "usearch": ("usearch",),
    "svs": ("svs",),
}
"""Importable library -> adapter modules in this package, each with a `COMPETITOR`."""


def peer_names() -> list[str]:
    """Every peer this package has an adapter for, installed or not."""
    return [name for modules in _PEERS.values() for name in (module.replace("_", "-") for module in modules)]


def installed_peers(wanted: Sequence[str] | None = None) -> list[Competitor]:
    """Competitors of the peer libraries that can be imported here.

    Args:
        wanted: libraries or competitor names (`faiss`, `faiss-hnsw`); None for all.

    Raises:
        ValueError: a name no adapter answers to, or one whose library is not installed.
    """
    found: list[Competitor] = []
    answered: set[str] = set()
    for library, modules in _PEERS.items():
        asked = [m for m in modules if wanted is None or library in wanted or m.replace("_", "-") in wanted]
        if not asked:
            continue
        answered |= {library, *(module.replace("_", "-") for module in asked)}
        if importlib.util.find_spec(library) is None:
            if wanted is not None:
                raise ValueError(f"peer library `{library}` is not installed")
            continue
        found += [importlib.import_module(f"{__name__}.{module}").COMPETITOR for module in asked]
    if unknown := _unknown(wanted or (), answered):
        raise ValueError(f"no adapter for {', '.join(unknown)}; known: {', '.join([*_PEERS, *peer_names()])}")
    return found


def _unknown(wanted: Iterable[str], answered: set[str]) -> list[str]:
    return [name for name in wanted if name not in answered]
