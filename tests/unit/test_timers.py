"""Timers that share one timer of the event loop."""

import asyncio
import time
from typing import Any, ClassVar

from nearfield.server.timers import LoopOfTimers, Timers

_DELAY_S = 0.05


def test_each_is_called_once_and_in_order() -> None:
    async def run() -> list[int]:
        called: list[int] = []
        timers = Timers(asyncio.get_running_loop(), _DELAY_S)
        started = [timers.start(lambda i=i: called.append(i)) for i in range(3)]
        started[1].cancel()
        await asyncio.sleep(_DELAY_S / 2)
        late = timers.start(lambda: called.append(9))
        assert called == []
        await asyncio.sleep(_DELAY_S * 3)
        assert called == [0, 2, 9]
        for timer in (*started, late):
            timer.cancel()
        timers.start(lambda: called.append(5))  # armed again after all were called
        await asyncio.sleep(_DELAY_S * 3)
        return called

    assert asyncio.run(run()) == [0, 2, 9, 5]


def test_one_timer_of_the_loop_for_all() -> None:
    """Cancelled ones are forgotten at once, and the loop's timer is set for the oldest that is left."""

    class Counting(asyncio.SelectorEventLoop):
        set_at: ClassVar[list[float]] = []

        def call_at(self, when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
            if isinstance(getattr(callback, "__self__", None), Timers):
                self.set_at.append(when)
            return super().call_at(when, callback, *args, **options)

    async def run() -> None:
        timers = Timers(asyncio.get_running_loop(), _DELAY_S)
        for _ in range(100):
            timers.start(lambda: None).cancel()
        await asyncio.sleep(_DELAY_S / 2)
        done = asyncio.Event()
        kept = timers.start(done.set)
        assert len(Counting.set_at) == 1
        await done.wait()
        assert Counting.set_at[1:] in ([kept.when], [])  # none where the first was served that late

    with asyncio.Runner(loop_factory=Counting) as runner:
        runner.run(run())


def test_one_cancelled_by_another_that_is_due_with_it() -> None:
    async def run() -> list[str]:
        called: list[str] = []
        timers = Timers(asyncio.get_running_loop(), _DELAY_S)

        def first() -> None:
            called.append("first")
            second.cancel()

        timers.start(first)
        second = timers.start(lambda: called.append("second"))
        timers.start(lambda: called.append("third"))
        time.sleep(2 * _DELAY_S)  # all are due when the loop looks again
        await asyncio.sleep(_DELAY_S)
        return called

    assert asyncio.run(run()) == ["first", "third"]


def test_an_error_of_one_leaves_the_others() -> None:
    async def run() -> list[str]:
        called: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: called.append(str(context["exception"])))
        timers = LoopOfTimers(loop)

        def fail() -> None:
            raise ValueError("broken")

        timers.call_later(_DELAY_S, fail)
        timers.call_later(_DELAY_S, lambda: called.append("second"))
        timers.call_later(_DELAY_S / 2, lambda: called.append("first"))
        await timers.create_task(asyncio.sleep(_DELAY_S * 3))
        return called

    assert asyncio.run(run()) == ["first", "broken", "second"]
