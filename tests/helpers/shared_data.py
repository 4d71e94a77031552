"""Real data sets, where there are any: in `$NEARFIELD_SHARED_DATA`, else `../shared/data` of the checkout."""

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.checkout import ROOT


@dataclass(frozen=True)
class SharedSet:
    """One data set.

    Args:
        base: [n, d] as stored, memory-mapped.
        queries: float32 [nq, d].
        truth: int32 [nq, 100], exact neighbours.
    """

    path: Path
    metric: str
    base: NDArray[Any]
    queries: NDArray[np.float32]
    truth: NDArray[np.int32]


def directory(name: str, holds: str = "base.npy") -> Path:
    """The folder of a data set; skips the test where it is not installed."""
    root = Path(os.environ.get("NEARFIELD_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (root / name / holds).is_file():
        pytest.skip(f"data set {name} is not in {root}")
    return root / name


def multivector_directory(name: str) -> Path:
    """The same for a set of token matrices."""
    return directory(name, "doc_tokens.npy")


def load(name: str) -> SharedSet:
    """A single-vector data set whose name ends in its metric; skips the test where it is not installed."""
    path = directory(name)
    return SharedSet(
        path=path,
        metric=name.rsplit("-", 1)[1],
        base=np.load(path / "base.npy", mmap_mode="r"),
        queries=np.load(path / "queries.npy").astype(np.float32),
        truth=np.load(path / "gt_ids.npy"),
    )


class Filters:
    """The filter families of a data set: a mask per query, and the exact filtered neighbours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._conditions: Mapping[str, list[list[list[Any]]]] = json.loads(
            (path / "filters.json").read_text()
        )
        with np.load(path / "base_payload.npz") as columns:
            self._columns = {name: columns[name] for name in columns.files}

    def families(self) -> list[str]:
        """Names of the families, sorted."""
        return sorted(self._conditions)

    def conditions(self, family: str) -> list[list[list[Any]]]:
        """Per query, conditions `[op, column, value]` that all hold."""
        return self._conditions[family]

    def mask(self, conditions: list[list[Any]]) -> NDArray[np.bool_]:
        """Rows that satisfy all conditions, bool [n]."""
        return functools.reduce(np.logical_and, (self._condition(*condition) for condition in conditions))

    def truth(self, family: str) -> NDArray[np.int32]:
        """int32 [nq, 100], -1 pads."""
        return np.load(self._path / f"filter_{family}_gt_ids.npy")

    def _condition(self, op: str, column: str, value: int) -> NDArray[np.bool_]:
        if op == "contains":
            offsets = self._columns[f"{column}_offsets"]
            holders = (
                np.searchsorted(
                    offsets, np.flatnonzero(self._columns[f"{column}_flat"] == value), side="right"
                )
                - 1
            )
            mask = np.zeros(len(offsets) - 1, dtype=np.bool_)
            mask[holders] = True
            return mask
        compare = {"eq": np.equal, "ge": np.greater_equal, "le": np.less_equal}[op]
        return compare(self._columns[column], value)


def recall(found: NDArray[Any], truth: NDArray[Any], k: int) -> float:
    """Share of the first k true neighbours (pads left out) that are among the first k found."""
    hits = total = 0
    for row, true_row in zip(found, truth, strict=True):
        wanted = true_row[:k][true_row[:k] >= 0]
        hits += len(np.intersect1d(row[:k], wanted))
        total += len(wanted)
    return hits / max(total, 1)
