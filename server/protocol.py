"""uvicorn's HTTP protocol, with a deadline for request heads, and with answers sent in one piece."""

import asyncio
from functools import partial
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from nearfield.server.exchange import ANSWER

_ANSWER: Final = b"HTTP/1.1 "
_CONTINUE: Final = b"HTTP/1.1 100"
_JSON_HEAD: Final = b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_COPIED_BYTES_MAX: Final = 64 * 2**10


class _WholeAnswers:
    """A transport that keeps an answer's head until its body follows: one system call wakes the client once.

    On a virtual machine a second packet costs more than making a small answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send; the head of an answer is kept until the next write, no longer than this turn of the loop."""
        head = self._head
        if head is None:
            if data.startswith(_ANSWER) and not data.startswith(_CONTINUE):
                self._head = data
                self._loop.call_soon(self._flush)
            else:
                self._transport.write(data)
            return
        self._head = None
        if len(data) <= _COPIED_BYTES_MAX:
            self._transport.write(head + data)
        else:
            self._transport.writelines((head, data))

    def write_whole(self, head: bytes, body: bytes) -> None:
        """Send a whole answer."""
        self._flush()
        self._head = head
        self.write(body)

    def close(self) -> None:
        """Send what is kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():
            self._transport.write(head)


class TimedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head takes longer than `header_timeout_s` to arrive."""

    header_timeout_s: ClassVar[float]

    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    @classmethod
    def with_timeout(cls, header_timeout_s: float) -> type["TimedHttpProtocol"]:
        """The protocol class for one server."""
        return type("TimedHttpProtocol", (cls,), {"header_timeout_s": header_timeout_s})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock: the first head is due."""
        whole = _WholeAnswers(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, whole))
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
        # The request's task has not begun: it finds this in its scope.
        cast(dict[str, Any], self.scope)[ANSWER] = partial(_answer, self.cycle)

    def _watch_head(self) -> None:
        if self._in_head == (self._head_timer is not None):
            return
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.header_timeout_s, self.transport.close)
        else:
            self._head_timer.cancel()
            self._head_timer = None


def _answer(cycle: RequestResponseCycle, body: bytes) -> bool:
    """Send a whole JSON answer 200 without messages and checks of headers; False where that does not do."""
    if cycle.response_started or cycle.disconnected or not cycle.keep_alive or cycle.flow.write_paused:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    own = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    cast(_WholeAnswers, cycle.transport).write_whole(_JSON_HEAD % (own, len(body)), body)
    cycle.message_event.set()
    cycle.on_response()
    return True
