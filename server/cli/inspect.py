"""`nearfield inspect`: what a data directory holds."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table
from rich.text import Text

from nearfield.engine.storage.inspect import CollectionReport, DirectoryReport, inspect_directory
from nearfield.server.cli import console


def inspect(
    directory: Annotated[Path, typer.Argument(help="Data directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show the collections of a data directory, their segments and sizes.

    Nothing is changed and no lock is needed, so a running server is not disturbed.
    """
    report = inspect_directory(directory)
    if as_json:
        console.out.print(
            orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2).decode(), soft_wrap=True, markup=False
        )
    else:
        _show(report)
    if any(collection.problem for collection in report.collections):
        raise typer.Exit(console.Exit.FAILED)


def _show(report: DirectoryReport) -> None:
    use = f"in use by process {report.in_use_by}" if report.in_use_by else "not in use"
    console.out.print(Text(report.path, style="bold"), soft_wrap=True)
    formats = f"format {report.format_version}, segments {report.segment_format_version}"
    count = len(report.collections)
    console.out.print(
        f"{count} collection{'s' if count != 1 else ''}, {console.byte_size(report.bytes)}, {use}, {formats}"
    )
    for collection in report.collections:
        console.out.print()
        _show_collection(collection)


def _show_collection(collection: CollectionReport) -> None:
    also = f"  also {', '.join(collection.aliases)}" if collection.aliases else ""
    title = Text.assemble((collection.name, "bold"), (also, "dim"))
    console.out.print(title, soft_wrap=True)
    if collection.problem:
        console.out.print(Text(f"  cannot be read: {collection.problem}", style="red"), soft_wrap=True)
        return
    for vector in collection.vectors:
        name = f"{vector.name}: " if vector.name else ""
        index = f"index {vector.index}"
        kind = f"{vector.size} x {vector.tokens or vector.datatype}"
        shape = kind if vector.tokens is None else f"lists of {kind}"
        console.out.print(f"  {name}{shape}, {vector.distance}, {index}", markup=False)
    rows = f"{collection.growing_rows:,} growing rows, {collection.dead_rows:,} dead"
    console.out.print(f"  {collection.points:,} points, {rows}, operation {collection.operation:,}")
    sizes = [f"{name} {console.byte_size(size)}" for name, size in (collection.bytes or {}).items()]
    console.out.print(f"  {', '.join(sizes)}", style="dim")
    if collection.segments:
        console.out.print(_segments_table(collection))


def _segments_table(collection: CollectionReport) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  segment", no_wrap=True, max_width=20, overflow="ellipsis")
    for heading in ("rows", "dead", "vectors", "indexes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True, overflow="ellipsis")
    for segment in collection.segments:
        kinds = [f"{name}: {kind}" if name else kind for name, kind in segment.indexes.items()]
        table.add_row(
            f"  {segment.id}",
            f"{segment.rows:,}",
            f"{segment.dead_rows:,}",
            console.byte_size(segment.bytes["vectors"]),
            console.byte_size(segment.bytes["indexes"]) if kinds else "-",
            ", ".join(kinds) or "scan",
        )
    return table
