"""One process per data directory."""

import fcntl
import os
from pathlib import Path

from nearfield.engine.errors import DirectoryLocked


class DirectoryLock:
    """An exclusive lock on `<directory>/LOCK`, held until `release` or the end of the process.

    Raises:
        DirectoryLocked: another process (or another database of this one) holds it; names its pid.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise DirectoryLocked(f"{directory} is in use by process {holder}; stop it first") from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in; the file stays."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
