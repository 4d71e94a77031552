"""Timers that are nearly always cancelled, as deadlines of requests and of idle connections are."""

import asyncio
from collections.abc import Callable
from typing import Any, Final


class Timer:
    """One callback that is waited for."""

    __slots__ = ("_among", "_callback", "when")

    def __init__(self, among: "dict[Timer, None]", when: float, callback: Callable[[], object]) -> None:
        self._among: Final = among
        self._callback: Final = callback
        self.when: Final = when

    def cancel(self) -> None:
        """Do not call back; nothing if that was done or cancelled before."""
        self._among.pop(self, None)

    def fire(self) -> None:
        """Call back, unless that was done or cancelled before."""
        if self in self._among:
            self.cancel()
            self._callback()


class Timers:
    """Timers of one delay. The event loop has one for the oldest of them: each of its own costs 3 us.

    Args:
        loop: whose thread everything here is called in.
        delay_s: seconds until a callback.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self._waiting: dict[Timer, None] = {}  # a set in the order they were started
        self._armed = False

    def start(self, callback: Callable[[], object]) -> Timer:
        """Call back after the delay."""
        timer = Timer(self._waiting, self._loop.time() + self._delay_s, callback)
        self._waiting[timer] = None
        if not self._armed:
            self._armed = True
            self._loop.call_at(timer.when, self._fire)
        return timer

    def _fire(self) -> None:
        now = self._loop.time()
        for timer in self._waiting:
            if timer.when > now:
                self._loop.call_at(timer.when, self._fire)
                return
            self._loop.call_soon(timer.fire)  # what is called first may still cancel another
        self._armed = False


class LoopOfTimers:
    """An event loop for a protocol that starts a timer with every request, always of the same few delays."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: dict[float, Timers] = {}
        self.create_task = loop.create_task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """As the event loop's."""
        timers = self._timers.get(delay_s)
        if timers is None:
            timers = self._timers[delay_s] = Timers(self._loop, delay_s)
        return timers.start(callback)
