"""What is asked for is what real queries get: titles over the abstracts of the papers they belong to."""

import functools

import numpy as np
import pytest

from nearfield.index_builders import Index, build_index
from tests.helpers import shared_data

ROWS, K = 12_000, 10
SLACK = 0.02
"""What a sample of 300 may be wrong by, and what one sample of queries may differ from another."""


@functools.cache
def _built(calibrated_with: str) -> Index:
    data = shared_data.load("arxiv-minilm-384-ip")
    training = None
    if calibrated_with == "training_queries":
        training = np.load(data.path / "train_queries.npy").astype(np.float32)
    return build_index(data.base[:ROWS], metric="ip", kind="leanvec", training_queries=training)


@pytest.mark.parametrize("calibrated_with", ["training_queries", "mirrored_rows"])
def test_recall_is_as_asked(calibrated_with: str) -> None:
    data = shared_data.load("arxiv-minilm-384-ip")
    queries = data.queries[:1_000]
    index = _built(calibrated_with)
    measured = index.calibration
    assert measured is not None and measured.sample == calibrated_with
    truth, _ = build_index(data.base[:ROWS], metric="ip", kind="flat").search(queries, K, threads=2)
    reached = []
    for target in (0.9, 0.95, 0.99):
        assert measured.reaches(target)
        found, _ = index.search(queries, K, target_recall=target, threads=2)
        reached.append(shared_data.recall(found, truth, K))
        assert reached[-1] >= target - SLACK
    assert reached[0] < 0.98, "a low target is not answered by a wide search"
    assert measured.width_for(0.9) < measured.width_for(0.99) < measured.widths[-1]
