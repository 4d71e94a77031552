"""A closed loop of HTTP clients: each sends its next request when it has read the whole answer to the last.

Requests are encoded beforehand and the sockets are driven by one epoll loop per process, so that on a small
machine the load costs little beside the server it measures.
"""

import multiprocessing
import selectors
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

_READ_BYTES = 1 << 18
_STALLED_S = 30.0
"""Without any answer for this long, the loop gives up."""


class LoadError(Exception):
    """The server cannot be reached, closed a connection, or answered in a way not understood here."""


@dataclass
class LoadResult:
    """What a closed loop saw.

    Args:
        seconds: wall time from the first request to the last answer.
        latencies_ns: int64, one per answer.
        bodies: answer to each request, the first time it was answered, by position in the request list.
        statuses: answers by HTTP status.
    """

    seconds: float
    latencies_ns: NDArray[np.int64]
    bodies: dict[int, bytes]
    statuses: Counter[int]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies_ns) / self.seconds


@dataclass
class _Client:
    """One keep-alive connection and what it is waiting for."""

    socket: socket.socket
    position: int
    stride: int
    sent_ns: int = 0
    received: bytearray = field(default_factory=bytearray)
    expected: int = -1
    status: int = 0
    header: int = 0


def http_request(
    url: str, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
) -> bytes:
    """The bytes of a keep-alive HTTP/1.1 request with a JSON body."""
    parts = urlsplit(url)
    lines = [
        f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def closed_loop(
    url: str,
    requests: Sequence[bytes],
    clients: int,
    seconds: float,
    *,
    processes: int = 1,
    at_least_once: bool = True,
) -> LoadResult:
    """Run `clients` keep-alive connections for `seconds`, cycling through the requests.

    Args:
        url: `http://host:port`; plain HTTP only.
        requests: as made by `http_request`.
        processes: load-generating processes the clients are spread over.
        at_least_once: go on past `seconds` until every request has been answered once.

    Raises:
        LoadError: connection refused or closed, a stall, or an answer without Content-Length.
    """
    if urlsplit(url).scheme != "http":
        raise LoadError(f"expected an http:// address, got {url}")
    processes = min(processes, clients)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    pipes: list[Connection] = []
    workers = []
    for index in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        share = list(range(index, clients, processes))
        worker = context.Process(
            target=_worker,
            args=(sender, barrier, url, requests, share, clients, seconds, at_least_once),
            daemon=True,
        )
        worker.start()
        sender.close()
        pipes.append(receiver)
        workers.append(worker)
    try:
        return _merge([_receive(pipe) for pipe in pipes])
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _receive(pipe: Connection) -> LoadResult:
    try:
        result = pipe.recv()
    except EOFError as error:
        raise LoadError("a load-generating process ended early") from error
    if isinstance(result, LoadResult):
        return result
    raise LoadError(str(result))


def _merge(results: Sequence[LoadResult]) -> LoadResult:
    bodies: dict[int, bytes] = {}
    statuses: Counter[int] = Counter()
    for result in results:
        bodies.update(result.bodies)
        statuses.update(result.statuses)
    latencies = np.concatenate([result.latencies_ns for result in results])
    return LoadResult(max(result.seconds for result in results), latencies, bodies, statuses)


def _worker(
    sender: Connection,
    barrier: Barrier,
    url: str,
    requests: Sequence[bytes],
    share: Sequence[int],
    clients: int,
    seconds: float,
    at_least_once: bool,
) -> None:
    try:
        connected = [_connect(url, position, clients) for position in share]
        barrier.wait(timeout=_STALLED_S)
        sender.send(_drive(connected, requests, seconds, at_least_once))
    except (OSError, LoadError) as error:
        sender.send(f"{url}: {error}")


def _connect(url: str, position: int, clients: int) -> _Client:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 80), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Client(connection, position, clients)


def _drive(
    clients: Sequence[_Client], requests: Sequence[bytes], seconds: float, at_least_once: bool
) -> LoadResult:
    """Each client cycles through its own share of the requests: position, position + stride, ..."""
    selector = selectors.DefaultSelector()
    wanted = {
        i % len(requests)
        for c in clients
        for i in range(c.position, max(len(requests), c.position + 1), c.stride)
    }
    result = LoadResult(0.0, np.empty(0, np.int64), {}, Counter())
    latencies: list[int] = []
    start = time.perf_counter()
    for client in clients:
        _send(client, requests)
        selector.register(client.socket, selectors.EVENT_READ, client)
    active = len(clients)
    while active:
        ready = selector.select(timeout=_STALLED_S)
        if not ready:
            raise LoadError(f"no answer for {_STALLED_S:.0f} s")
        for key, _ in ready:
            client = key.data
            if not _read(client):
                continue
            latencies.append(time.perf_counter_ns() - client.sent_ns)
            _keep(client, result, len(requests))
            unfinished = at_least_once and len(result.bodies) < len(wanted)
            if time.perf_counter() - start < seconds or unfinished:
                _advance(client, len(requests))
                _send(client, requests)
            else:
                selector.unregister(client.socket)
                active -= 1
    result.seconds = time.perf_counter() - start
    result.latencies_ns = np.array(latencies, np.int64)
    for client in clients:
        client.socket.close()
    return result


def _keep(client: _Client, result: LoadResult, count: int) -> None:
    index = client.position % count
    result.statuses[client.status] += 1
    if index not in result.bodies:
        result.bodies[index] = bytes(client.received[client.header :])
    client.received.clear()
    client.expected = -1


def _advance(client: _Client, count: int) -> None:
    """The next of this client's share; past the end it starts over."""
    following = client.position + client.stride
    client.position = following if following < count else client.position % client.stride


def _send(client: _Client, requests: Sequence[bytes]) -> None:
    client.sent_ns = time.perf_counter_ns()
    client.socket.sendall(requests[client.position % len(requests)])


def _read(client: _Client) -> bool:
    """Take what has arrived; True when the answer is complete."""
    chunk = client.socket.recv(_READ_BYTES)
    if not chunk:
        raise LoadError("the server closed a keep-alive connection")
    client.received += chunk
    if client.expected < 0:
        end = client.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(client.received[:end]).lower()
        mark = head.find(b"\r\ncontent-length:")
        if mark < 0:
            raise LoadError("an answer came without Content-Length")
        client.status = int(head[9:12])
        client.header = end + 4
        client.expected = client.header + int(head[mark + 17 :].split(b"\r\n", 1)[0])
    return len(client.received) >= client.expected
