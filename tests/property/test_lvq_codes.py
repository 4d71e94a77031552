"""Laws of LVQ codes on any rows: error bounds, finite answers, fixed points, levels that add up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nearfield.index_builders.encodings.lvq import LvqCodes, LvqEncoding, TwoLevelCodes

# Around the ends of vector registers and of blocks of 64 bytes, which hold 64 or 128 codes.
DIMENSIONS = st.sampled_from([1, 2, 3, 4, 5, 63, 64, 65, 126, 127, 128, 129, 130, 191, 193, 255, 256, 257])
BITS = st.sampled_from([4, 8])
TWO_LEVELS = st.sampled_from([each for each in LvqEncoding if each.residual_bits is not None])
HALF_EPSILON = 2.0**-11
HALF_LEAST = 2.0**-24


@st.composite
def some_rows(draw: st.DrawFn, largest: float = 3e4) -> NDArray[np.float32]:
    """A few rows: spread, constant, offset, with one outlier, of two values, tiny or large."""
    dimensions, seed = draw(DIMENSIONS), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    size = draw(st.sampled_from([1e-7, 1e-4, 1.0, 30.0, largest / 10]))
    rows = rng.standard_normal((draw(st.integers(1, 4)), dimensions))
    for row in rows:
        shape = draw(st.sampled_from(["spread", "constant", "offset", "outlier", "two values", "zero"]))
        if shape == "constant":
            row[:] = row[0]
        elif shape == "offset":
            row *= 1e-3
            row += 2.0
        elif shape == "outlier":
            row[rng.integers(dimensions)] = 9.0
        elif shape == "two values":
            row[:] = np.where(row > 0, 1.0, -1.0)
        elif shape == "zero":
            row[:] = 0.0
    return np.ascontiguousarray(np.clip(rows * size, -largest, largest), dtype=np.float32)


def steps(codes: LvqCodes) -> NDArray[np.float32]:
    """The step of each row, float32 [n, 1]."""
    tails = np.ascontiguousarray(codes.rows[:, -8:-6])
    return tails.view(np.float16).astype(np.float32)


def rounding(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What rounding the bias and the top of the range to half precision may move a value by, [n, 1]."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return 4 * HALF_EPSILON * largest + 260 * HALF_LEAST


def encode(rows: NDArray[np.float32], bits: int, clip: bool = False) -> LvqCodes:
    codes = LvqCodes.empty(*rows.shape, bits, 8)
    codes.encode(0, rows, clip=clip)
    return codes


@given(some_rows(), BITS)
def test_every_coordinate_is_within_half_a_step(rows: NDArray[np.float32], bits: int) -> None:
    codes = encode(rows, bits)
    reach = rows.max(axis=1, keepdims=True) - rows.min(axis=1, keepdims=True)
    assert (np.abs(codes.decode() - rows) <= steps(codes) / 2 + rounding(rows)).all()
    expected = np.where(reach > 0, np.maximum(reach / (2**bits - 1), HALF_LEAST), 1.0)
    np.testing.assert_allclose(steps(codes), expected, rtol=2 * HALF_EPSILON, atol=HALF_LEAST)


@given(some_rows(), BITS)
def test_clipping_never_costs_squared_error(rows: NDArray[np.float32], bits: int) -> None:
    plain = ((encode(rows, bits).decode() - rows).astype(np.float64) ** 2).sum(axis=1)
    clipped = ((encode(rows, bits, clip=True).decode() - rows).astype(np.float64) ** 2).sum(axis=1)
    assert (clipped <= plain * (1 + 1e-4) + 1e-12 * (rows.astype(np.float64) ** 2).sum(axis=1)).all()


@given(some_rows(), TWO_LEVELS, st.booleans())
def test_the_second_level_refines_the_first(
    rows: NDArray[np.float32], encoding: LvqEncoding, clip: bool
) -> None:
    assert encoding.residual_bits is not None
    codes = TwoLevelCodes.empty(*rows.shape, encoding, 8)
    codes.encode(0, rows, clip=clip)
    first = np.abs(rows - codes.first.decode()).max(axis=1, keepdims=True)
    both = np.abs(rows - codes.decode())
    assert (both <= first / (2**encoding.residual_bits - 1) + rounding(first)).all()
    if not clip:
        bound = (steps(codes.first) / 2 + rounding(rows)) / (2**encoding.residual_bits - 1)
        assert (both <= 1.01 * bound + rounding(first)).all()


@given(some_rows(), TWO_LEVELS)
def test_norms_are_those_of_the_reconstruction(rows: NDArray[np.float32], encoding: LvqEncoding) -> None:
    codes = TwoLevelCodes.empty(*rows.shape, encoding, 8)
    codes.encode(0, rows)
    for norms, decoded in (
        (codes.first.norms, codes.first.decode()),
        (codes.first.norms.astype(np.float64) + codes.residual.norms, codes.decode()),
    ):
        exact = (decoded.astype(np.float64) ** 2).sum(axis=1)
        np.testing.assert_allclose(norms, exact, rtol=1e-5, atol=1e-12)


@given(some_rows(largest=100.0), BITS)
def test_what_codes_stand_for_is_encoded_as_itself(rows: NDArray[np.float32], bits: int) -> None:
    once = encode(rows, bits)
    decoded = once.decode()
    again = encode(decoded, bits)
    np.testing.assert_allclose(again.decode(), decoded, atol=float((rounding(rows) + 1e-6).max()))


@given(some_rows(), BITS, st.sampled_from([1e5, 1e20, 3.4e38, np.inf, -np.inf, np.nan]))
def test_values_beyond_half_precision_spoil_their_own_row_only(
    rows: NDArray[np.float32], bits: int, value: float
) -> None:
    rows = np.concatenate([rows, np.ones_like(rows[:1])])
    expected = encode(rows, bits).decode()
    rows[-1, 0] = value
    decoded = encode(rows, bits).decode()
    assert np.isfinite(decoded).all()
    np.testing.assert_array_equal(decoded[:-1], expected[:-1])
