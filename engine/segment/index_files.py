"""Built indexes on disk: derived files beside a segment's vectors, checksummed in its manifest."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.registry import Registry
from nearfield.engine.index.spec import IndexSpec
from nearfield.engine.schema import VectorSpec
from nearfield.engine.segment.sealed import BuiltIndex, SealedSegment
from nearfield.engine.storage.checksum import crc32c
from nearfield.engine.storage.durable import new_directory


@dataclass(frozen=True)
class StoredIndex:
    """The manifest's entry of one built index.

    Args:
        directory: its name inside the segment's directory.
        spec: what was built.
        config: the user's index config it was built for.
        files: size and CRC-32C by file name.
    """

    directory: str
    spec: IndexSpec
    config: Mapping[str, Any]
    files: Mapping[str, tuple[int, int]]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(size for size, _ in self.files.values())

    def to_json(self) -> dict[str, Any]:
        """The entry as the manifest stores it."""
        files = {name: list(entry) for name, entry in self.files.items()}
        return {
            "directory": self.directory,
            "spec": self.spec.to_json(),
            "config": dict(self.config),
            "files": files,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """The entry behind its stored form."""
        files = {name: (size, crc) for name, (size, crc) in entry["files"].items()}
        return cls(entry["directory"], IndexSpec.from_json(entry["spec"]), entry["config"], files)


def save_index(
    segment: SealedSegment, name: str, config: Mapping[str, Any], spec: IndexSpec, index: BuiltIndex
) -> StoredIndex:
    """Write an index beside its segment, durable when this returns; it counts once the manifest names it."""
    ordinal, number = segment.ordinals[name], 0
    while (segment.directory / f"index-{ordinal}-{number}").exists():
        number += 1
    directory = segment.directory / f"index-{ordinal}-{number}"
    with new_directory(directory) as temporary:
        index.save(temporary)
        files = {
            str(file.relative_to(temporary)): _fingerprint(file)
            for file in sorted(temporary.rglob("*"))
            if file.is_file()
        }
    return StoredIndex(directory.name, spec, dict(config), files)


def open_index(
    segment: SealedSegment, name: str, vector: VectorSpec, stored: StoredIndex, registry: Registry
) -> SealedSegment:
    """The segment with a stored index. What can be searched safely before it was verified is not read now.

    Raises:
        Corrupted: a file is missing or damaged, or not of this program's format.
    """
    directory = segment.directory / stored.directory
    if vector.multivector is None and registry.maps(stored.spec.kind):
        section = segment.section(name)
        metric = vector.distance.metric
        index = registry.open_mapped(stored.spec, directory, section.unread(), metric, section)
        segment.unverified.add(name)
        return segment.with_index(name, index)
    check_files(directory, stored)
    return segment.with_index(name, _open_verified(segment, name, vector, stored, registry))


def _open_verified(
    segment: SealedSegment, name: str, vector: VectorSpec, stored: StoredIndex, registry: Registry
) -> BuiltIndex:
    directory = segment.directory / stored.directory
    if vector.multivector is not None:
        return registry.open_multivector(stored.spec, directory, segment.tokens(name))
    return registry.open(stored.spec, directory, segment.vectors(name), vector.distance.metric)


def check_files(directory: Path, stored: StoredIndex) -> None:
    """Compare an index's files with the manifest.

    Raises:
        Corrupted: one is missing or differs.
    """
    for file, expected in stored.files.items():
        found = _fingerprint(directory / file)
        if found != expected:
            raise Corrupted(f"{directory / file}: size and checksum {found} instead of {expected}")


def _fingerprint(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if not size:
                return 0, 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return size, crc32c(content)
    except FileNotFoundError as error:
        raise Corrupted(f"{path}: the file is missing") from error
