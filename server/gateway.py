"""The outermost layer: admission, limits, deadlines, errors and counters; and the short way to a query."""

import asyncio
import hmac
import logging
import re
from collections.abc import Iterable
from functools import partial
from time import perf_counter
from typing import Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nearfield.engine.errors import TooManyRequests
from nearfield.server.body import BodyBudget, BodyReader, Disconnected
from nearfield.server.codec.answers import failure
from nearfield.server.errors import Unauthorized, log_failure, status_of
from nearfield.server.exchange import BODY, STARTED
from nearfield.server.routes.query import QUERY_PATH, answer_query
from nearfield.server.service import Service

_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
_OPEN_PATHS: Final = frozenset({"/", "/healthz", "/readyz", "/livez"})
_PLAIN_QUERY: Final = re.compile(rb"(?:timeout=([1-9]\d{0,5}))?")
"""Query strings with which a search may take the short way."""
_AT_ONCE: Final = 0.0
_CLIENT_CLOSED: Final = 499
_JSON: Final = (b"content-type", b"application/json")

_access_log = logging.getLogger("nearfield.access")


class _Exchange:
    """One request and what has been sent of its answer."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.started = perf_counter()
        self.status = 0
        self.complete = False
        self.route = "unknown"
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a message of the framework on, remembering the status."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def answer(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole JSON answer."""
        self.status = status
        length = (b"content-length", str(len(body)).encode())
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, error: Exception) -> None:
        """Answer an error; if another answer has begun, let the connection break."""
        status, message, headers = status_of(error)
        log_failure(error, status, self._scope["method"], self._scope["path"])
        if self.complete:
            return
        if self.status:
            raise error
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.answer(status, failure(message, self.started), encoded)


class Gateway:
    """ASGI application around the framework's.

    Args:
        app: the routes.
        service: the state they share.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._settings = service.settings
        self._budget = BodyBudget(service.settings.waiting_body_bytes_max)
        self._in_progress = 0
        service.metrics.in_progress.set_function(lambda: self._in_progress)
        key = service.settings.api_key
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of scopes go straight to the framework."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        reader = BodyReader(self._budget, self._body_bytes_max(scope))
        self._in_progress += 1
        try:
            async with asyncio.timeout(None) as limit:
                deadline = self._service.deadlines.start(partial(limit.reschedule, _AT_ONCE))
                try:
                    await self._serve(scope, receive, exchange, reader)
                finally:
                    deadline.cancel()
        except Disconnected:
            exchange.status = _CLIENT_CLOSED
        except TimeoutError as error:
            await exchange.fail(TimeoutError(str(error) or self._too_late()))
        except Exception as error:
            await exchange.fail(error)
        finally:
            self._in_progress -= 1
            self._record(scope, exchange, reader)

    async def _serve(self, scope: Scope, receive: Receive, exchange: _Exchange, reader: BodyReader) -> None:
        self._admit(scope)
        scope[STARTED] = exchange.started
        if scope["method"] in _BODY_METHODS:
            scope[BODY] = await reader.read(scope["headers"], receive)
        plain = _PLAIN_QUERY.fullmatch(scope["query_string"])
        collection = _queried_collection(scope) if plain else None
        if plain is None or collection is None:
            await self._app(scope, receive, exchange.send)
            exchange.route = getattr(scope.get("route"), "path", exchange.route)
            return
        exchange.route = QUERY_PATH
        timeout_s = int(plain[1]) if plain[1] else None
        await exchange.answer(
            200, await answer_query(self._service, collection, scope[BODY], exchange.started, timeout_s)
        )

    def _admit(self, scope: Scope) -> None:
        if self._key is not None and scope["path"] not in _OPEN_PATHS and not self._has_key(scope):
            raise Unauthorized("Must provide an API key or an Authorization bearer token")
        if self._in_progress > self._settings.max_concurrent and scope["path"] not in _OPEN_PATHS:
            raise TooManyRequests(
                f"{self._settings.max_concurrent} requests are in progress already; retry later"
            )

    def _has_key(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                value = value[7:].strip()
            elif name != b"api-key":
                continue
            if hmac.compare_digest(value, self._key):
                return True
        return False

    def _body_bytes_max(self, scope: Scope) -> int:
        path = scope["path"]
        is_bulk = path.startswith("/v1/collections/") and path.endswith("/bulk")
        return self._settings.bulk_body_bytes_max if is_bulk else self._settings.body_bytes_max

    def _too_late(self) -> str:
        return f"no answer within {self._settings.request_timeout_s:g} s; a write may still be applied"

    def _record(self, scope: Scope, exchange: _Exchange, reader: BodyReader) -> None:
        seconds = perf_counter() - exchange.started
        method = scope["method"]
        metrics = self._service.metrics
        metrics.observe(method, exchange.route, exchange.status, seconds)
        metrics.body_bytes.inc(reader.taken)
        reader.release()
        if self._settings.access_log:
            line = {
                "method": method,
                "path": scope["path"],
                "status": exchange.status,
                "seconds": round(seconds, 6),
                "client": (scope.get("client") or ("",))[0],
            }
            _access_log.info(orjson.dumps(line).decode())


def _queried_collection(scope: Scope) -> str | None:
    """The collection of `POST /collections/{collection}/points/query`."""
    if scope["method"] != "POST":
        return None
    parts = scope["path"].split("/")
    if len(parts) == 5 and parts[1] == "collections" and parts[3] == "points" and parts[4] == "query":
        return str(parts[2])
    return None
