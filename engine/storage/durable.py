"""The few file-system steps that make bytes and names survive a power loss."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from nearfield.engine.errors import OutOfSpace, StorageError

TEMPORARY_SUFFIX: Final = ".tmp"
QUARANTINE_SUFFIX: Final = ".damaged"


def sync_file(path: Path) -> None:
    """Force a file's bytes to the device."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Force a directory's names to the device."""
    sync_file(path)


def make_directory(path: Path) -> None:
    """Create a directory, and its parents, whose names survive a power loss."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A directory that appears under `path` whole or not at all: write files into the yielded temporary one.

    On leaving, every file in it is synced, it gets its name, and the name is synced. An error removes
    it.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    remove_tree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")):
            sync_file(file)
        sync_directory(temporary)
        temporary.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        remove_tree(temporary)
        remove_tree(path)
        raise disk_error(error, path) from error
    except BaseException:
        remove_tree(temporary)
        raise


def disk_error(error: OSError, path: Path) -> StorageError:
    """The engine's error for one of the operating system's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfSpace(f"no space left for {path}; writes resume when there is room again")
    return StorageError(f"{path}: {error}")


def remove_tree(path: Path) -> None:
    """Remove a directory if it is there; what cannot be removed is garbage that the next open removes."""
    shutil.rmtree(path, ignore_errors=True)


def quarantine(path: Path) -> Path:
    """Rename a damaged derived directory out of the way, for inspection; an older one is replaced."""
    target = path.with_name(path.name + QUARANTINE_SUFFIX)
    remove_tree(target)
    path.rename(target)
    sync_directory(path.parent)
    return target


def tree_bytes(path: Path) -> int:
    """Bytes of all files below a directory; files that vanish meanwhile count as nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total
