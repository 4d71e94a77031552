"""Serving: an application behind uvicorn, in this thread or in another one."""

import gc
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Final, cast

import uvicorn

from nearfield.engine.errors import Unavailable
from nearfield.server.app import create_app
from nearfield.server.protocol import TimedHttpProtocol
from nearfield.server.service import Service
from nearfield.server.settings import Settings

_BACKLOG: Final = 2048
_START_TIMEOUT_S: Final = 60
_POLL_S: Final = 0.005
_COLLECTED_OBJECTS: Final = 50_000
"""New containers after which a collection of garbage starts: it walks the numbers of all bodies at hand."""
_SWITCH_INTERVAL_S: Final = 0.001
"""How long a thread may keep the interpreter from the event loop: decoding a body must not delay a query."""

Announce = Callable[[str], None]


class _Server(uvicorn.Server):
    """uvicorn's server; tells when it listens, and stops when its database cannot be opened.

    Args:
        announce: called with the server's URL once it answers.
    """

    def __init__(self, settings: Settings, listener: socket.socket, announce: Announce) -> None:
        app = create_app(settings)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=TimedHttpProtocol.with_timeout(settings.header_timeout_s),
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=settings.keep_alive_timeout_s,
                timeout_graceful_shutdown=settings.shutdown_timeout_s,
            )
        )
        self.service = cast(Service, app.state.service)
        self.service.on_failure = self._give_up
        self._listener = listener
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        if not self.should_exit:
            self._announce(url_of(self._listener))

    def _give_up(self) -> None:
        self.should_exit = True

    def serve_until_stopped(self) -> None:
        """Run in this thread.

        Raises:
            NearfieldError: the database could not be opened.
        """
        self.run(sockets=[self._listener])
        if self.service.failure is not None:
            raise self.service.failure


def serve(settings: Settings, announce: Announce = lambda url: None) -> None:
    """Serve until SIGINT or SIGTERM; before it returns, requests are finished and the database is closed.

    Args:
        announce: called with the server's URL once it listens; collections may still be opening: `/readyz`.

    Raises:
        NearfieldError: the data directory cannot be opened.
        OSError: the address cannot be listened on.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    server = _Server(settings, listen(settings), announce)
    # What is loaded by now stays for good: a full collection skips it (36 ms before, 0.01 ms after).
    gc.freeze()
    gc.set_threshold(_COLLECTED_OBJECTS, *gc.get_threshold()[1:])
    server.serve_until_stopped()


@contextmanager
def serve_in_thread(settings: Settings) -> Iterator[str]:
    """A server in its own thread for as long as the block runs; gives its URL once its collections are open.

    Raises:
        NearfieldError: the data directory cannot be opened.
        OSError: the address cannot be listened on.
    """
    listener = listen(settings)
    server = _Server(settings, listener, lambda url: None)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.serve_until_stopped()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="nearfield-server")
    thread.start()
    try:
        _wait(lambda: server.service.ready or not thread.is_alive())
        if thread.is_alive():
            yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()
    if failures:
        raise failures[0]


def _wait(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + _START_TIMEOUT_S
    while not condition():
        if monotonic() > deadline:
            raise Unavailable(f"the server is not ready after {_START_TIMEOUT_S} s")
        sleep(_POLL_S)


def listen(settings: Settings) -> socket.socket:
    """A listening socket at the configured address."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)


def url_of(listener: socket.socket) -> str:
    """The URL a client on this machine reaches a listening socket by."""
    address: tuple[Any, ...] = listener.getsockname()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
    return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"
