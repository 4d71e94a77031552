"""What is to be measured, in a form that another process can be given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfield.bench.datasets import Dataset, load_dataset
from nearfield.bench.harness import Plan
from nearfield.bench.records import RESULTS, Record, RecordWriter


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: the arguments of `load_dataset`."""

    name: str
    data_dir: Path | None = None
    rows: int | None = None
    queries: int | None = None

    def load(self, *, truth: bool = True) -> Dataset:
        """Read it."""
        return load_dataset(
            self.name, data_dir=self.data_dir, rows=self.rows, queries=self.queries, truth=truth
        )


@dataclass(frozen=True)
class Job:
    """One data set to measure; can be sent to another process.

    Args:
        out: results folder.
        common: fields of every record, beside those of the data set.
        resume: leave out what the results hold already, measured with the same software and settings, and
            keep the built indexes for the next time.
    """

    source: Source
    plan: Plan
    out: Path
    common: Record
    resume: bool = False

    def writer(self, dataset: Dataset, **more: Any) -> RecordWriter:
        """Appends to the results of the job; `more` are further fields of every record."""
        return RecordWriter(self.out / RESULTS, {**self.common, "dataset": dataset.describe(), **more})
