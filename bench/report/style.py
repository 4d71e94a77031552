"""Colours, dashes, markers and number formats shared by plots, page and terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

INK = "#1f2328"
MUTED = "#656d76"
GRID = "#e4e7ea"
PAPER = "#ffffff"

DASH = "\N{EN DASH}"
"""Stands for a figure that does not exist."""
_TIMES = "\N{MULTIPLICATION SIGN}"

_OURS = ("#1546b8", "#0b8fbf", "#6b5bd6", "#3f8cf0", "#0f766e", "#9a7bea")
"""Our kinds: one family of blues."""

_PEERS = {
    "hnswlib": ("#4a4f57", "-", "s"),
    "faiss-hnsw": ("#b07a3c", "--", "D"),
    "faiss-ivf": ("#8a9450", "-.", "^"),
    "faiss-flat": ("#a08795", ":", "v"),
    "usearch": ("#a8605a", "--", "P"),
    "faiss-hnsw-sq8": ("#c2571a", "--", "d"),
    "faiss-ivf-pq-fs": ("#6b7f1e", "-.", "<"),
    "faiss-ivf-rabitq": ("#9b8b2c", ":", ">"),
    "svs-f16": ("#2f7d6a", "-.", "X"),
    "svs-f32": ("#8aa79c", ":", "x"),
}
"""Peers: muted, told apart by dash and marker too."""
_UNKNOWN_PEER = ("#8b949e", ":", "o")


@dataclass(frozen=True)
class Look:
    """How one competitor is drawn."""

    colour: str
    dash: str
    marker: str
    width: float
    front: bool


def looks(competitors: Sequence[str], ours: set[str]) -> dict[str, Look]:
    """A look for every competitor; ours in one colour family with solid, heavier lines in front."""
    chosen: dict[str, Look] = {}
    for index, name in enumerate(sorted(ours, key=_kind_order)):
        chosen[name] = Look(_OURS[index % len(_OURS)], "-", "o", 2.4, True)
    for name in competitors:
        if name not in chosen:
            colour, dash, marker = _PEERS.get(name, _UNKNOWN_PEER)
            chosen[name] = Look(colour, dash, marker, 1.6, False)
    return chosen


def rate_text(value: float | None) -> str:
    """Queries per second in a few characters."""
    if value is None:
        return DASH
    if value >= 99_950:
        return f"{value / 1000:,.0f} k"
    if value >= 9_995:
        return f"{value / 1000:.1f} k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bytes_text(value: float | None) -> str:
    """A size with its unit."""
    if value is None:
        return DASH
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


def seconds_text(value: float) -> str:
    """A duration with its unit."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


def ratio_text(value: float | None) -> str:
    """A factor with the multiplication sign after it; empty for None."""
    if value is None:
        return ""
    return f"{value:.2f}{_TIMES}" if value < 10 else f"{value:.0f}{_TIMES}"


def _kind_order(name: str) -> tuple[int, str]:
    """Graph kinds get the strongest colours, the exhaustive scan the last."""
    return (1 if name.endswith("-flat") else 0, name)
