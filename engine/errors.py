"""Every error the engine raises on purpose.

NearfieldError
├── InvalidRequest          the caller's fault: expected what, got what, where
│   └── Unprocessable       well-formed, but a value is outside its documented limits
├── NotFound                a collection, point, alias or vector that is not there
├── Conflict                it already exists, or is in use
├── Cancelled               the caller gave up, or the deadline passed
├── Unavailable             not now: closing, overloaded or read-only
│   └── TooManyRequests     the queue of waiting writes is full; retry later
└── StorageError            the disk's fault
    ├── OutOfSpace          the disk is full; writes resume when space is back
    ├── Corrupted           a checksum, magic number or bound does not hold
    └── DirectoryLocked     another process has this data directory open

The HTTP status of each is decided in one table, `nearfield.server.errors`.
"""


class NearfieldError(Exception):
    """Base of every deliberate error; `str(error)` is a sentence a user can act on."""


class InvalidRequest(NearfieldError):
    """The request cannot be served as written.

    Args:
        message: what was expected and what came.
        path: where in the request body, such as `points[3].vector`; None when the whole is meant.
    """

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(f"{message} (at {path})" if path else message)
        self.message = message
        self.path = path


class Unprocessable(InvalidRequest):
    """A well-formed value lies outside its limits (a negative size, an empty selector)."""


class NotFound(NearfieldError):
    """The named thing does not exist."""


class Conflict(NearfieldError):
    """The named thing already exists or is in use."""


class Cancelled(NearfieldError):
    """The caller cancelled, or the request's deadline passed before an answer was ready."""


class Unavailable(NearfieldError):
    """The engine cannot serve this now."""


class TooManyRequests(Unavailable):
    """Too many writes wait already."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageError(NearfieldError):
    """Reading or writing the data directory failed."""


class OutOfSpace(StorageError):
    """The file system has no room left."""


class Corrupted(StorageError):
    """Stored bytes fail their checksum, magic number, version or bounds."""


class DirectoryLocked(StorageError):
    """Another process holds the data directory's lock."""
