"""LVQ codes: laws of the encoding, its distortion, and the error of extreme rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.encodings.lvq import SLACK_BYTES, LvqCodes


def encoded(rows: NDArray[np.float32], bits: int, alignment: int = 8) -> LvqCodes:
    codes = LvqCodes.empty(*rows.shape, bits, alignment)
    codes.encode(0, rows)
    return codes


def error_share(rows: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    return float(((rows - decoded) ** 2).sum() / (rows**2).sum())


@pytest.mark.parametrize("dimensions, expected", [(96, 3.2e-5), (768, 5.1e-5)])
def test_distortion_of_gaussian_rows_at_8_bits(dimensions: int, expected: float) -> None:
    rows = np.random.default_rng(1).standard_normal((2_000, dimensions), dtype=np.float32)
    assert error_share(rows, encoded(rows, 8).decode()) == pytest.approx(expected, rel=0.06)


def test_clipping_lowers_the_distortion_at_4_bits() -> None:
    rows = np.random.default_rng(1).standard_normal((2_000, 768), dtype=np.float32)
    unclipped = LvqCodes.empty(*rows.shape, 4, 8)
    _native.lvq_encode(rows, 4, False, None, unclipped.data, unclipped.stride)
    assert error_share(rows, unclipped.decode()) == pytest.approx(1.48e-2, rel=0.06)
    assert error_share(rows, encoded(rows, 4).decode()) < 1.2e-2


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dimensions", [1, 2, 63, 64, 65, 127, 128, 129, 200, 257])
def test_every_coordinate_is_within_half_a_step(bits: int, dimensions: int) -> None:
    rows = np.random.default_rng(dimensions).standard_normal((50, dimensions), dtype=np.float32)
    codes = LvqCodes.empty(*rows.shape, bits, 64)
    _native.lvq_encode(rows, bits, False, None, codes.data, codes.stride)
    reach = rows.max(axis=1) - rows.min(axis=1)
    allowed = reach / (2**bits - 1) / 2 + 2**-9 * np.abs(rows).max(axis=1) + 1e-6
    assert (np.abs(codes.decode() - rows) <= allowed[:, None]).all()
    assert codes.stride % 64 == 0 and len(codes.data) == 50 * codes.stride + SLACK_BYTES


@pytest.mark.parametrize("bits", [4, 8])
def test_constant_rows_come_back(bits: int) -> None:
    rows = np.repeat(np.array([[0.0], [1.5], [-2.25]], dtype=np.float32), 40, axis=1)
    np.testing.assert_array_equal(encoded(rows, bits).decode(), rows)


@pytest.mark.parametrize("bits", [4, 8])
def test_rows_at_the_ends_of_half_precision_stay_finite(bits: int) -> None:
    unit = np.random.default_rng(2).standard_normal((20, 48), dtype=np.float32)
    unit /= np.abs(unit).max(axis=1, keepdims=True)
    for factor in (1e-3, 3e4):
        rows = unit * np.float32(factor)
        assert error_share(rows, encoded(rows, bits).decode()) < 0.02


def test_norms_are_of_what_the_codes_stand_for_unless_given() -> None:
    rows = np.random.default_rng(3).standard_normal((30, 33), dtype=np.float32)
    codes = encoded(rows, 4)
    np.testing.assert_allclose(codes.norms, (codes.decode() ** 2).sum(axis=1), rtol=1e-5)
    given = np.arange(30, dtype=np.float32)
    codes.encode(0, rows, given)
    np.testing.assert_array_equal(codes.norms, given)


def test_threads_change_nothing() -> None:
    rows = np.random.default_rng(4).standard_normal((5_000, 20), dtype=np.float32)
    shared = LvqCodes.empty(*rows.shape, 4, 8)
    shared.encode(0, rows, None, _native.ThreadPool(2))
    np.testing.assert_array_equal(shared.data, encoded(rows, 4).data)


def test_wrong_arguments_are_refused() -> None:
    rows = np.zeros((2, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="bits: expected 4 or 8, got 5"):
        _native.lvq_stride(8, 5, 8)
    with pytest.raises(ValueError, match="out"):
        _native.lvq_encode(rows, 8, False, None, np.zeros(3, dtype=np.uint8), 16)
    with pytest.raises(ValueError, match="stride"):
        _native.lvq_decode(np.zeros(100, dtype=np.uint8), 1, 64, 8, 8)
