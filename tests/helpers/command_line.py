"""Running the `nearfield` command inside the test's process."""

import sys
from dataclasses import dataclass
from unittest import mock

import pytest

from nearfield.server.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


def run_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ran:
    """Run `nearfield ARGUMENTS...` and return its exit code and what it printed."""
    capsys.readouterr()
    code: object = 0
    with mock.patch.object(sys, "argv", ["nearfield", *map(str, arguments)]):
        try:
            main()
        except SystemExit as left:
            code = left.code
    printed = capsys.readouterr()
    return Ran(int(code or 0), printed.out, printed.err)  # type: ignore[call-overload]
