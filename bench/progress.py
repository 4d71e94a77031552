"""The sweep's progress on the terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from nearfield.bench.harness import Reporter


class TerminalReporter(Reporter):
    """Draws one bar per stage; use as a context manager.

    Args:
        console: where to draw.
        title: what is being measured, such as the data set's name.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[title]}[/] {task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[what]}"),
            console=console,
        )
        self._title = title

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        self._task = self._progress.add_task(name, total=total, title=self._title, what="")

    def step(self, what: str) -> None:
        self._progress.update(self._task, advance=1, what=what)

    def note(self, text: str) -> None:
        self._progress.console.print(f"[yellow]note:[/] {escape(text)}", highlight=False)
