"""How far a transfer came, in a small file: `--resume` continues after the last acknowledged batch."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson


def state_directory() -> Path:
    """Where imports keep their progress: `$XDG_STATE_HOME/nearfield`, by default below the home directory."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "nearfield"


def import_checkpoint(source: Path, place: str, collection: str, options: object) -> "Checkpoint":
    """The checkpoint of importing one version of a file, read in one way, into one collection."""
    status = source.stat()
    identity = [str(source.resolve()), status.st_size, status.st_mtime_ns, place, collection, repr(options)]
    key = sha256(orjson.dumps(identity)).hexdigest()[:20]
    return Checkpoint(state_directory() / "imports" / f"{key}.json")


def export_checkpoint(out: Path) -> "Checkpoint":
    """The checkpoint of an export, beside the file it writes."""
    return Checkpoint(out.with_name(out.name + ".part.json"))


class Checkpoint:
    """One JSON object in a file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.writable = True

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None when there is nothing (left) to resume."""
        try:
            loaded = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        return loaded if isinstance(loaded, dict) else None

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the file. Where that is impossible the transfer goes on, and `writable` tells."""
        if not self.writable:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            temporary.write_bytes(orjson.dumps(state))
            temporary.replace(self._path)
        except OSError:
            self.writable = False

    def clear(self) -> None:
        """Forgets everything: the transfer is complete, or starts anew."""
        if self.writable:
            self._path.unlink(missing_ok=True)
