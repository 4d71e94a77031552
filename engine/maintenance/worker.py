"""The background thread of a database: asks the policy about every collection and does one job at a time."""

import logging
import math
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from nearfield.engine.config import EngineConfig
from nearfield.engine.errors import Cancelled, Corrupted, OutOfSpace, Unavailable
from nearfield.engine.maintenance.policy import (
    CollectionState,
    Job,
    Seal,
    SegmentState,
    Thresholds,
    rewrite_job,
    urgent_job,
    verify_job,
)
from nearfield.engine.maintenance.rebuild import can_extend, run_job, wanted_index
from nearfield.engine.segment.manifest import Manifest
from nearfield.engine.segment.sealed import SealedSegment
from nearfield.engine.storage.collection_store import CollectionStore

_log = logging.getLogger(__name__)
_LOOK_INTERVAL_S: Final = 0.25
_WAIT_INTERVAL_S: Final = 0.02
_RETRY_S: Final = 5.0
_ATTEMPTS_MAX: Final = 3
_SLOW_PAUSE_FACTOR: Final = 10


class _Lane(Enum):
    """A thread each, so that an index build of minutes never keeps memory from being freed."""

    URGENT = "urgent"
    VERIFY = "verify"
    REWRITE = "rewrite"


@dataclass
class _Care:
    """What the worker knows about one collection."""

    parts: CollectionStore
    hurry: int = 0
    running: dict[_Lane, Job] = field(default_factory=dict)
    failures: dict[Job, int] = field(default_factory=dict)
    trouble: Exception | None = None
    retry_at: float = 0.0
    cancel: threading.Event = field(default_factory=threading.Event)
    settled_epoch: int = -1
    """Epoch of the segment set that was found settled; nothing need be asked again until it changes."""

    @property
    def given_up(self) -> bool:
        """Whether a job failed so often that it is left alone until the next open."""
        return any(count >= _ATTEMPTS_MAX for count in self.failures.values())


