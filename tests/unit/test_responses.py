"""Responses of documents to single tokens, and query sides fitted to them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.index.protocol import BuildContext
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.thread_pools import shared_pool
from nearfield.index_builders.multivector import learned


def unit(count: int, dimensions: int, seed: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def documents_of(count: int, dimensions: int, seed: int) -> TokenRows:
    sizes = np.random.default_rng(seed).integers(1, 12, count)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    topics = unit(40, dimensions, seed + 1)[np.random.default_rng(seed + 2).integers(0, 40, offsets[-1])]
    values = topics + 0.7 * unit(int(offsets[-1]), dimensions, seed + 3)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return TokenRows(values.astype(np.float32), offsets, TokenEncoding.FLOAT32, dimensions)


@pytest.mark.parametrize("dimensions", [3, 17, 128])
@pytest.mark.parametrize("asking_count", [1, 33, 300])
def test_responses_as_defined(dimensions: int, asking_count: int) -> None:
    documents = documents_of(150, dimensions, 1)
    asking = unit(asking_count, dimensions, 5)
    expected = np.maximum.reduceat(documents.values @ asking.T, documents.bounds()[:-1], axis=0)
    found = _native.responses(asking, documents.values, documents.bounds())
    np.testing.assert_allclose(found, expected, atol=2e-6)
    pool = shared_pool(3)
    np.testing.assert_array_equal(
        _native.responses(asking, documents.values, documents.bounds(), pool), found
    )


def test_empty_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="none in matrix 1"):
        _native.responses(unit(2, 8, 1), unit(3, 8, 2), np.array([0, 3, 3], np.int64))


def test_fitted_query_sides_predict_better(monkeypatch: pytest.MonkeyPatch) -> None:
    documents, others = documents_of(900, 24, 10), documents_of(600, 24, 10 + 500)
    asking = documents_of(200, 24, 900).values

    def error(encoding: learned.LearnedEncoding, of: TokenRows) -> float:
        encoded = encoding.documents((of.decode(), of.bounds()), BuildContext())
        alone = np.arange(len(asking) + 1, dtype=np.int64)
        predicted = encoded @ encoding.queries((asking, alone), 1).T
        expected = np.maximum.reduceat(of.values @ asking.T, of.bounds()[:-1], axis=0)
        predicted -= predicted.mean(axis=0)
        expected -= expected.mean(axis=0)
        return float(np.square(predicted - expected).mean() / np.square(expected).mean())

    context = BuildContext(seed=3)
    fitted = learned.learn(documents, 32, 64, 900, context)
    with monkeypatch.context() as patched:
        patched.setattr(learned, "fit_query_side", lambda *_: None)
        plain = learned.learn(documents, 32, 64, 900, context)
    assert error(fitted, documents) < 0.95 * error(plain, documents)
    assert error(fitted, others) < error(plain, others)
