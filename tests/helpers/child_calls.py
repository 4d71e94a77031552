"""Functions for tests to call in another process."""

import sys

from nearfield.bench.harness import Reporter


def echo(text: str, reporter: Reporter) -> None:
    """Report what was given."""
    reporter.note(text)


def leave(status: int, reporter: Reporter) -> None:
    """End the process."""
    sys.exit(status)
