"""Checking a data directory byte by byte: SQLite, every checksum, and that the parts fit each other."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted, StorageError
from nearfield.engine.segment.index_files import check_files
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.segment.sealed import FILE_NAME, SealedSegment
from nearfield.engine.storage import point_table
from nearfield.engine.storage.durable import QUARANTINE_SUFFIX
from nearfield.engine.storage.read_only import (
    PointsView,
    holder,
    open_read_only,
    read_catalog,
    read_points_view,
)
from nearfield.engine.storage.segment_files import SectionFile
from nearfield.engine.storage.store import chunk_checksum

Kind = Literal["primary", "derived", "leftover"]
SHOWN: Final = 5
"""Rows named in one finding."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Args:
        kind: `primary` (points are lost: restore from a backup), `derived` (an index; rebuilt at next start)
            or `leftover` (harmless: removed at the next start, or kept for inspection).
        collection: its name; empty for the directory itself.
    """

    kind: Kind
    collection: str
    message: str


def verify_directory(directory: Path, on_step: Callable[[str], None] = lambda step: None) -> list[Finding]:
    """Reads everything in a data directory and returns what is wrong with it.

    While a server has the directory open, what is not registered may be work in progress and is not reported.

    Args:
        on_step: called with what is read next.

    Raises:
        NotFound: not a data directory.
    """
    on_step("catalog.db")
    try:
        catalog = read_catalog(directory)
        findings = _check_sqlite(directory / "catalog.db", "")
    except StorageError as error:
        return [Finding("primary", "", str(error))]
    in_use = holder(directory) is not None
    for name, folder in catalog.collections.items():
        findings += _Verifier(directory / "collections" / folder, name, in_use, on_step).run()
    known = set(catalog.collections.values())
    for entry in _entries(directory / "collections"):
        if entry.name not in known and not in_use:
            findings.append(Finding("leftover", "", f"{entry}: belongs to no collection"))
    return findings


class _Verifier:
    """The checks of one collection."""

    def __init__(self, directory: Path, name: str, in_use: bool, on_step: Callable[[str], None]) -> None:
        self._directory = directory
        self._path = directory / "points.db"
        self._name = name
        self._in_use = in_use
        self._on_step = on_step

    def run(self) -> list[Finding]:
        """Everything that is wrong with the collection."""
        self._on_step(f"{self._name}: points.db")
        try:
            with open_read_only(self._path) as connection:
                view = read_points_view(connection, self._path)
                findings = list(self._check_points(connection, view))
                segments = [
                    self._check_segment(id, manifest, view) for id, manifest in view.manifests.items()
                ]
                findings += [finding for _, found in segments for finding in found]
                rows = [rows for rows, _ in segments]
                if all(part is not None for part in rows):
                    findings += self._check_rows(
                        connection, view, [part for part in rows if part is not None]
                    )
        except StorageError as error:
            return [self._primary(str(error))]
        if self._in_use and findings:
            findings = self._still_true(findings)
        return findings + _check_sqlite(self._path, self._name) + list(self._leftovers(view))

    def _check_points(self, connection: sqlite3.Connection, view: PointsView) -> Iterator[Finding]:
        try:
            for _ in point_table.stream(connection):
                pass
        except Corrupted as error:
            yield self._primary(f"{self._path}: {error}")
        self._on_step(f"{self._name}: growing rows")
        chunks = connection.execute("SELECT first_row, name, count, present, data, crc FROM vector_chunks")
        for first_row, name, count, present, data, crc in chunks:
            if chunk_checksum(first_row, name, count, present, data) != crc:
                yield self._primary(
                    f"{self._path}: vector {name!r} of rows {first_row} and up fails its checksum"
                )
            if first_row < view.counters.growing_first:
                yield Finding(
                    "leftover", self._name, f"{self._path}: rows {first_row} and up are sealed already"
                )

    def _check_segment(
        self, id: str, manifest: Manifest, view: PointsView
    ) -> tuple[NDArray[np.int64] | None, list[Finding]]:
        """The segment's rows (None when they cannot be known) and what is wrong with it."""
        directory = self._directory / "segments" / id
        self._on_step(f"{self._name}: segment {id}")
        if not directory.is_dir():
            return None, [self._primary(f"{directory}: the segment is missing")]
        findings = []
        rows = None
        try:
            file = SectionFile(directory / FILE_NAME)
            for name, section in file.sections.items():
                try:
                    section.array()
                except Corrupted as error:
                    findings.append(self._primary(str(error)))
                else:
                    rows = section.array() if name == "rows" else rows
            if not findings:
                SealedSegment.open(directory, view.schema.vectors)
        except Corrupted as error:
            findings.append(self._primary(str(error)))
        if rows is not None and len(rows) != manifest.rows:
            findings.append(self._primary(f"{directory}: {len(rows)} rows, {manifest.rows} are registered"))
        for name, stored in manifest.indexes.items():
            try:
                check_files(directory / stored.directory, stored)
            except Corrupted as error:
                findings.append(Finding("derived", self._name, f"index of vector {name!r}: {error}"))
        return rows, findings

    def _check_rows(
        self, connection: sqlite3.Connection, view: PointsView, sealed: list[NDArray[np.int64]]
    ) -> Iterator[Finding]:
        """Every point has its vectors' row in exactly one place, and every living row has its point."""
        self._on_step(f"{self._name}: rows")
        growing = np.arange(view.counters.growing_first, view.counters.next_row)
        held, times = np.unique(np.concatenate([*sealed, growing]), return_counts=True)
        if (times > 1).any():
            yield self._primary(f"{_some(held[times > 1])} are in more than one segment")
        living = np.setdiff1d(held, view.deleted, assume_unique=True)
        rows = (row for (row,) in connection.execute("SELECT row FROM points ORDER BY row"))
        points = np.fromiter(rows, np.int64)
        lost = np.setdiff1d(points, living, assume_unique=True)
        if len(lost):
            yield self._primary(f"{_some(lost)}: the points are there, their vectors are not")
        alone = np.setdiff1d(living, points, assume_unique=True)
        if len(alone):
            yield self._primary(f"{_some(alone)}: the vectors are there, their points are not")

    def _still_true(self, findings: list[Finding]) -> list[Finding]:
        """Findings of segments that a running server has replaced meanwhile were none."""
        with open_read_only(self._path) as connection:
            now = set(read_points_view(connection, self._path).manifests)
        segments = self._directory / "segments"
        gone = [str(segments / part) for part in _mentioned(findings, segments) - now]
        return [finding for finding in findings if not any(path in finding.message for path in gone)]

    def _leftovers(self, view: PointsView) -> Iterator[Finding]:
        if self._in_use:
            return
        for entry in _entries(self._directory / "segments"):
            manifest = view.manifests.get(entry.name)
            if manifest is None:
                yield Finding("leftover", self._name, f"{entry}: belongs to no registered segment")
                continue
            known = {index.directory for index in manifest.indexes.values()}
            for inner in (path for path in _entries(entry) if path.is_dir() and path.name not in known):
                kept = inner.name.endswith(QUARANTINE_SUFFIX)
                why = "a damaged index, kept for inspection" if kept else "belongs to no registered index"
                yield Finding("leftover", self._name, f"{inner}: {why}")

    def _primary(self, message: str) -> Finding:
        return Finding("primary", self._name, message)


def _check_sqlite(path: Path, collection: str) -> list[Finding]:
    with open_read_only(path) as connection:
        lines = [line for (line,) in connection.execute("PRAGMA integrity_check")]
    return [Finding("primary", collection, f"{path}: {line}") for line in lines if line != "ok"]


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _mentioned(findings: list[Finding], segments: Path) -> set[str]:
    """Segment ids that the findings' messages name."""
    names = set()
    for finding in findings:
        _, found, rest = finding.message.partition(f"{segments}/")
        if found:
            names.add(rest.partition("/")[0].partition(":")[0])
    return names


def _some(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(str(row) for row in rows[:SHOWN].tolist())
    return f"rows {shown}{f' and {len(rows) - SHOWN:,} more' if len(rows) > SHOWN else ''}"
