"""Errors the server adds to the engine's, and the one table that gives every error its HTTP status."""

import http
import logging

from nearfield.engine import errors as engine


class BodyTooLarge(engine.InvalidRequest):
    """The request body is longer than its limit."""


class Unauthorized(engine.NearfieldError):
    """The API key is missing or wrong."""


class NotReady(engine.Unavailable):
    """The database is still being opened, or is closing."""


class UnsupportedMedia(engine.InvalidRequest):
    """The bulk body is of a type that is not served here."""


# The first row whose type fits decides: subclasses before their bases.
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (BodyTooLarge, 413, ""),
    (UnsupportedMedia, 415, ""),
    (Unauthorized, 401, ""),
    (engine.Unprocessable, 422, "Wrong input: "),
    (engine.InvalidRequest, 400, "Wrong input: "),
    (engine.NotFound, 404, "Not found: "),
    (engine.Conflict, 409, "Wrong input: "),
    (engine.Cancelled, 408, "Timeout: "),
    (TimeoutError, 408, "Timeout: "),
    (engine.TooManyRequests, 429, ""),
    (engine.Unavailable, 503, "Service unavailable: "),
    (engine.OutOfSpace, 507, "Out of space: "),
    (engine.StorageError, 500, "Storage error: "),
)
RETRY_AFTER_S = 1
_log = logging.getLogger("nearfield")

INTERNAL_MESSAGE = "Service internal error: see the server's log"


def status_of(error: Exception) -> tuple[int, str, dict[str, str]]:
    """HTTP status, message and extra headers of an error; no details of one that nobody raised on purpose."""
    for kind, status, prefix in _STATUS:
        if isinstance(error, kind):
            text = str(error)
            message = text if text.startswith(prefix) else prefix + text
            headers = {}
            if status in (429, 503):
                headers["retry-after"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
            return status, message, headers
    return 500, INTERNAL_MESSAGE, {}


def log_failure(error: Exception, status: int, method: str, path: str) -> None:
    """Log an error that is the server's fault; with its traceback where nobody raised it on purpose."""
    if status >= 500 and not isinstance(error, engine.Unavailable):
        unexpected = None if isinstance(error, engine.NearfieldError) else error
        _log.error("%s %s: %d %s", method, path, status, error, exc_info=unexpected)


def status_line(status: int) -> str:
    """The words of a status code, such as `Not Found`."""
    return http.HTTPStatus(status).phrase
