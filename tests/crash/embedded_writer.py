"""The process that gets killed: opens a database and writes from several threads until it dies.

python -m tests.crash.embedded_writer DATA LEDGER WRITERS
"""

import sys
import threading
from pathlib import Path

from nearfield.engine import Collection, Database, EngineConfig
from tests.crash.ledger import Ledger, step

CONFIG = EngineConfig(
    threads=1,
    growing_bytes_seal=60_000,
    index_rows_min=400,
    multivector_index_rows_min=400,
    sealed_segments_target=2,
    settle_pause_s=0.05,
    wal_checkpoint_bytes=512 * 1024,
)
"""Seals every 470 rows, and merges, vacuums and indexes all the time."""


def write(points: Collection, ledger: Ledger, writer: int) -> None:
    """Go on where the ledger ends, for ever."""
    number = ledger.acknowledged(writer)
    while True:
        points.batch(step(writer, number).operations())
        ledger.acknowledge(writer)
        number += 1


def main(data: str, directory: str, writers: str) -> None:
    """Write until killed; says `ready` once the collection is open."""
    ledger = Ledger(Path(directory), int(writers))
    points = Database.open(data, config=CONFIG).collection("points")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threads = [
        threading.Thread(target=write, args=(points, ledger, writer)) for writer in range(int(writers))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
