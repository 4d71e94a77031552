"""`nearfield serve`: its options are the fields of `Settings`, so that none is ever missing here."""

import errno
import inspect
import types
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from nearfield.engine.errors import DirectoryLocked
from nearfield.engine.storage.read_only import holder
from nearfield.server.cli import console
from nearfield.server.settings import Settings


def serve(**options: Any) -> None:
    """Run the server until SIGINT or SIGTERM.

    Every option may also be given as an environment variable (--data as NEARFIELD_DATA) or in the TOML file
    that --config names; an option wins over the environment, and that over the file.
    """
    settings = read_settings({name: value for name, value in options.items() if value is not None})
    pid = holder(settings.data)
    if pid is not None:
        problem = f"{settings.data} is in use by process {pid}; stop it first"
        console.fail(problem, console.Exit.DIRECTORY_LOCKED)
    from nearfield.server.run import serve as run  # after the checks: a wrong setting is told at once

    def announce(url: str) -> None:
        data = settings.data.absolute()
        console.out.print(f"Nearfield at {url}  data {data}  docs {url}/docs", soft_wrap=True, markup=False)

    try:
        run(settings, announce)
    except DirectoryLocked:
        raise
    except OSError as error:
        address = f"{settings.host} port {settings.port}"
        if error.errno == errno.EADDRINUSE:
            console.fail(
                f"{address} is taken by another program; choose another --port", console.Exit.PORT_TAKEN
            )
        console.fail(f"cannot listen on {address}: {error.strerror or error}")


def read_settings(arguments: dict[str, Any]) -> Settings:
    """Settings from arguments, environment and file; a wrong one ends the program with a line each."""
    try:
        return Settings(**arguments)
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            console.complain(f"{name}: {problem['msg']} (got {problem['input']!r})")
        raise typer.Exit(console.Exit.USAGE) from None
    except (OSError, ValueError) as error:
        console.fail(error, console.Exit.USAGE)


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """The command line's parameter of one setting; None means that it was not given."""
    text = field.description or name
    choices = f": {', '.join(get_args(field.annotation))}" if get_origin(field.annotation) is Literal else ""
    shown = "" if field.default in (None, False) else f" [default {field.default}]"
    help_text = f"{text[0].upper()}{text[1:]}{choices}{shown}."
    kind = _plain(field.annotation)
    flag = f"--{name.replace('_', '-')}"
    switches = (f"{flag}/--no-{name.replace('_', '-')}",) if kind is bool else (flag,)
    option = typer.Option(None, *switches, help=help_text, show_default=False)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def _plain(annotation: Any) -> Any:
    """The type the command line reads: without None, and words for a choice (Settings checks which)."""
    if get_origin(annotation) is Literal:
        return str
    if isinstance(annotation, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


_parameters = [_option(name, field) for name, field in Settings.model_fields.items()]
serve.__signature__ = inspect.Signature(_parameters)  # type: ignore[attr-defined]
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in _parameters}
