"""uvicorn's HTTP protocol, with a deadline for request heads, and with answers sent in one piece."""

import asyncio
from typing import Any, ClassVar, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nearfield.server.timers import LoopOfTimers, Timer

_ANSWER: Final = b"HTTP/1.1 "
_CONTINUE: Final = b"HTTP/1.1 100"
_COPIED_BYTES_MAX: Final = 64 * 2**10


class _WholeAnswers:
    """A transport that keeps an answer's head until its body follows: one system call wakes the client once.

    On a virtual machine a second packet costs more than making a small answer.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send; the head of an answer is kept until the next write."""
        head = self._head
        if head is None:
            if data.startswith(_ANSWER) and not data.startswith(_CONTINUE):
                self._head = data
            else:
                self._transport.write(data)
            return
        self._head = None
        if len(data) <= _COPIED_BYTES_MAX:
            self._transport.write(head + data)
        else:
            self._transport.writelines((head, data))

    def close(self) -> None:
        """Send what is kept, then close."""
        head, self._head = self._head, None
        if head is not None and not self._transport.is_closing():
            self._transport.write(head)
        self._transport.close()


class TimedHttpProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head takes longer than `header_timeout_s` to arrive."""

    header_timeout_s: ClassVar[float]
    _shared_loop: ClassVar[LoopOfTimers | None] = None

    _in_head = True
    _head_timer: Timer | None = None

    @classmethod
    def with_timeout(cls, header_timeout_s: float) -> type["TimedHttpProtocol"]:
        """The protocol class for one server."""
        return type("TimedHttpProtocol", (cls,), {"header_timeout_s": header_timeout_s})

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        kind = type(self)
        if kind._shared_loop is None:
            kind._shared_loop = LoopOfTimers(self.loop)
        self.loop = cast(asyncio.AbstractEventLoop, kind._shared_loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock: the first head is due."""
        whole = _WholeAnswers(cast(asyncio.Transport, transport))
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

    def _watch_head(self) -> None:
        if self._in_head == (self._head_timer is not None):
            return
        if self._head_timer is None:
            loop = cast(LoopOfTimers, self.loop)
            self._head_timer = loop.call_later(self.header_timeout_s, self.transport.close)
        else:
            self._head_timer.cancel()
            self._head_timer = None
