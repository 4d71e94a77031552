"""LVQ codes: laws of the encoding, its distortion, and the error of extreme rows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.encodings.lvq import SLACK_BYTES, LvqCodes, LvqEncoding, TwoLevelCodes


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


TWO_LEVELS = [each for each in LvqEncoding if each.residual_bits is not None]


def encoded_twice(
    rows: NDArray[np.float32], encoding: LvqEncoding, clip: bool | None = False
) -> TwoLevelCodes:
    codes = TwoLevelCodes.empty(*rows.shape, encoding, 64)
    codes.encode(0, rows, clip=clip)
    return codes


@pytest.mark.parametrize(
    "encoding, at_96, at_768",
    [("lvq4x4", 4.3e-5, 6.6e-5), ("lvq4x8", 1.45e-7, 2.3e-7), ("lvq8x8", 5.0e-10, 7.9e-10)],
)
def test_distortion_of_gaussian_rows_at_two_levels(encoding: str, at_96: float, at_768: float) -> None:
    for dimensions, expected in ((96, at_96), (768, at_768)):
        rows = np.random.default_rng(1).standard_normal((2_000, dimensions), dtype=np.float32)
        share = error_share(rows, encoded_twice(rows, LvqEncoding(encoding)).decode())
        # The range of a short residual is read off the row: a little narrower than a whole step.
        assert expected * (0.9 if dimensions == 96 else 0.94) <= share <= expected * 1.06


@pytest.mark.parametrize("encoding", TWO_LEVELS)
def test_the_second_level_divides_the_error_by_its_levels(encoding: LvqEncoding) -> None:
    rows = np.random.default_rng(2).standard_normal((200, 100), dtype=np.float32)
    codes = encoded_twice(rows, encoding)
    first = np.abs(rows - codes.first.decode()).max(axis=1)
    both = np.abs(rows - codes.decode()).max(axis=1)
    assert encoding.residual_bits is not None
    assert (both <= 1.02 * first / (2**encoding.residual_bits - 1) + 1e-6).all()


@pytest.mark.parametrize("encoding", TWO_LEVELS)
def test_a_clipped_first_level_widens_the_second(encoding: LvqEncoding) -> None:
    rows = np.random.default_rng(3).standard_normal((200, 300), dtype=np.float32)
    plain, clipped = encoded_twice(rows, encoding), encoded_twice(rows, encoding, clip=True)
    assert error_share(rows, clipped.first.decode()) <= error_share(rows, plain.first.decode())
    first = error_share(rows, clipped.first.decode())
    assert error_share(rows, plain.decode()) <= error_share(rows, clipped.decode()) < 0.1 * first


@pytest.mark.parametrize("encoding", TWO_LEVELS)
def test_norms_of_both_levels_add_up(encoding: LvqEncoding) -> None:
    rows = np.random.default_rng(4).standard_normal((100, 65), dtype=np.float32)
    codes = encoded_twice(rows, encoding)
    np.testing.assert_allclose(codes.first.norms, (codes.first.decode() ** 2).sum(axis=1), rtol=1e-5)
    together = codes.first.norms + codes.residual.norms
    np.testing.assert_allclose(together, (codes.decode() ** 2).sum(axis=1), rtol=1e-5)
    given = np.arange(100, dtype=np.float32)
    codes.encode(0, rows, given)
    np.testing.assert_array_equal(codes.first.norms + codes.residual.norms, given)


def test_levels_can_be_encoded_in_parts_and_on_threads() -> None:
    rows = np.random.default_rng(5).standard_normal((3_000, 70), dtype=np.float32)
    parts = TwoLevelCodes.empty(*rows.shape, LvqEncoding.LVQ4X8, 64)
    pool = _native.ThreadPool(2)
    for start in (2_000, 0):
        parts.encode(start, rows[start : start + 2_000], pool=pool, clip=False)
    whole = encoded_twice(rows, LvqEncoding.LVQ4X8)
    np.testing.assert_array_equal(parts.first.data, whole.first.data)
    np.testing.assert_array_equal(parts.residual.data, whole.residual.data)


def test_codes_do_not_depend_on_where_the_rows_are() -> None:
    rows = np.random.default_rng(6).standard_normal((50, 96), dtype=np.float32)
    for shift in (0.5, -8.0):
        moved = rows + np.float32(shift)
        codes, again = encoded(rows, 8), encoded(moved - np.float32(shift), 8)
        same = codes.rows[:, : codes.stride - 8] == again.rows[:, : codes.stride - 8]
        assert same.mean() > 0.999


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
    with pytest.raises(ValueError, match="encoding: expected one of lvq4x4, lvq4x8, lvq8x8, got lvq8"):
        TwoLevelCodes.empty(2, 8, LvqEncoding.LVQ8, 8)
    with pytest.raises(ValueError, match="first"):
        encoded(rows, 8).encode_residual(encoded(rows[:1], 8), 0, rows)
    with pytest.raises(ValueError, match="stride"):
        _native.lvq_decode(np.zeros(100, dtype=np.uint8), 1, 64, 8, 8)
