"""Several means: rows centred by the nearest one encode with smaller errors where the data is in parts."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.index_builders.encodings import LvqCodes, Means
from tests.helpers import shared_data


def distortion(rows: NDArray[np.float32], means: Means, bits: int) -> float:
    """Squared error of the codes as a share of the variance; rotated, as for rows of any shape."""
    of = means.assign(rows)
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.standard_normal((rows.shape[1],) * 2))[0].astype(np.float32)
    codes = LvqCodes.empty(*rows.shape, bits, 8)
    codes.encode(0, np.ascontiguousarray(means.centred(rows, of) @ rotation))
    restored = means.restored(codes.decode() @ rotation.T, of)
    return float(((rows - restored) ** 2).sum() / ((rows - rows.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name, at_most", [("mnist-784-l2", 0.85), ("arxiv-minilm-384-ip", 0.93)])
def test_more_means_lower_the_distortion(name: str, at_most: float, bits: int) -> None:
    rows = shared_data.load(name).base[:3_000].astype(np.float32)
    one, eight = (distortion(rows, Means.learn(rows, count), bits) for count in (1, 8))
    assert eight < at_most * one


def test_every_row_goes_to_its_nearest_mean() -> None:
    rows = np.random.default_rng(2).standard_normal((500, 6), dtype=np.float32)
    means = Means.learn(rows, 20, seed=3)
    of = means.assign(rows)
    distances = ((rows[:, None] - means.centres) ** 2).sum(axis=-1)
    assert of.dtype == np.uint8 and len(means.centres) == 20
    assert (
        np.take_along_axis(distances, of[:, None].astype(np.int64), 1)[:, 0] <= distances.min(1) + 1e-5
    ).all()
    np.testing.assert_allclose(means.restored(means.centred(rows, of), of), rows, atol=1e-6)
    np.testing.assert_array_equal(Means.learn(rows, 20, seed=3).centres, means.centres)


def test_one_mean_is_the_mean() -> None:
    rows = np.random.default_rng(4).standard_normal((50, 3), dtype=np.float32)
    np.testing.assert_allclose(Means.learn(rows, 1).centres[0], rows.mean(axis=0), atol=1e-6)
    assert len(Means.learn(rows, 256).centres) == 50


def test_wrong_counts_are_refused() -> None:
    rows = np.zeros((4, 3), dtype=np.float32)
    for count in (0, 257):
        with pytest.raises(
            ValueError, match=f"means: expected 1 to 256 of at least one row, got {count} of 4"
        ):
            Means.learn(rows, count)
    with pytest.raises(ValueError, match="got 2 of 0"):
        Means.learn(rows[:0], 2)
