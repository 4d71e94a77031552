"""Checksums and the normalisation that decides which bytes are stored."""

import numpy as np
import pytest

from nearfield.engine import _native

# RFC 3720, appendix B.4, and the catalogue's check value.
CRC32C_VECTORS = [
    (b"", 0x00000000),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
]


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(("data", "expected"), CRC32C_VECTORS)
def test_crc32c_known_values(data: bytes, expected: int) -> None:
    assert _native.crc32c(data) == expected


def test_crc32c_of_every_length_and_alignment() -> None:
    data = np.random.default_rng(0).bytes(2_000)
    for length in (*range(40), 255, 256, 767, 768, 769, 1_999):
        assert _native.crc32c(memoryview(data)[:length]) == slow_crc32c(data[:length])
    for start in range(9):
        assert _native.crc32c(memoryview(data)[start:]) == slow_crc32c(data[start:])


def test_crc32c_goes_on() -> None:
    data = np.random.default_rng(1).bytes(300_000)
    whole = _native.crc32c(data)
    for cut in (1, 8_191, 24_576, 100_001):
        assert _native.crc32c(data[cut:], _native.crc32c(data[:cut])) == whole


def test_crc32c_of_an_array() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert _native.crc32c(rows) == _native.crc32c(rows.tobytes())
    with pytest.raises(ValueError, match="data: expected a C-contiguous array"):
        _native.crc32c(rows[:, ::2])


def test_crc32c_sees_every_bit() -> None:
    data = bytearray(30_000)
    clean = _native.crc32c(data)
    for position in (0, 8_191, 8_192, 24_575, 24_576, 29_999):
        data[position] ^= 0x10
        assert _native.crc32c(data) != clean
        data[position] ^= 0x10


@pytest.mark.parametrize("dims", [1, 7, 8, 9, 384])
def test_unit_rows(dims: int) -> None:
    rows = np.random.default_rng(2).standard_normal((50, dims), dtype=np.float32)
    kept = rows.copy()
    units = _native.unit_rows(rows)
    np.testing.assert_array_equal(rows, kept)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    np.testing.assert_allclose(units, rows / lengths[:, None], rtol=1e-6, atol=1e-38)
    np.testing.assert_allclose(np.linalg.norm(units.astype(np.float64), axis=1), 1.0, rtol=1e-6)


def test_rows_without_direction_stay() -> None:
    rows = np.array([[0, 0], [np.inf, 1], [np.nan, 1], [1e30, -1e30], [1e-30, 0], [-0.0, 0]], np.float32)
    units = _native.unit_rows(rows)
    np.testing.assert_array_equal(units[[0, 1, 2, 5]], rows[[0, 1, 2, 5]])
    np.testing.assert_allclose(units[3], [0.70710678, -0.70710678], rtol=1e-6)
    np.testing.assert_array_equal(units[4], [1.0, 0.0])


def test_unit_rows_arguments() -> None:
    with pytest.raises(ValueError, match="rows: expected a C-contiguous array"):
        _native.unit_rows(np.ones((2, 3), np.float32).T)
    with pytest.raises(ValueError, match=r"rows: expected float32 \[n, d\], got float64 \[2, 3\]"):
        _native.unit_rows(np.ones((2, 3)))


def test_cosine_hits_order_what_rounding_made_equal() -> None:
    """Adding 1 to products of 1e-8 rounds to 1: those hits go by row, and nothing else moves."""
    rows = np.array([[9, 7, 3, 5, 4], [2, 1, -1, -1, -1]], np.int64)
    products = np.array([[-0.5, -2.5e-8, -2e-8, -1e-8, 0.5], [-1, -1, np.inf, np.inf, np.inf]], np.float32)
    _native.cosine_hits(rows, products)
    assert rows.tolist() == [[9, 3, 5, 7, 4], [1, 2, -1, -1, -1]]
    assert products.tolist() == [[0.5, 1, 1, 1, 1.5], [0, 0, np.inf, np.inf, np.inf]]


def test_cosine_hits_arguments() -> None:
    rows, products = np.zeros((2, 3), np.int64), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"rows: expected int64 \[nq, k\], got float32 \[2, 3\]"):
        _native.cosine_hits(products, products)
    with pytest.raises(ValueError, match=r"products: expected float32 \[2, 3\], got float32 \[1, 3\]"):
        _native.cosine_hits(rows, products[:1])
    rows.flags.writeable = False
    with pytest.raises(ValueError, match="rows: expected a writable C-contiguous array"):
        _native.cosine_hits(rows, products)


def test_stream_read_depends_on_the_bytes() -> None:
    data = np.zeros(1_000_003, np.uint8)
    pool = _native.ThreadPool(2)
    for streams in (1, 3, 8):
        assert _native.stream_read(data, streams, 512, pool) == 0
    for position in (0, 499_999, 1_000_002):
        data[position] = 1
        for streams in (1, 3, 8):
            assert _native.stream_read(data, streams, 0, pool) != 0
        data[position] = 0
