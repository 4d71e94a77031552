"""The `nearfield` command: its subcommands by name, each imported only when it is asked for."""

import importlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from nearfield.server.cli import console


@dataclass(frozen=True)
class Command:
    """Where a subcommand is, and the line that describes it in the list of all."""

    module: str
    function: str
    summary: str


COMMANDS = {
    "serve": Command("nearfield.server.cli.serve", "serve", "Run the server."),
    "demo": Command("nearfield.server.cli.demo.command", "demo", "Start a server, fill it and search it."),
    "import": Command(
        "nearfield.server.cli.transfer.import_command", "import_points", "Import points from a file."
    ),
    "export": Command(
        "nearfield.server.cli.transfer.export_command", "export_points", "Export a collection to a file."
    ),
    "inspect": Command("nearfield.server.cli.inspect", "inspect", "Show what a data directory holds."),
    "verify": Command("nearfield.server.cli.verify", "verify", "Check a data directory for damage."),
    "bench": Command("nearfield.bench.command", "bench", "Measure recall, speed and memory."),
}
"""`bench` is named, not imported: the package above this one brings it along."""


class LazyGroup(TyperGroup):
    """A group whose subcommands are imported on use; the list of all shows summaries and imports none."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The subcommand; only its summary while all are listed."""
        command = COMMANDS.get(cmd_name)
        if command is None:
            return None
        if self._listing:
            return TyperCommand(cmd_name, help=command.summary)
        only = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        only.command(cmd_name)(getattr(importlib.import_module(command.module), command.function))
        return typer.main.get_command(only)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help of the whole program."""
        self._listing = True
        super().format_help(ctx, formatter)


app = typer.Typer(
    cls=LazyGroup,
    name="nearfield",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out.print(f"nearfield {version('nearfield')}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 1 failed or damage found, 2 wrong usage, 3 port taken, 4 data directory in use."
)
def _nearfield(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Vector similarity search that knows its own recall."""


def run() -> None:
    """Runs the command line; errors that the engine raises on purpose become one line and an exit code."""
    try:
        app(prog_name="nearfield")
    except Exception as error:
        from nearfield.engine.errors import (
            DirectoryLocked,
            NearfieldError,
        )  # not for `--help`, which stays quick

        if not isinstance(error, NearfieldError | OSError):
            raise
        console.complain(error)
        locked = isinstance(error, DirectoryLocked)
        raise SystemExit(console.Exit.DIRECTORY_LOCKED if locked else console.Exit.FAILED) from None
