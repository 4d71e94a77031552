"""Fixed-dimensional encodings: the laws of MUVERA, against a numpy reference of each definition."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native

REPETITIONS, BITS, PROJECTED, DIMENSIONS = 3, 4, 8, 24
CELLS = 1 << BITS


def tokens(count: int, seed: int, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def offsets_of(*sizes: int) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def planes(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((REPETITIONS * BITS, DIMENSIONS)).astype(np.float32)


def projections(seed: int = 1) -> NDArray[np.float32]:
    signs = np.random.default_rng(seed).integers(0, 2, (REPETITIONS * PROJECTED, DIMENSIONS)) * 2 - 1
    return (signs / np.sqrt(PROJECTED)).astype(np.float32)


def reference(values: NDArray[np.float32], document: bool, fill: bool) -> NDArray[np.float64]:
    """One matrix, as the paper defines it: loops over repetitions, cells and tokens."""
    out = np.zeros((REPETITIONS, CELLS, PROJECTED))
    for r in range(REPETITIONS):
        products = values.astype(np.float64) @ planes()[r * BITS : (r + 1) * BITS].T
        cells = ((products > 0) << np.arange(BITS)).sum(axis=1)
        projected = values.astype(np.float64) @ projections()[r * PROJECTED : (r + 1) * PROJECTED].T
        for cell in range(CELLS):
            members = projected[cells == cell]
            if len(members):
                out[r, cell] = members.mean(axis=0) if document else members.sum(axis=0)
            elif document and fill and len(values):
                differing = [int(other ^ cell).bit_count() for other in cells.tolist()]
                out[r, cell] = projected[int(np.argmin(differing))]
    return out.reshape(-1)


@pytest.fixture(scope="module")
def encoder() -> _native.SimHashEncoder:
    return _native.SimHashEncoder(planes(), projections(), REPETITIONS)


@pytest.mark.parametrize("fill", [True, False])
def test_documents_as_defined(encoder: _native.SimHashEncoder, fill: bool) -> None:
    offsets = offsets_of(0, 1, 2, 7, 0, 500, 3)
    values = tokens(int(offsets[-1]), 2)
    encoded = encoder.encode_documents(values, offsets, fill)
    assert encoded.shape == (7, REPETITIONS * CELLS * PROJECTED) == (7, encoder.width)
    for i in range(7):
        expected = reference(values[offsets[i] : offsets[i + 1]], True, fill)
        np.testing.assert_allclose(encoded[i], expected, atol=2e-5)


def test_queries_as_defined_and_linear(encoder: _native.SimHashEncoder) -> None:
    offsets = offsets_of(5, 9)
    values = tokens(14, 3)
    encoded = encoder.encode_queries(values, offsets)
    np.testing.assert_allclose(encoded[0], reference(values[:5], False, False), atol=2e-5)
    both = encoder.encode_queries(values, offsets_of(14))
    np.testing.assert_allclose(both[0], encoded.sum(axis=0), atol=1e-5)
    blocks = encoded.reshape(2, -1, PROJECTED)
    assert (np.abs(blocks).sum(axis=2) > 0).sum(axis=1).tolist() <= [5 * REPETITIONS, 9 * REPETITIONS]


def test_one_token_document_is_exact() -> None:
    # With the identity projection and filling, every cell of a document of one token holds that token.
    encoder = _native.SimHashEncoder(planes(), None, REPETITIONS)
    query, document = tokens(9, 4), tokens(1, 5)
    estimate = (
        encoder.encode_queries(query, offsets_of(9)) @ encoder.encode_documents(document, offsets_of(1)).T
    )
    np.testing.assert_allclose(estimate / REPETITIONS, (query @ document.T).sum(keepdims=True), rtol=1e-5)


def test_no_bits_is_sum_times_mean() -> None:
    encoder = _native.SimHashEncoder(np.empty((0, DIMENSIONS), np.float32), None, 1)
    query, document = tokens(6, 6), tokens(11, 7)
    estimate = (
        encoder.encode_queries(query, offsets_of(6)) @ encoder.encode_documents(document, offsets_of(11)).T
    )
    np.testing.assert_allclose(estimate, [[query.sum(axis=0) @ document.mean(axis=0)]], rtol=1e-5)


def test_documents_forget_order_and_copies(encoder: _native.SimHashEncoder) -> None:
    values = tokens(40, 8)
    shuffled = values[np.random.default_rng(9).permutation(40)]
    doubled = np.concatenate([values, values])
    encoded = [encoder.encode_documents(v, offsets_of(len(v)), False)[0] for v in (values, shuffled, doubled)]
    np.testing.assert_allclose(encoded[1], encoded[0], atol=1e-5)
    np.testing.assert_allclose(encoded[2], encoded[0], atol=1e-5)


def test_filling_leaves_no_block_empty(encoder: _native.SimHashEncoder) -> None:
    blocks = encoder.encode_documents(tokens(3, 10), offsets_of(3)).reshape(-1, PROJECTED)
    assert (np.abs(blocks).sum(axis=1) > 0).all()


def test_projection_is_unbiased() -> None:
    pair = tokens(2, 11)
    cosine = float(pair[0] @ pair[1])
    estimates = []
    for seed in range(400):
        signs = np.random.default_rng(seed).integers(0, 2, (PROJECTED, DIMENSIONS)) * 2 - 1
        scaled = (signs / np.sqrt(PROJECTED)).astype(np.float32)
        encoder = _native.SimHashEncoder(np.empty((0, DIMENSIONS), np.float32), scaled, 1)
        x, y = encoder.encode_queries(pair, offsets_of(1, 1))
        estimates.append(float(x @ y))
    deviation = np.sqrt((1 + cosine**2) / PROJECTED)
    assert abs(np.mean(estimates) - cosine) < 4 * deviation / np.sqrt(400)
    assert 0.8 * deviation < np.std(estimates) < 1.2 * deviation


def test_threads_change_nothing(encoder: _native.SimHashEncoder) -> None:
    offsets = offsets_of(*np.random.default_rng(12).integers(0, 60, 700).tolist())
    values = tokens(int(offsets[-1]), 13)
    pool = _native.ThreadPool(3)
    alone = encoder.encode_documents(values, offsets)
    assert np.array_equal(alone, encoder.encode_documents(values, offsets, pool=pool))
    cells = _native.LearnedCells(tokens(32, 14), values.mean(axis=0))
    rng = np.random.default_rng(15)
    projection = _native.CellProjection(
        rng.integers(-127, 128, (32, 10, DIMENSIONS)).astype(np.int8),
        rng.random((32, 10), np.float32),
        DIMENSIONS,
    )
    origin = np.ones(10, np.float32)
    once = cells.encode_documents(values, offsets, projection, origin)
    assert np.array_equal(once, cells.encode_documents(values, offsets, projection, origin, pool=pool))


def test_cancelled(encoder: _native.SimHashEncoder) -> None:
    cancel = _native.CancelFlag()
    cancel.set()
    with pytest.raises(_native.Cancelled):
        encoder.encode_documents(tokens(4, 0), offsets_of(4), cancel=cancel)


class TestLearnedCells:
    offsets = offsets_of(0, 1, 30, 4, 200)
    values = tokens(235, 20)
    centres = tokens(17, 21)
    mean = values.mean(axis=0)

    def cells(self) -> _native.LearnedCells:
        return _native.LearnedCells(self.centres, self.mean)

    def expected_blocks(self) -> NDArray[np.float64]:
        out = np.zeros((5, 17, DIMENSIONS))
        for i in range(5):
            document = self.values[self.offsets[i] : self.offsets[i + 1]].astype(np.float64)
            if not len(document):
                continue
            products = document @ self.centres.T
            behind = products.max(axis=0) - products
            weights = np.where(behind <= np.log(256) / 40, np.exp(-40 * behind), 0)
            out[i] = (weights / weights.sum(axis=0)).T @ document - self.mean
        return out

    def test_assign(self) -> None:
        assigned = self.cells().assign(self.values)
        assert np.array_equal(assigned, (self.values @ self.centres.T).argmax(axis=1))

    def test_blocks(self) -> None:
        blocks = self.cells().blocks(self.values, self.offsets)
        np.testing.assert_allclose(blocks.reshape(5, 17, DIMENSIONS), self.expected_blocks(), atol=1e-6)

    def test_projected_documents(self) -> None:
        codes = np.random.default_rng(22).integers(-127, 128, (17, 21, 64)).astype(np.int8)
        scales = np.random.default_rng(23).random((17, 21), np.float32) / 100
        matrices = codes[:, :, :DIMENSIONS] * scales[:, :, None]
        origin = np.arange(21, dtype=np.float32)
        encoded = self.cells().encode_documents(
            self.values, self.offsets, _native.CellProjection(codes, scales, DIMENSIONS), origin
        )
        expected = np.einsum("ncd,cwd->nw", self.expected_blocks(), matrices) - origin
        np.testing.assert_allclose(encoded, expected, atol=1e-4)

    def test_projected_queries(self) -> None:
        matrices = np.random.default_rng(23).standard_normal((17, 21, DIMENSIONS)).astype(np.float32)
        scales = np.abs(matrices).max(axis=2) / 127
        codes = np.zeros((17, 21, 64), np.int8)
        codes[:, :, :DIMENSIONS] = np.rint(matrices / scales[:, :, None])
        encoded = self.cells().encode_queries(
            self.values, self.offsets, codes, scales, codes.sum(axis=2, dtype=np.int32)
        )
        projected = np.einsum("td,twd->tw", self.values, matrices[self.cells().assign(self.values)])
        expected = np.zeros((5, 21))
        np.add.at(expected, np.repeat(np.arange(5), np.diff(self.offsets)), projected)
        assert np.abs(encoded - expected).max() < 0.01 * np.abs(expected).max()
        assert not encoded[0].any()


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("tokens", np.zeros((4, 5), np.float32), r"tokens: expected float32 \[T, 24\]"),
        ("offsets", np.array([0, 3], np.int64), r"offsets: expected ascending numbers from 0 to 4"),
        ("offsets", np.array([0, 5, 4], np.int64), r"offsets: expected ascending numbers from 0 to 4"),
        ("offsets", np.array([0, 4], np.int32), r"offsets: expected int64"),
    ],
)
def test_arguments(
    encoder: _native.SimHashEncoder, argument: str, value: NDArray[np.generic], expected: str
) -> None:
    arguments: dict[str, object] = {"tokens": tokens(4, 0), "offsets": offsets_of(4)} | {argument: value}
    with pytest.raises(ValueError, match=expected):
        encoder.encode_documents(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=expected):
        encoder.encode_queries(**arguments)  # type: ignore[arg-type]
