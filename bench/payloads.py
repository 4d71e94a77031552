"""Payloads and filters of a data set folder, in the words of the REST API.

Columns lie in `base_payload.npz`: one value per row, or `<column>_flat` with `<column>_offsets` for lists.
Integer codes whose names are listed in `payload_vocab.json` become those names.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.ground_truth import recall_at_k

FILTERS = "filters.json"

_COMPARE = {"eq": np.equal, "ge": np.greater_equal, "le": np.less_equal, "gt": np.greater, "lt": np.less}
_RANGES = {"ge": "gte", "le": "lte", "gt": "gt", "lt": "lt"}

Condition = tuple[str, str, Any]
"""Operator, column, value."""


class Payloads:
    """The payload of every row of a data set, as JSON objects."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "base_payload.npz") as stored:
            columns: dict[str, NDArray[Any]] = {name: stored[name] for name in stored.files}
        self._codes = columns
        vocabulary = folder / "payload_vocab.json"
        self._names: dict[str, Sequence[str]] = (
            json.loads(vocabulary.read_text()) if vocabulary.is_file() else {}
        )
        self._offsets = {
            name.removesuffix("_offsets"): columns[name] for name in columns if name.endswith("_offsets")
        }
        self._flat = {name: self._worded(name, columns[f"{name}_flat"]) for name in self._offsets}
        self._count = min(
            [len(offsets) - 1 for offsets in self._offsets.values()]
            + [len(column) for name, column in columns.items() if not name.endswith(("_offsets", "_flat"))]
        )
        derived = {f"{name}_{part}" for name in self._offsets for part in ("offsets", "flat")}
        self._plain = {
            name: self._worded(name, column) for name, column in columns.items() if name not in derived
        }

    def rows(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """Payloads of the rows start..stop-1."""
        for row in range(start, stop):
            payload = {name: values[row] for name, values in self._plain.items()}
            for name, offsets in self._offsets.items():
                payload[name] = self._flat[name][offsets[row] : offsets[row + 1]]
            yield payload

    def wire_filter(self, conditions: Sequence[Condition]) -> dict[str, Any]:
        """ANDed conditions as a filter of the REST API.

        Raises:
            ValueError: an operator that is not eq, contains, ge, le, gt or lt.
        """
        must: list[dict[str, Any]] = []
        for operator, column, value in conditions:
            if operator in ("eq", "contains"):
                must.append({"key": column, "match": {"value": self._word(column, value)}})
            elif operator in _RANGES:
                must.append({"key": column, "range": {_RANGES[operator]: value}})
            else:
                raise ValueError(f"filter operator must be eq, contains, ge, le, gt or lt, got `{operator}`")
        return {"must": must}

    def qualifying(self, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
        """Which rows [n] satisfy all conditions."""
        allowed = np.ones(self._count, np.bool_)
        for operator, column, value in conditions:
            if column in self._offsets:
                holders = np.flatnonzero(self._codes[f"{column}_flat"] == value)
                matched = np.zeros(self._count, np.bool_)
                matched[np.searchsorted(self._offsets[column], holders, side="right") - 1] = True
            else:
                matched = _COMPARE[operator](self._codes[column], value)
            allowed &= matched
        return allowed

    def selectivity(self, conditions: Sequence[Condition]) -> float:
        """Share of the rows that satisfy all conditions."""
        return float(self.qualifying(conditions).mean())

    def _worded(self, column: str, codes: NDArray[Any]) -> list[Any]:
        names = self._names.get(column)
        values: list[Any] = codes.tolist()
        return values if names is None else [names[code] for code in values]

    def _word(self, column: str, value: Any) -> Any:
        names = self._names.get(column)
        return value if names is None else names[value]


def filter_families(folder: Path | None) -> Mapping[str, Sequence[Sequence[Condition]]]:
    """Family name to one list of conditions per test query; empty when the data set has none."""
    if folder is None or not (folder / FILTERS).is_file():
        return {}
    families: dict[str, Sequence[Sequence[Condition]]] = json.loads((folder / FILTERS).read_text())
    return families


def filter_truth(folder: Path, family: str) -> NDArray[np.int64]:
    """Exact filtered neighbours int64 [nq, 100], nearest first, -1 pads."""
    stored: NDArray[Any] = np.load(folder / f"filter_{family}_gt_ids.npy")
    return stored.astype(np.int64)


def filter_quality(
    folder: Path,
    payloads: Payloads,
    family: str,
    conditions: Sequence[Sequence[Condition]],
    found: NDArray[np.int64],
    k: int,
) -> dict[str, Any]:
    """Fields of a record: recall, mean selectivity, and answers with fewer hits than min(k, matches).

    Args:
        found: int64 [n, k] answers to the family's first n queries, -1 pads.
    """
    truth = filter_truth(folder, family)[: len(found)]
    expected = np.minimum((truth >= 0).sum(axis=1), k)
    return {
        "family": family,
        "k": k,
        "queries": len(found),
        "selectivity": float(
            np.mean([payloads.selectivity(of_query) for of_query in conditions[: len(found)]])
        ),
        "recall": recall_at_k(found, truth, None, k),
        "short_answers": int(((found >= 0).sum(axis=1) < expected).sum()),
    }
