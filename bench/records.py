"""Measurements as JSON lines: one per line, appended whole, so that an interrupted run loses nothing."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

RESULTS = "results.jsonl"

Record = dict[str, Any]


class RecordWriter:
    """Appends records to a file; every record carries the run's id, time, machine and data set.

    Use as a context manager. Several runs, also at once, may append to one file.
    """

    def __init__(self, path: Path, common: Record) -> None:
        self._path = path
        self._common = {"run": datetime.now(UTC).strftime("%Y%m%dT%H%M%S") + f"-{os.getpid()}", **common}
        self._descriptor = -1

    @property
    def run(self) -> str:
        """Id of this run."""
        return str(self._common["run"])

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        if _ends_torn(self._descriptor):
            os.write(self._descriptor, b"\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def write(self, kind: str, **fields: Any) -> Record:
        """Append one record of type `kind` (`build`, `search`, `done`, `import`, `http`, `filter`...)."""
        record = {
            "type": kind,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._common,
            **fields,
        }
        os.write(self._descriptor, json.dumps(record, separators=(",", ":")).encode() + b"\n")
        return record


def read_records(path: Path) -> list[Record]:
    """All complete records of a file, oldest first; a torn line (a run killed while writing) is skipped."""
    return list(_parsed(path)) if path.is_file() else []


def latest_runs(records: list[Record]) -> list[Record]:
    """Only the newest run of each data set and library, or type of measurement."""
    newest: dict[tuple[str, str], str] = {}
    for record in records:
        newest[_subject(record)] = record["run"]
    return [record for record in records if newest[_subject(record)] == record["run"]]


def _subject(record: Record) -> tuple[str, str]:
    family = record["type"]
    if family == "filtered":
        family = f"filtered {record['family']}"
    elif family in ("build", "search", "done", "rebuild", "projection"):
        family = f"library {record.get('library', '')}"
    return record["dataset"]["name"], family


def _parsed(path: Path) -> Iterator[Record]:
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "type" in record:
            yield record


def _ends_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
