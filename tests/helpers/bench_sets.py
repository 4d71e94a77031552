"""Small data set folders in the layout the benchmark reads."""

import json
from pathlib import Path

import numpy as np

ROWS, DIMENSIONS, QUERIES = 300, 12, 9


def write_set(folder: Path) -> Path:
    """300 half-precision rows of 12 dimensions, inner product, with the exact answers of 9 queries."""
    rng = np.random.default_rng(5)
    base = rng.standard_normal((ROWS, DIMENSIONS)).astype(np.float16)
    asked = rng.standard_normal((QUERIES, DIMENSIONS)).astype(np.float16)
    scores = asked.astype(np.float32) @ base.astype(np.float32).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :100]
    folder.mkdir(parents=True)
    np.save(folder / "base.npy", base)
    np.save(folder / "queries.npy", asked)
    np.save(folder / "gt_ids.npy", order.astype(np.int32))
    np.save(folder / "gt_scores.npy", np.take_along_axis(scores, order, axis=1))
    (folder / "info.json").write_text(json.dumps({"metric": "ip (unit vectors, cosine)"}))
    _write_filters(folder, scores)
    return folder


def _write_filters(folder: Path, scores: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    """Two families: the rows of one decade (30 of 300), and 4 rows with a tag, fewer than one asks for."""
    year = 1900 + np.arange(ROWS) // 3
    tagged = np.arange(0, ROWS, 75)
    offsets = np.searchsorted(tagged, np.arange(ROWS + 1))
    np.savez(
        folder / "base_payload.npz", year=year, tags_offsets=offsets, tags_flat=np.ones(len(tagged), np.uint8)
    )
    (folder / "payload_vocab.json").write_text('{"tags": ["red", "blue"]}')
    decade = [["ge", "year", 1950], ["le", "year", 1959]]
    families = {"decade": [decade] * QUERIES, "tag": [[["contains", "tags", 1]]] * QUERIES}
    (folder / "filters.json").write_text(json.dumps(families))
    inside = {"decade": np.flatnonzero((year >= 1950) & (year <= 1959)), "tag": tagged}
    for family, rows in inside.items():
        truth = np.full((QUERIES, 100), -1, np.int32)
        truth[:, : len(rows)] = rows[np.argsort(-scores[:, rows], axis=1, kind="stable")]
        np.save(folder / f"filter_{family}_gt_ids.npy", truth)