class MaintenanceWorker:
    """Seals, merges, vacuums and indexes every collection it was told about. Thread-safe."""

    def __init__(self, config: EngineConfig) -> None:
        self._thresholds = Thresholds(
            index_rows_min=config.index_rows_min,
            settle_rows_min=config.settle_rows_min,
            sealed_segments_target=config.sealed_segments_target,
            sealed_rows_max=config.sealed_rows_max,
            deleted_share_vacuum=config.deleted_share_vacuum,
            idle_s_min=_SLOW_PAUSE_FACTOR * config.settle_pause_s,
        )
        self._pause_s = config.settle_pause_s
        self._background = config.background
        self._cares: dict[int, _Care] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"nearfield-{lane.value}", daemon=True)
            for lane in _Lane
        ]
        for thread in self._threads:
            thread.start()

    def care_for(self, parts: CollectionStore) -> None:
        """Look after a collection from now on."""
        with self._changed:
            self._cares[id(parts)] = _Care(parts)
            self._changed.notify_all()

    def forget(self, parts: CollectionStore) -> None:
        """Stop looking after a collection; returns when no job touches it any more."""
        with self._changed:
            care = self._cares.pop(id(parts), None)
            if care is not None:
                care.cancel.set()
                self._changed.notify_all()
                self._changed.wait_for(lambda: not care.running)

    def wake(self) -> None:
        """A segment was frozen: look now instead of soon."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the threads, cancelling what they do."""
        with self._changed:
            self._closing = True
            for care in self._cares.values():
                care.cancel.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def is_settled(self, parts: CollectionStore) -> bool:
        """Whether nothing is left to do but what waits for a long time without writes."""
        with self._changed:
            care = self._cares.get(id(parts))
            return care is None or self._is_settled(care) or self._is_settled(care, idle_s=0.0)

    def trouble(self, parts: CollectionStore) -> Exception | None:
        """Why the last job of a collection failed, if it did."""
        with self._changed:
            care = self._cares.get(id(parts))
            return None if care is None else care.trouble

    def wait_settled(self, parts: CollectionStore, timeout_s: float | None) -> None:
        """See `Collection.wait_settled`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            care = self._cares.get(id(parts))
            if care is None:
                raise Unavailable("the collection is closed")
            care.hurry += 1
            self._changed.notify_all()
            try:
                while not self._is_settled(care):
                    if care.given_up and care.trouble is not None:
                        raise care.trouble
                    if self._closing or id(parts) not in self._cares:
                        raise Unavailable("the collection was closed")
                    if deadline is not None and time.monotonic() >= deadline:
                        doing = list(care.running.values()) or care.trouble
                        raise Unavailable(f"still at work after {timeout_s} s: {doing}")
                    self._changed.wait(_WAIT_INTERVAL_S)
            finally:
                care.hurry -= 1

    # ---- the threads --------------------------------------------------------------------------------------

    def _run(self, lane: _Lane) -> None:
        while True:
            with self._changed:
                found = None
                while not self._closing and (found := self._next(lane)) is None:
                    self._changed.wait(_LOOK_INTERVAL_S)
                if found is None:
                    return
                care, job = found
                care.running[lane] = job
            error = self._attempt(care, job)
            with self._changed:
                del care.running[lane]
                self._remember(care, job, error)
                self._changed.notify_all()

    def _next(self, lane: _Lane) -> tuple[_Care, Job] | None:
        now = time.monotonic()
        for care in self._cares.values():
            wanted = self._background or care.hurry > 0
            if not wanted or now < care.retry_at or care.parts.writer.failure is not None:
                continue
            if care.settled_epoch == care.parts.pinned.epoch:
                continue
            paused = care.hurry > 0 or self._paused(care.parts)
            idle_s = math.inf if care.hurry > 0 else now - care.parts.last_write
            job = self._job(care, lane, paused, idle_s)
            if job is not None and care.failures.get(job, 0) < _ATTEMPTS_MAX:
                return care, job
            if job is None and paused:
                self._is_settled(care)
        return None

    def _attempt(self, care: _Care, job: Job) -> Exception | None:
        started = time.monotonic()
        try:
            run_job(job, care.parts, care.cancel)
        except Exception as error:
            if not isinstance(error, Cancelled):
                _log.warning("%s: %s failed", care.parts.directory.name, job, exc_info=error)
            return error
        _log.info("%s: %s took %.2f s", care.parts.directory.name, job, time.monotonic() - started)
        return None

    def _remember(self, care: _Care, job: Job, error: Exception | None) -> None:
        if error is None:
            care.failures.pop(job, None)
            care.trouble = None
        else:
            care.trouble = error
            care.retry_at = time.monotonic() + _RETRY_S
            # A full disk is waited out, damage stays; all else is tried a few times until the next open.
            if not isinstance(error, OutOfSpace | Cancelled):
                care.failures[job] = care.failures.get(job, 0) + 1
        if isinstance(error, Corrupted):
            care.failures[job] = _ATTEMPTS_MAX
            care.parts.damage = care.parts.damage or error
        if isinstance(job, Seal):
            care.parts.writer.hinder(error)

    # ---- state --------------------------------------------------------------------------------------------

    def _is_settled(self, care: _Care, idle_s: float = math.inf) -> bool:
        """Whether nothing is left to do when nothing was written for so long."""
        if care.running or not care.parts.writer.idle:
            return False
        epoch = care.parts.pinned.epoch
        if care.settled_epoch != epoch:
            if any(self._job(care, lane, True, idle_s) is not None for lane in _Lane):
                return False
            if idle_s == math.inf:
                care.settled_epoch = epoch
        return True

    def _job(self, care: _Care, lane: _Lane, paused: bool, idle_s: float) -> Job | None:
        parts, publisher = care.parts, care.parts.publisher
        growing = publisher.growing_rows
        state = CollectionState(
            frozen=[view.first_row for view in publisher.frozen],
            sealed=[_segment_state(parts, segment) for segment in publisher.sealed],
            growing_rows=growing,
            wants_index=any(wanted_index(parts, name, growing) is not None for name in parts.schema.vectors),
            paused=paused,
            idle_s=idle_s,
            extends=can_extend(parts),
        )
        if lane is _Lane.VERIFY:
            return verify_job(state)
        decide = urgent_job if lane is _Lane.URGENT else rewrite_job
        return decide(state, self._thresholds)

    def _paused(self, parts: CollectionStore) -> bool:
        """No writes for a while; or, if they trickle on for ever, no new segment for a longer while."""
        now = time.monotonic()
        quiet = now - parts.last_write >= self._pause_s
        return quiet or now - parts.last_freeze >= _SLOW_PAUSE_FACTOR * self._pause_s


def _segment_state(parts: CollectionStore, segment: SealedSegment) -> SegmentState:
    manifest = parts.manifests.get(segment.id, Manifest(segment.count))
    wanted = [name for name in parts.schema.vectors if wanted_index(parts, name, segment.count) is not None]
    current = [
        name
        for name in wanted
        if name in manifest.indexes
        and manifest.indexes[name].config == dict(parts.schema.vectors[name].index)
    ]
    return SegmentState(
        id=segment.id,
        rows=segment.count,
        live_rows=segment.live_count,
        unbuilt=tuple(name for name in wanted if name not in current),
        unopened=tuple(name for name in current if name not in segment.indexes),
        unverified=tuple(sorted(segment.unverified)),
        unwanted=tuple(name for name in manifest.indexes if name not in wanted),
        indexed=bool(current),
    )
