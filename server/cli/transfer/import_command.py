"""`nearfield import`: points from a file into a collection."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nearfield.engine import limits
from nearfield.engine.errors import InvalidRequest, NearfieldError
from nearfield.engine.point import PointBatch
from nearfield.engine.schema import UNNAMED, Datatype, Distance
from nearfield.server.cli import console
from nearfield.server.cli.formats.base import ReadOptions, Source, VectorShape
from nearfield.server.cli.formats.registry import open_source
from nearfield.server.cli.progress import point_progress
from nearfield.server.cli.transfer.checkpoint import Checkpoint, import_checkpoint
from nearfield.server.cli.transfer.options import ApiKey, CollectionName, Data, Url, open_target
from nearfield.server.cli.transfer.pipeline import copy_in
from nearfield.server.cli.transfer.target import Target

BATCH_BYTES = 8 * 2**20
"""Vector bytes of one batch when `--batch` does not say how many points."""
BATCH_POINTS = 10_000


def import_points(
    source: Annotated[
        Path, typer.Argument(help="File to read: npy, fvecs, bvecs, ivecs, hdf5, parquet or jsonl.")
    ],
    collection: CollectionName,
    url: Url = None,
    data: Data = None,
    api_key: ApiKey = None,
    distance: Annotated[
        str | None,
        typer.Option(help="How vectors compare, if the collection is new: cosine, dot, euclid or manhattan."),
    ] = None,
    datatype: Annotated[
        Datatype | None, typer.Option(help="Stored type, if the collection is new (default: the file's own).")
    ] = None,
    using: Annotated[
        str | None, typer.Option(help="Name of the vector to fill (default: the file's, or the unnamed one).")
    ] = None,
    payload: Annotated[
        list[Path] | None,
        typer.Option(help="Payload of npy, *vecs and hdf5 rows: .jsonl or .npz; may be given several times."),
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Column or key that holds the ids.")] = None,
    vector_column: Annotated[
        str | None, typer.Option(help="Column, key or hdf5 data set that holds the vectors.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, max=limits.BATCH_POINTS_MAX, help="Points per request (default: about 8 MiB)."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted import after its last acknowledged batch."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return only when indexes are built.")] = False,
) -> None:
    """Import points from a file into a collection, which is created if it is missing.

    Ids are the file's own where it has any, else positions in the file: a repeated import overwrites, never
    duplicates. Beside X.npy, ids and payloads are found in X.points.jsonl, X.payload.jsonl or X_payload.npz.
    """
    options = ReadOptions(id_column, vector_column, tuple(payload) if payload else None)
    points = open_source(source, options)
    for line in points.notes:
        console.note(line)
    shapes = {using if name == UNNAMED and using else name: shape for name, shape in points.vectors.items()}
    target = open_target(url, data, collection, api_key)
    try:
        created = _prepare(target, collection, shapes, distance, datatype)
        checkpoint = import_checkpoint(source, target.place, collection, (options, using))
        start = _start(checkpoint, points, resume and not created)
        batches = _named(points.batches(start, batch or _batch_points(shapes)), using)
        began = time.perf_counter()
        count = _run(batches, target, checkpoint, start, points.count, source)
        seconds = time.perf_counter() - began
        rate = f"{console.duration(seconds)}, {count / max(seconds, 1e-9):,.0f}/s"
        console.out.print(f"imported {count:,} points into {collection!r} ({rate})", soft_wrap=True)
        if data is not None and not wait:
            console.note("indexes are built when the directory is opened next; --wait builds them at once")
        if wait:
            with console.err.status("building indexes"):
                target.wait_settled()
    finally:
        target.close()


def parse_distance(word: str) -> Distance:
    """The distance a word means, in any case and by the usual short names.

    Raises:
        InvalidRequest: none of them.
    """
    short = {"ip": "dot", "l2": "euclid", "euclidean": "euclid", "angular": "cosine", "l1": "manhattan"}
    wanted = short.get(word.lower(), word.lower())
    for distance in Distance:
        if distance.value.lower() == wanted:
            return distance
    raise InvalidRequest(f"unknown distance {word!r}: expected cosine, dot, euclid or manhattan")


def _prepare(
    target: Target,
    collection: str,
    shapes: Mapping[str, VectorShape],
    distance: str | None,
    datatype: Datatype | None,
) -> bool:
    """Checks that the collection can take the vectors; creates it, and returns True, when it is not there."""
    found = target.vectors()
    if found is None:
        chosen = {}
        for name, shape in shapes.items():
            how = parse_distance(distance) if distance else shape.distance
            if how is None:
                raise InvalidRequest(
                    f"collection {collection!r} is new and the file does not say how its vectors compare: "
                    "add --distance cosine, dot, euclid or manhattan"
                )
            chosen[name] = replace(shape, distance=how, datatype=datatype or shape.datatype)
        target.create(chosen)
        console.note(f"created collection {collection!r}: {_described(chosen)}")
        return True
    for name, shape in shapes.items():
        known = found.get(name)
        if known is None or (known.size, known.multivector) != (shape.size, shape.multivector):
            hint = (
                f"; choose one with --using {next(iter(found))}"
                if name == UNNAMED and UNNAMED not in found
                else ""
            )
            takes, has = _described(found), _described(shapes)
            raise InvalidRequest(f"collection {collection!r} takes {takes}, the file has {has}{hint}")
    return False


def _described(shapes: Mapping[str, VectorShape]) -> str:
    texts = []
    for name, shape in shapes.items():
        kind = [
            *(["lists of"] if shape.multivector else []),
            f"{shape.size} x {shape.datatype}",
            *([shape.distance.value] if shape.distance else []),
        ]
        texts.append(" ".join([*([repr(name)] if name else []), *kind]))
    return ", ".join(texts) or "no vectors"


def _start(checkpoint: Checkpoint, points: Source, resume: bool) -> int:
    """Position to begin at."""
    saved = checkpoint.load()
    if saved is None or not resume:
        if saved is not None:
            console.note("an interrupted import of this file is started over; --resume would continue it")
        checkpoint.clear()
        return 0
    position = min(int(saved["position"]), points.count)
    console.note(f"continuing after {position:,} points")
    return position


def _batch_points(shapes: Mapping[str, VectorShape]) -> int:
    row = sum(shape.point_bytes for shape in shapes.values())
    return max(1, min(BATCH_POINTS, BATCH_BYTES // max(row, 1)))


def _named(batches: Iterator[PointBatch], using: str | None) -> Iterator[PointBatch]:
    """The batches with their unnamed vector under the name that was asked for."""
    for batch in batches:
        if using and UNNAMED in batch.vectors:
            vectors = {using if name == UNNAMED else name: column for name, column in batch.vectors.items()}
            yield replace(batch, vectors=vectors)
        else:
            yield batch


def _run(
    batches: Iterator[PointBatch],
    target: Target,
    checkpoint: Checkpoint,
    start: int,
    total: int,
    source: Path,
) -> int:
    with point_progress() as progress:
        bar = progress.add_task(source.name, total=total, completed=start)
        try:
            return copy_in(batches, target, checkpoint, start, lambda count: progress.advance(bar, count))
        except (KeyboardInterrupt, NearfieldError) as error:
            done = int(progress.tasks[bar].completed)
            stopped = error
    again = shlex.join(["nearfield", *(word for word in sys.argv[1:] if word != "--resume"), "--resume"])
    console.note(f"stopped after {done:,} of {total:,} points; to continue: {again}")
    if isinstance(stopped, NearfieldError):
        raise stopped
    raise typer.Exit(console.Exit.INTERRUPTED)
