"""What an embedding program may tune; every field has a default that needs no thought."""

import os
from dataclasses import dataclass

from nearfield.engine import limits


@dataclass(frozen=True)
class EngineConfig:
    """Engine configuration, fixed for as long as a database is open.

    Args:
        threads: worker threads of one index build.
        search_threads: worker threads of one search call.
        seed: seed of index builds.
        growing_bytes_seal: bytes of the growing segment at which it is frozen and sealed.
        index_rows_min: sealed segments with fewer live rows are scanned.
        multivector_index_rows_min: the same for multi-vectors, whose rows are dearer to scan.
        settle_rows_min: growing rows below both this and `growing_bytes_seal` stay growing.
        sealed_segments_target: merging starts above this number of similar sealed segments.
        sealed_rows_max: rows beyond which merging stops making a segment larger.
        deleted_share_vacuum: share of dead rows at which a sealed segment is rewritten.
        frozen_segments_max: frozen segments waiting to be sealed at which writers wait.
        index_bytes_open_max: index files that must be read (of `hnsw`, `ivf` and multi-vectors) are opened
            with the collection up to this size, larger ones in the background.
        filter_answers_bytes_max: bytes of what filters found that each collection keeps until its next write.
        settle_pause_s: seconds without writes (or ten times that without a new segment) after which rows are
            sealed and indexed.
        wal_checkpoint_bytes: size of the write-ahead log at which it is checkpointed.
        background: run maintenance in a background thread; without, it runs only inside `wait_settled`,
            and memory grows until then.
    """

    threads: int = os.cpu_count() or 1
    search_threads: int = 1
    seed: int = 0
    growing_bytes_seal: int = limits.GROWING_BYTES_SEAL
    index_rows_min: int = limits.INDEX_ROWS_MIN
    multivector_index_rows_min: int = limits.MULTIVECTOR_INDEX_ROWS_MIN
    settle_rows_min: int = limits.SETTLE_ROWS_MIN
    sealed_segments_target: int = limits.SEALED_SEGMENTS_TARGET
    sealed_rows_max: int = limits.SEALED_ROWS_MAX
    deleted_share_vacuum: float = limits.DELETED_SHARE_VACUUM
    frozen_segments_max: int = limits.FROZEN_SEGMENTS_MAX
    index_bytes_open_max: int = limits.INDEX_BYTES_OPEN_MAX
    filter_answers_bytes_max: int = limits.FILTER_ANSWERS_BYTES_MAX
    settle_pause_s: float = 1.0
    wal_checkpoint_bytes: int = limits.WAL_CHECKPOINT_BYTES
    background: bool = True
