"""uvicorn's HTTP protocol with the one timeout it lacks: for a connection that does not finish sending a request's head."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class TimedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head takes longer than `header_timeout_s` to arrive."""

    header_timeout_s: ClassVar[float]

    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    @classmethod
    def with_timeout(cls, header_timeout_s: float) -> type["TimedHttpProtocol"]:
        """The protocol class for one server."""
        return type("TimedHttpProtocol", (cls,), {"header_timeout_s": header_timeout_s})

    def connection_made(self, transport: Any) -> None:
        """Start the clock: the first head is due."""
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._in_head = False
        self._watch_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then start or stop the clock; whole requests that come at once never touch it."""
        super().data_received(data)
        self._watch_head()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The last byte of a head."""
        self._in_head = False
        super().on_headers_complete()

    def _watch_head(self) -> None:
        if self._in_head == (self._head_timer is not None):
            return
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)
        else:
            self._head_timer.cancel()
            self._head_timer = None
