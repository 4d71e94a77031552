"""The section file: named arrays, 64-byte aligned, checksummed in blocks, memory-mapped. See FORMAT.md."""

import json
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.storage.checksum import BLOCK_BYTES, block_checksums, crc32c

MAGIC: Final = b"NFSECTNS"
FORMAT_VERSION: Final = 2
_BLOCK_BYTES_1: Final = 2**20
"""Block size of all sections in files of version 1, which are still read."""
_VERIFIED_AT_ONCE: Final = 64
"""Blocks verified by one holder of the lock, so that a query waits for few of them."""
ALIGNMENT: Final = 64
_HEADER: Final = struct.Struct("<8sIIQQQI16sI")
"""Magic, version, zero, table offset, table bytes, file bytes, table CRC, zeros, CRC of all before."""


@dataclass(frozen=True)
class SectionEntry:
    """One line of the section table; `checksums` holds one CRC-32C per started block of `block` bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int
    block: int
    checksums: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The entry as the table stores it."""
        return {**self.__dict__, "shape": list(self.shape), "checksums": list(self.checksums)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], table_offset: int) -> Self:
        """The entry behind its stored form.

        Raises:
            Corrupted: its bounds contradict each other or reach outside the file.
        """
        shape, checksums = tuple(entry["shape"]), tuple(entry["checksums"])
        block = entry.get("block", _BLOCK_BYTES_1)
        section = cls(
            entry["name"], entry["dtype"], shape, entry["offset"], entry["length"], block, checksums
        )
        expected = int(np.prod(shape, dtype=np.int64)) * np.dtype(section.dtype).itemsize
        blocks = -(-section.length // max(block, 1))
        inside = section.offset >= 0 and section.offset + section.length <= table_offset
        if not inside or section.offset % ALIGNMENT or expected != section.length or blocks != len(checksums):
            raise Corrupted(f"section {section.name!r} has contradictory bounds")
        return section


class SectionFileWriter:
    """Writes a section file front to back; a context manager that completes it when left without an error."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._file.write(bytes(_HEADER.size))
        self._entries: list[SectionEntry] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            if failed is None:
                self._finish()
        finally:
            self._file.close()

    def add(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]
    ) -> None:
        """Append a section of the given shape, whose rows come as consecutive arrays."""
        offset = self._align()
        block_bytes = BLOCK_BYTES
        while block_bytes < dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64)):
            block_bytes *= 2
        checksums: list[int] = []
        length, carry = 0, np.zeros(0, dtype=np.uint8)
        for block in blocks:
            data = np.ascontiguousarray(block, dtype=dtype).reshape(-1).view(np.uint8)
            self._file.write(data.data)
            length += len(data)
            if len(carry):
                data = np.concatenate([carry, data])
            whole = len(data) - len(data) % block_bytes
            checksums += block_checksums(data[:whole], block_bytes)
            carry = data[whole:]
        checksums += block_checksums(carry, block_bytes)
        entry = SectionEntry(name, dtype.str, shape, offset, length, block_bytes, tuple(checksums))
        self._entries.append(entry)

    def _align(self) -> int:
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        return self._file.tell()

    def _finish(self) -> None:
        table_offset = self._align()
        table = json.dumps([entry.to_json() for entry in self._entries], separators=(",", ":")).encode()
        self._file.write(table)
        size = table_offset + len(table)
        fields = (MAGIC, FORMAT_VERSION, 0, table_offset, len(table), size, crc32c(table), bytes(16))
        head = _HEADER.pack(*fields, 0)[: _HEADER.size - 4]
        self._file.seek(0)
        self._file.write(head + struct.pack("<I", crc32c(head)))
        self._file.flush()
        os.fsync(self._file.fileno())


class Section:
    """One mapped array; its blocks are verified when first read, so that damaged bytes are never returned."""

    def __init__(self, entry: SectionEntry, raw: NDArray[np.uint8], memory: mmap.mmap, file: Path) -> None:
        self._entry = entry
        self._memory = memory
        self._file = file
        self._raw = raw[entry.offset : entry.offset + entry.length]
        self._array = self._raw.view(np.dtype(entry.dtype)).reshape(entry.shape)
        self._unverified = np.ones(len(entry.checksums), dtype=np.bool_)
        self._whole_verified = not len(self._unverified)
        self._lock = threading.Lock()

    @property
    def length(self) -> int:
        """Bytes of the section."""
        return self._entry.length

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self._entry.shape

    def array(self) -> NDArray[Any]:
        """The whole array, verified.

        Raises:
            Corrupted: a block's checksum does not hold.
        """
        self.verify()
        return self._array

    @property
    def verified(self) -> bool:
        """Whether all of it was."""
        return self._whole_verified

    def unread(self) -> NDArray[Any]:
        """The whole array, its bytes as they are: what comes of them is for `verify_rows` to confirm."""
        return self._array

    def verify(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Read what was not verified yet; ends early when cancelled.

        Raises:
            Corrupted: a block's checksum does not hold.
        """
        if self._whole_verified:
            return
        blocks = np.flatnonzero(self._unverified)
        for start in range(0, len(blocks), _VERIFIED_AT_ONCE):
            if cancelled():
                return
            self._verify(blocks[start : start + _VERIFIED_AT_ONCE])
        self._advise(0, self._entry.length, mmap.MADV_NORMAL)

    def verify_rows(self, positions: NDArray[np.int64]) -> None:
        """Verify the blocks that the rows at `positions` lie in.

        Raises:
            Corrupted: a block's checksum does not hold.
        """
        if self._whole_verified or not len(positions):
            return
        row_bytes = self._entry.length // self._entry.shape[0]
        starts = positions * row_bytes
        # A row is no longer than a block, so it lies in one or two of them.
        touched = np.concatenate([starts, starts + (row_bytes - 1)]) // self._entry.block
        new = touched[self._unverified[touched]]
        if len(new):
            self._verify(np.unique(new))

    def take(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of the rows at `positions`; only the blocks they lie in are verified.

        Raises:
            Corrupted: a block's checksum does not hold.
        """
        self.verify_rows(positions)
        taken: NDArray[Any] = self._array[positions]
        return taken

    def _advise(self, start: int, stop: int, advice: int) -> None:
        """Tell the kernel about bytes of the section."""
        first = (self._entry.offset + start) // mmap.PAGESIZE * mmap.PAGESIZE
        self._memory.madvise(advice, first, self._entry.offset + min(stop, self._entry.length) - first)

    def _verify(self, blocks: NDArray[np.int64]) -> None:
        size = self._entry.block
        for block in blocks.tolist():
            self._advise(block * size, (block + 1) * size, mmap.MADV_WILLNEED)
        with self._lock:
            for block in blocks.tolist():
                data = self._raw[block * size : (block + 1) * size]
                if crc32c(data) != self._entry.checksums[block]:
                    raise Corrupted(
                        f"{self._file}: section {self._entry.name!r}, bytes {block * size} and up "
                        "fail their checksum; restore this collection from a backup or delete it"
                    )
                self._unverified[block] = False
            self._whole_verified = not self._unverified.any()


class SectionFile:
    """A section file mapped read-only; its header and table are verified at once, sections when first read.

    Raises:
        Corrupted: it is missing, too short, of another version, or its header or table fail their checksum.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        memory, raw = _map(path)
        if len(raw) < _HEADER.size:
            raise Corrupted(f"{path}: {len(raw)} bytes are too few for a section file")
        head = raw[: _HEADER.size].tobytes()
        magic, version, _, offset, length, size, table_crc, _, head_crc = _HEADER.unpack(head)
        if magic != MAGIC or head_crc != crc32c(head[:-4]):
            raise Corrupted(f"{path}: not a section file, or its header is damaged")
        if version not in (1, FORMAT_VERSION):
            raise Corrupted(
                f"{path}: format version {version}; this program reads versions 1 and {FORMAT_VERSION}"
            )
        if size != len(raw) or offset + length != size:
            raise Corrupted(f"{path}: expected {size} bytes, found {len(raw)}")
        table = raw[offset:].tobytes()
        if crc32c(table) != table_crc:
            raise Corrupted(f"{path}: the section table is damaged")
        entries = [SectionEntry.from_json(entry, offset) for entry in json.loads(table)]
        self.sections: Mapping[str, Section] = {
            entry.name: Section(entry, raw, memory, path) for entry in entries
        }

    def section(self, name: str) -> Section:
        """A section that must be there.

        Raises:
            Corrupted: it is not.
        """
        if name not in self.sections:
            raise Corrupted(f"{self.path}: section {name!r} is missing")
        return self.sections[name]


def _map(path: Path) -> tuple[mmap.mmap, NDArray[np.uint8]]:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise Corrupted(f"{path}: 0 bytes are too few for a section file")
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # A page that is touched comes without those around it, megabytes on some disks.
            memory.madvise(mmap.MADV_RANDOM)
            return memory, np.frombuffer(memory, dtype=np.uint8)
    except FileNotFoundError as error:
        raise Corrupted(f"{path}: the file is missing") from error
