"""The demo's documents and its text vectoriser."""

import sys

import numpy as np
import pytest

from nearfield.server.cli.demo import corpus, vectoriser

TEXTS = [
    "Compress a block of data with zlib",
    "Decompress compressed data",
    "Return a random integer between two numbers",
    "Choose a random element of a sequence",
    "Walk a directory tree and yield its files",
    "List the files of a directory",
    "Parse a date out of a string",
    "Format a date as a string",
]


@pytest.fixture(scope="module")
def documents() -> list[corpus.Document]:
    return corpus.read_corpus()


def test_same_texts_give_the_same_unit_vectors() -> None:
    first = vectoriser.TextVectoriser(size=8, seed=3)
    second = vectoriser.TextVectoriser(size=8, seed=3)
    vectors = first.fit(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (8, 8)
    assert np.array_equal(vectors, second.fit(TEXTS))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_fitted_text_transforms_to_its_vector() -> None:
    texts = vectoriser.TextVectoriser(size=6)
    vectors = texts.fit(TEXTS)
    assert np.allclose(texts.transform(TEXTS), vectors, atol=1e-5)


def test_related_texts_are_nearer_than_others() -> None:
    texts = vectoriser.TextVectoriser(size=6)
    vectors = texts.fit(TEXTS)
    for query, nearest in (("compressing bytes", {0, 1}), ("random number", {2, 3}), ("directories", {4, 5})):
        scores = texts.transform([query])[0] @ vectors.T
        assert set(np.argsort(-scores)[:2]) == nearest, query


def test_texts_without_known_words_become_zero() -> None:
    texts = vectoriser.TextVectoriser(size=4)
    texts.fit(TEXTS)
    assert not texts.transform(["", "the of and", "!?"]).any()


def test_fewer_texts_than_dimensions() -> None:
    vectors = vectoriser.TextVectoriser(size=64).fit(TEXTS[:3])
    assert vectors.shape == (3, 64) and np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_fit_reports_every_step() -> None:
    steps: list[None] = []
    vectoriser.TextVectoriser(size=4).fit(TEXTS, lambda: steps.append(None))
    assert len(steps) == vectoriser.FIT_STEPS


def test_sparse_product_equals_the_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectoriser, "CHUNK_ENTRIES", 7)
    rng = np.random.default_rng(0)
    table = rng.random((40, 30), np.float32) * (rng.random((40, 30)) < 0.2)
    table[[0, 5, 39]] = 0
    rows, columns = np.nonzero(table)
    starts = np.searchsorted(rows, np.arange(41)).astype(np.int64)
    sparse = vectoriser._Sparse(starts, columns.astype(np.int64), table[rows, columns])
    dense = rng.random((30, 5), np.float32)
    assert np.allclose(sparse @ dense, table @ dense, atol=1e-5)
    assert np.allclose(sparse.transposed(30) @ (table @ dense), table.T @ (table @ dense), atol=1e-4)


def test_the_corpus_is_large_ordered_and_without_doubles(documents: list[corpus.Document]) -> None:
    titles = [document.title for document in documents]
    assert len(documents) > 3000
    assert len(set(titles)) == len(titles)
    assert {document.kind for document in documents} == {"module", "class", "function", "method"}
    assert all(document.summary and "\n" not in document.summary for document in documents)
    by_title = {document.title: document for document in documents}
    assert by_title["json.loads"].kind == "function"
    assert by_title["str.split"].module == "builtins"
    assert by_title["os.path.join"].kind == "function"
    assert by_title["collections.deque"].kind == "class"


def test_reading_the_corpus_imports_no_source_module() -> None:
    had = set(sys.modules)
    corpus.read_corpus()
    new = {name.partition(".")[0] for name in set(sys.modules) - had}
    assert not new & {"antigravity", "this", "tkinter", "turtle", "idlelib"}
