"""Flat: no structure at all, an exact scan of the rows themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext, Hits, RowChecks, Rows
from nearfield.index_builders.base_rows import BaseRows, report
from nearfield.index_builders.files import open_header, save_header
from nearfield.index_builders.params import knob, parse, target_recall
from nearfield.index_builders.scans import ByScan

KIND: Final = "flat"
FORMAT_VERSION: Final = 1


class FlatIndex(ByScan):
    """Exact search; recall 1 by definition."""

    kind = KIND

    def __init__(self, base: BaseRows) -> None:
        self._base = base
        self.metric = base.metric
        self.count = base.count
        self.dimensions = base.dimensions

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See VectorIndex.search; knobs: `threads`, and `target_recall`, which is always reached."""
        target_recall(params)
        return self._base.scan(queries, k, allow, knob(params, "threads") or 1)

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """A scan costs what it costs."""
        return float(allowed)

    def save(self, directory: Path) -> list[Path]:
        """Write the header, and inverse norms where cosine needs them."""
        files = self._base.save(directory)
        return [*files, save_header(directory, KIND, FORMAT_VERSION, self._base.facts(), files)]

    def resident_bytes(self) -> int:
        """Inverse norms of cosine rows that are not of unit length; else nothing."""
        return self._base.resident_bytes()


class FlatBuilder:
    """Builds in no time; has no parameters."""

    kind = KIND
    format_version = FORMAT_VERSION
    metrics = frozenset({"l2", "ip", "cosine", "l1"})

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """There are none."""
        return parse(KIND, (), params)

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Nothing is held beside the rows (4 bytes a row for cosine rows of other than unit length)."""
        return 0

    def build(self, rows: Rows, metric: str, params: Mapping[str, Any], context: BuildContext) -> FlatIndex:
        """Takes a reference to the rows."""
        report(context, 0.0)
        index = FlatIndex(BaseRows.measure(rows, metric))
        report(context, 1.0)
        return index

    def open(self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any]) -> FlatIndex:
        """See IndexBuilder.open."""
        return FlatIndex(BaseRows.open(directory, rows, metric, open_header(directory, KIND, FORMAT_VERSION)))

    def open_mapped(
        self, directory: Path, rows: Rows, metric: str, params: Mapping[str, Any], checks: RowChecks
    ) -> FlatIndex:
        """See MappingBuilder.open_mapped."""
        facts = open_header(directory, KIND, FORMAT_VERSION)
        return FlatIndex(BaseRows.open(directory, rows, metric, facts, checks))
