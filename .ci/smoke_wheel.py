"""Use an installed nearfield as a library: write, search, close, open again, search again.

python smoke_wheel.py DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np

import nearfield.engine
from nearfield.engine import (
    CollectionSchema,
    Database,
    Distance,
    PointBatch,
    SearchRequest,
    VectorColumn,
    VectorSpec,
)

POINTS = 2_000


def main(directory: str) -> None:
    """Exit with a message where the answer is not the nearest point, or the checkout is what was imported."""
    checkout = Path(__file__).resolve().parents[1]
    if checkout in Path(nearfield.engine.__file__).resolve().parents:
        sys.exit("the checkout was imported, not the installed wheel")
    vectors = np.random.default_rng(0).random((POINTS, 33), dtype=np.float32)
    schema = CollectionSchema({"": VectorSpec(33, Distance.EUCLID)})
    with Database.open(Path(directory)) as database:
        database.create_collection("smoke", schema).upsert(
            PointBatch(range(POINTS), {"": VectorColumn(vectors)})
        )
    with Database.open(Path(directory)) as database:
        found = database.collection("smoke").search(
            [SearchRequest(vector, limit=1) for vector in vectors[:100]]
        )
    if [hits[0].record.id for hits in found] != list(range(100)):
        sys.exit("a stored point is not its own nearest neighbour")


if __name__ == "__main__":
    main(sys.argv[1])
