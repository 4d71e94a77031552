"""`nearfield verify`: whether a data directory is whole."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.text import Text

from nearfield.engine.storage.verify import Finding, verify_directory
from nearfield.server.cli import console

_STYLE = {"primary": "bold red", "derived": "yellow", "leftover": "dim"}
_MEANING = {
    "primary": "DAMAGED  points are lost; restore the collection from a backup",
    "derived": "derived  an index is damaged; it is rebuilt at the next start",
    "leftover": "leftover harmless; not damage",
}


def verify(
    directory: Annotated[Path, typer.Argument(help="Data directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Read every byte of a data directory and check it: SQLite, checksums, and that the parts fit each other.

    Nothing is changed and no lock is needed. The exit code is 1 if anything is damaged; leftovers are not.
    """
    began = time.perf_counter()
    with console.err.status("") as status:
        findings = verify_directory(directory, lambda step: status.update(Text(step, style="dim")))
    damaged = [finding for finding in findings if finding.kind != "leftover"]
    if as_json:
        document = {"ok": not damaged, "findings": [asdict(finding) for finding in findings]}
        console.out.print(
            orjson.dumps(document, option=orjson.OPT_INDENT_2).decode(), soft_wrap=True, markup=False
        )
    else:
        _show(findings)
        seconds = console.duration(time.perf_counter() - began)
        result = f"{len(damaged)} damages" if damaged else "no damage found"
        console.out.print(
            Text(f"{directory}: {result} ({seconds})", style="red" if damaged else "green"), soft_wrap=True
        )
    if damaged:
        raise typer.Exit(console.Exit.FAILED)


def _show(findings: list[Finding]) -> None:
    for kind, meaning in _MEANING.items():
        mine = [finding for finding in findings if finding.kind == kind]
        if not mine:
            continue
        console.out.print(Text(meaning, style=_STYLE[kind]), soft_wrap=True)
        for finding in mine:
            where = f"{finding.collection}: " if finding.collection else ""
            console.out.print(f"  {where}{finding.message}", soft_wrap=True, markup=False)
