"""`nearfield export`: a collection's points into a file."""

import time
from pathlib import Path
from typing import Annotated

import typer

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, NearfieldError
from nearfield.engine.point import PointId
from nearfield.server.cli import console
from nearfield.server.cli.formats.base import VectorShape
from nearfield.server.cli.formats.registry import open_sink
from nearfield.server.cli.progress import point_progress
from nearfield.server.cli.transfer.checkpoint import Checkpoint, export_checkpoint
from nearfield.server.cli.transfer.options import ApiKey, CollectionName, Data, Url, open_target
from nearfield.server.cli.transfer.pipeline import copy_out, saved_export
from nearfield.server.cli.transfer.target import Target, existing_vectors

PAGE_BYTES = 4 * 2**20
"""Vector bytes of one page when `--batch` does not say how many points."""
PAGE_POINTS = 5_000


def export_points(
    collection: CollectionName,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write; its extension chooses the format, as for import."),
    ],
    url: Url = None,
    data: Data = None,
    api_key: ApiKey = None,
    using: Annotated[
        str | None, typer.Option(help="Name of the only vector to export (default: all of them).")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=limits.SCROLL_LIMIT_MAX, help="Points per request (default: about 4 MiB)."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted export (npy, *vecs and jsonl).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Export all points of a collection, by ascending id.

    npy, *vecs and hdf5 hold one vector per point; npy and *vecs put ids and payloads into X.points.jsonl,
    where import finds them. parquet and jsonl hold everything. The file gets its name when it is complete.
    """
    if out.exists() and not force:
        raise InvalidRequest(f"{out} exists; --force replaces it")
    target = open_target(url, data, collection, api_key)
    try:
        found = existing_vectors(target, collection)
        if using is not None and using not in found:
            raise InvalidRequest(
                f"collection {collection!r} has no vector {using!r}, only: {', '.join(found)}"
            )
        shapes = {using: found[using]} if using is not None else found
        began = time.perf_counter()
        count, files = _run(target, shapes, out, resume, batch)
        seconds = console.duration(time.perf_counter() - began)
        names = " and ".join(str(path) for path in files)
        console.out.print(f"exported {count:,} points to {names} ({seconds})", soft_wrap=True)
    finally:
        target.close()


def _run(
    target: Target, shapes: dict[str, VectorShape], out: Path, resume: bool, batch: int | None
) -> tuple[int, list[Path]]:
    checkpoint = export_checkpoint(out)
    first, done, files = _start(checkpoint, resume)
    row = sum(shape.point_bytes for shape in shapes.values())
    size = batch or max(1, min(PAGE_POINTS, PAGE_BYTES // max(row, 1)))
    sink = open_sink(out, shapes, files)
    try:
        with point_progress() as progress:
            bar = progress.add_task(out.name, total=max(target.count(), done), completed=done)
            count = copy_out(
                target,
                list(shapes),
                sink,
                checkpoint,
                first,
                done,
                size,
                lambda more: progress.advance(bar, more),
            )
        written = sink.close()
    except (KeyboardInterrupt, NearfieldError) as error:
        sink.abandon()
        if checkpoint.load() is not None:
            console.note("stopped; the same command with --resume continues")
        if isinstance(error, NearfieldError):
            raise
        raise typer.Exit(console.Exit.INTERRUPTED) from error
    checkpoint.clear()
    return count, written


def _start(checkpoint: Checkpoint, resume: bool) -> tuple[PointId | None, int, dict[str, int] | None]:
    """Id to begin at, points already written, bytes to keep per file."""
    saved = saved_export(checkpoint) if resume else None
    if saved is None:
        checkpoint.clear()
        return None, 0, None
    console.note(f"continuing after {saved[1]:,} points")
    return saved
