"""Runs a function in a process of its own, so that what one library allocates or starts touches no other."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from nearfield.bench.harness import Reporter

_REPORTS = ("stage", "step", "note")


class IsolatedError(Exception):
    """The child process failed; its own traceback is on the standard error output."""


class _Forwarder(Reporter):
    """Sends what is reported to the parent process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def stage(self, name: str, total: int) -> None:
        self._connection.send(("stage", name, total))

    def step(self, what: str) -> None:
        self._connection.send(("step", what))

    def note(self, text: str) -> None:
        self._connection.send(("note", text))


def isolated(function: Callable[..., None], *arguments: Any, reporter: Reporter) -> None:
    """Call `function(*arguments, reporter)` in a fresh process; arguments are pickled.

    Raises:
        IsolatedError: the process did not end well.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_call, args=(sending, function, arguments), daemon=True)
    child.start()
    sending.close()
    try:
        while True:
            name, *values = receiving.recv()
            if name in _REPORTS:
                getattr(reporter, name)(*values)
    except EOFError:
        child.join()
    finally:
        receiving.close()
        if child.is_alive():
            child.terminate()
            child.join()
    if child.exitcode:
        raise IsolatedError(f"{function.__name__} ended with status {child.exitcode}")


def _call(sending: Connection, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    with sending:
        function(*arguments, _Forwarder(sending))
