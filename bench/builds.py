"""Building one index: seconds, peak memory, and the saved index that every timing opens."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nearfield.bench.adapters.base import Adapter, Competitor, Params
from nearfield.bench.datasets import Dataset
from nearfield.bench.machine import load_average, peak_resident_bytes, resident_bytes

_FACTS = "built.json"
_INDEX = "index"


@dataclass(frozen=True)
class Cached:
    """Where the index of one set of build parameters lies, and what building it cost.

    Args:
        version: the library's version (for ours, the commit too): an index of another version is built anew.
    """

    folder: Path
    competitor: Competitor
    params: Params
    version: str

    def facts(self) -> dict[str, Any] | None:
        """Fields of its `build` record; None unless a complete index of this version is there."""
        try:
            facts: dict[str, Any] = json.loads((self.folder / _FACTS).read_text())
        except (OSError, ValueError):
            return None
        return facts if facts.get("version") == self.version else None

    def open(self, dataset: Dataset) -> Adapter:
        """The index, opened from its files."""
        adapter = self.competitor.make(self.params)
        adapter.open(self.folder / _INDEX, dataset.metric, dataset.dimensions)
        return adapter

    def build(self, dataset: Dataset, threads: int) -> Mapping[str, Any]:
        """Build, measure, save and return `facts`.

        The peak is of this process, beyond what it held with the rows loaded as the library takes them: call
        it in a process that does nothing else.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        adapter = self.competitor.make(self.params)
        rows = np.array(adapter.prepare(dataset.base, dataset.metric))  # in memory, not mapped
        before = resident_bytes()
        with peak_resident_bytes() as peak:
            cpu, start = time.process_time(), time.perf_counter()
            adapter.fit(rows, dataset.metric, threads, dataset.training_queries)
            seconds = time.perf_counter() - start
        facts = {
            "competitor": self.competitor.name,
            "ours": self.competitor.ours,
            "build": dict(self.params),
            "version": self.version,
            "threads": threads,
            "seconds": seconds,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": max(peak() - before, 0),
            "load": load_average(),
        }
        adapter.save(self.folder / _INDEX)
        (self.folder / _FACTS).write_text(json.dumps(facts))
        return facts

    def remove(self) -> None:
        """Delete its files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def cached(root: Path, dataset: Dataset, competitor: Competitor, params: Params, version: str) -> Cached:
    """The place of an index below the cache folder `root`."""
    name = "-".join([competitor.name, *(f"{key}_{value}" for key, value in params.items())])
    return Cached(root / dataset.name / name.replace("/", "_"), competitor, params, version)
