"""A file that carries the name `X.part` until it is complete, and can be continued after an interruption."""

import os
from pathlib import Path


class PartFile:
    """An append-only binary file under construction.

    Args:
        path: final name.
        resume: bytes to keep per final file name, from an earlier `mark`; None starts anew.
    """

    def __init__(self, path: Path, resume: dict[str, int] | None = None) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume is None:
            self.stream = self._part.open("w+b", buffering=1 << 20)
        else:
            self.stream = self._part.open("r+b", buffering=1 << 20)
            self.stream.truncate(resume[path.name])
            self.stream.seek(0, os.SEEK_END)

    def mark(self) -> dict[str, int]:
        """Hands everything to the operating system; returns the bytes so far by final file name."""
        self.stream.flush()
        return {self.path.name: self.stream.tell()}

    def close(self) -> Path:
        """Makes the file durable and gives it its final name."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        self._part.replace(self.path)
        return self.path

    def abandon(self) -> None:
        """Closes the file and leaves what is there for a later resumption."""
        self.stream.close()
