"""Reading request bodies within their limits, whatever length the client announces."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from nearfield.engine.errors import TooManyRequests
from nearfield.server.codec.decode import RequestBody
from nearfield.server.errors import BodyTooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Disconnected(Exception):
    """The client went away before its request was complete."""


class BodyBudget:
    """Bytes of all the request bodies that are held in memory at once.

    Args:
        bytes_max: the most there may be.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.held = 0

    def take(self, count: int) -> None:
        """Account for bytes just received.

        Raises:
            TooManyRequests: that would be too many at once.
        """
        if self.held + count > self._bytes_max:
            raise TooManyRequests(f"request bodies of {self.held} bytes wait already; retry later")
        self.held += count

    def give_back(self, count: int) -> None:
        """The bytes are no longer needed."""
        self.held -= count


class BodyReader:
    """Reads one request's body.

    Args:
        bytes_max: the longest body this route takes.
    """

    def __init__(self, budget: BodyBudget, bytes_max: int) -> None:
        self._budget = budget
        self._bytes_max = bytes_max
        self.taken = 0

    async def read(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> RequestBody:
        """The whole body.

        Raises:
            BodyTooLarge: it is announced or found to be longer than its limit.
            TooManyRequests: the bodies waiting fill the budget.
            Disconnected: the client went away.
        """
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value) > self._bytes_max:
                raise BodyTooLarge(self._too_large(f"announced {int(value)}"))
        body: bytearray | None = None
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk: bytes = message.get("body", b"")
            self._take(len(chunk))
            more = message.get("more_body", False)
            if body is None:
                if not more:
                    return chunk
                body = bytearray()
            body += chunk
            if not more:
                return body

    def _take(self, count: int) -> None:
        if self.taken + count > self._bytes_max:
            raise BodyTooLarge(self._too_large("more came"))
        self._budget.take(count)
        self.taken += count

    def _too_large(self, came: str) -> str:
        return f"request body too large: at most {self._bytes_max} bytes are taken here, {came}"

    def release(self) -> None:
        """The body is no longer needed."""
        self._budget.give_back(self.taken)
        self.taken = 0
