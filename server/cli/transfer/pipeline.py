"""The two loops: a file into a collection, a collection into a file."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any

from nearfield.engine.point import PointBatch, PointId, id_to_json, parse_id
from nearfield.server.cli.formats.base import Sink
from nearfield.server.cli.transfer.checkpoint import Checkpoint
from nearfield.server.cli.transfer.target import Target

IN_FLIGHT = 2


def copy_in(
    batches: Iterable[PointBatch],
    target: Target,
    checkpoint: Checkpoint,
    start: int,
    on_points: Callable[[int], None],
) -> int:
    """Upserts batches of points, the first of which is at position `start` of its file; returns how many.

    Two batches are under way at any time. They are acknowledged in order, so the checkpoint is always the
    position before which every point is durable, also when this is interrupted.

    Args:
        on_points: called with the number of points each acknowledgement adds.
    """
    position = start
    under_way: deque[tuple[Future[Any], int]] = deque()

    def settle_oldest() -> None:
        nonlocal position
        future, count = under_way[0]
        try:
            future.result()
        except Exception:
            # Batches after a refused one do not count: the checkpoint has no gaps.
            wait([waiting for waiting, _ in under_way])
            under_way.clear()
            raise
        under_way.popleft()
        position += count
        checkpoint.save({"position": position})
        on_points(count)

    try:
        for batch in batches:
            if len(under_way) == IN_FLIGHT:
                settle_oldest()
            under_way.append((target.submit(batch), len(batch)))
    finally:
        # Also when interrupted, or the file is damaged further on: what is under way counts if it arrives.
        while under_way:
            settle_oldest()
    checkpoint.clear()
    return position - start


def copy_out(
    target: Target,
    names: list[str],
    sink: Sink,
    checkpoint: Checkpoint,
    first: PointId | None,
    done: int,
    size: int,
    on_points: Callable[[int], None],
) -> int:
    """Writes every point from an id on into a sink; returns how many points the file holds.

    Args:
        names: vectors to write.
        done: points the sink holds already.
        size: points per page.
    """
    for page in target.pages(names, first, size):
        sink.append(page.batch)
        done += len(page.batch)
        on_points(len(page.batch))
        mark = sink.mark()
        if mark is not None and page.next_id is not None:
            checkpoint.save({"next_id": id_to_json(page.next_id), "points": done, "files": mark})
    return done


def saved_export(checkpoint: Checkpoint) -> tuple[PointId, int, dict[str, int]] | None:
    """Where an interrupted export stopped: next id, points written, bytes per file."""
    state = checkpoint.load()
    if state is None:
        return None
    return parse_id(state["next_id"]), int(state["points"]), dict(state["files"])
