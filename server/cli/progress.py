"""Progress bars over points."""

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from nearfield.server.cli import console


class RateColumn(ProgressColumn):
    """Points per second."""

    def render(self, task: Task) -> Text:
        """The rate so far, or of the whole once finished."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="dim")


class SecondsColumn(ProgressColumn):
    """Seconds since the task began, or that it took."""

    def render(self, task: Task) -> Text:
        """Such as `  4.2 s`."""
        elapsed = task.finished_time if task.finished else task.elapsed
        return Text(f"{elapsed or 0:5.1f} s", style="dim")


class CountColumn(ProgressColumn):
    """Points done of all points."""

    def render(self, task: Task) -> Text:
        """Such as `34,000 / 97,332`."""
        total = f"{task.total:,.0f}" if task.total is not None else "?"
        return Text(f"{task.completed:,.0f} / {total}")


def point_progress() -> Progress:
    """A progress bar over points: name, bar, count, rate and time left; on standard error."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
        CountColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True),
        console=console.err,
        expand=False,
    )
