"""The files of a saved index: a header with magic, version, facts and checksums beside the kind's own."""

import json
import math
import mmap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import Corrupted, InvalidRequest

MAGIC: Final = "nearfield-index"
HEADER_NAME: Final = "header.json"


def new_directory(path: str | Path) -> Path:
    """A directory to save into, made if need be.

    Raises:
        InvalidRequest: it holds something already.
    """
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InvalidRequest(
            f"expected a new or empty directory to save into, got {directory} with files in it"
        )
    return directory


def save_header(
    directory: Path, kind: str, format_version: int, facts: Mapping[str, Any], files: Sequence[Path]
) -> Path:
    """Write the header of files that are already there; returns its path.

    Args:
        facts: what `open_header` gives back; JSON values.
        files: the index's own files, all in `directory`.
    """
    body = {
        "kind": kind,
        "format_version": format_version,
        "facts": dict(facts),
        "files": {path.name: {"bytes": path.stat().st_size, "crc32c": _checksum(path)} for path in files},
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"
    header = directory / HEADER_NAME
    header.write_text(f"{MAGIC} {_native.crc32c(text.encode()):08x}\n{text}")
    return header


def open_header(
    directory: Path, kind: str, format_version: int, unread: Collection[str] = ()
) -> dict[str, Any]:
    """The facts of a saved index, after every checksum held.

    Args:
        unread: files of which only the size is compared.

    Raises:
        Corrupted: a file is missing, damaged, or of another kind or format.
    """
    path = directory / HEADER_NAME
    try:
        first, text = path.read_text().split("\n", 1)
        if first != f"{MAGIC} {_native.crc32c(text.encode()):08x}":
            raise ValueError("its checksum does not hold")
        body = json.loads(text)
    except (OSError, ValueError) as error:
        raise Corrupted(f"{path} is not the header of an index: {error}") from error
    found = (body["kind"], body["format_version"])
    if found != (kind, format_version):
        raise Corrupted(
            f"{path} is of kind {found[0]} format {found[1]}, expected {kind} format {format_version}"
        )
    for name, expected in body["files"].items():
        _verify(directory / name, expected["bytes"], None if name in unread else expected["crc32c"])
    facts: dict[str, Any] = body["facts"]
    return facts


def mapped_at_random(path: Path) -> NDArray[Any]:
    """The array of an npy file, memory-mapped; a page that is touched is read without those around it.

    Raises:
        ValueError: not the file of one plain array.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{path} is not an npy file of version 1.0")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = math.prod(shape)
        if fortran_order or dtype.hasobject or len(memory) != file.tell() + count * dtype.itemsize:
            raise ValueError(f"{path} does not hold one array in C order")
        memory.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(memory, dtype, count, file.tell()).reshape(shape)


def _verify(path: Path, size: int, checksum: int | None) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise Corrupted(f"{path} has {found} bytes, expected {size}")
        if checksum is not None and _checksum(path) != checksum:
            raise Corrupted(f"{path} is damaged: its CRC-32C does not hold")
    except OSError as error:
        raise Corrupted(f"{path} cannot be read: {error}") from error


def _checksum(path: Path) -> int:
    if not path.stat().st_size:
        return _native.crc32c(b"")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _native.crc32c(content)
