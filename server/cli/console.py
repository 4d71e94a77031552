"""How the commands speak: two consoles, numbers as people write them, errors with an exit code."""

from enum import IntEnum
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

out = Console(highlight=False, soft_wrap=False)
"""Results: what a pipe should receive."""
err = Console(stderr=True, highlight=False, soft_wrap=False)
"""Progress, notes and errors."""


class Exit(IntEnum):
    """Exit codes of every command."""

    FAILED = 1
    USAGE = 2
    PORT_TAKEN = 3
    DIRECTORY_LOCKED = 4
    INTERRUPTED = 130


def complain(problem: object) -> None:
    """Prints an error."""
    err.print(Text.assemble(("error: ", "bold red"), str(problem)), soft_wrap=True)


def fail(problem: object, code: Exit = Exit.FAILED) -> NoReturn:
    """Prints an error and leaves with its code."""
    complain(problem)
    raise typer.Exit(code)


def note(message: str) -> None:
    """One dim line about what is going on."""
    err.print(Text(message, style="dim"), soft_wrap=True)


def byte_size(count: float) -> str:
    """Bytes in binary units, such as `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as `340 ms`, `4.2 s` or `3 min 5 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
