"""Token matrices keep their documents apart in every encoding, with offsets or without."""

import numpy as np
import pytest

from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows


def test_lvq4_takes_at_most_three_tenths_of_half_precision() -> None:
    values = np.random.default_rng(0).standard_normal((300, 128), dtype=np.float32)
    offsets = np.array([0, 100, 300], np.int64)
    half = TokenRows.encode(values, offsets, TokenEncoding.FLOAT16)
    codes = TokenRows.encode(values, offsets, TokenEncoding.LVQ4)
    assert codes.nbytes <= 0.3 * half.nbytes


WORST_ERRORS = {"float32": 0.0, "float16": 5e-4, "lvq8": 0.02, "lvq4": 0.3}


@pytest.mark.parametrize("encoding", list(TokenEncoding))
@pytest.mark.parametrize("dims", [1, 5, 64, 130])
def test_decoding_gives_the_tokens_back(encoding: TokenEncoding, dims: int) -> None:
    values = np.random.default_rng(1).uniform(-1, 1, (70, dims)).astype(np.float32)
    rows = TokenRows.encode(values, None, encoding, threads=2, tokens_per_document=7)
    assert (rows.count, rows.token_count) == (10, 70)
    assert np.abs(rows.decode() - values).max() <= WORST_ERRORS[encoding]


@pytest.mark.parametrize("encoding", list(TokenEncoding))
def test_take_copies_documents_in_order(encoding: TokenEncoding) -> None:
    values = np.random.default_rng(2).standard_normal((12, 9), dtype=np.float32)
    ragged = TokenRows.encode(values, np.array([0, 4, 4, 8, 12], np.int64), encoding)
    even = TokenRows.encode(values, None, encoding, tokens_per_document=4)
    whole = ragged.decode()
    taken = ragged.take(np.array([3, 1, 0], np.int64))
    assert taken.bounds().tolist() == [0, 4, 4, 8]
    assert (taken.decode() == np.concatenate([whole[8:12], whole[0:4]])).all()
    assert (even.take(np.array([2, 0], np.int64)).decode() == taken.decode()).all()


def test_constant_documents_store_no_offsets() -> None:
    rows = TokenRows.encode(np.zeros((6, 4), np.float16), None, TokenEncoding.FLOAT16, tokens_per_document=3)
    assert rows.nbytes == rows.values.nbytes
    assert rows.bounds().tolist() == [0, 3, 6]


@pytest.mark.parametrize(
    ("offsets", "each", "says"),
    [
        ([0, 3], 0, "0 .. 4"),
        ([1, 4], 0, "0 .. 4"),
        ([0, 3, 2, 4], 0, "ascending"),
        (None, 3, "divisor of 4"),
        (None, 0, "at least 1"),
        ([0, 4], 4, "where offsets are given"),
    ],
)
def test_misfits_are_refused(offsets: list[int] | None, each: int, says: str) -> None:
    given = None if offsets is None else np.array(offsets, np.int64)
    with pytest.raises(ValueError, match=says):
        TokenRows.encode(np.zeros((4, 3), np.float32), given, TokenEncoding.FLOAT32, tokens_per_document=each)
