"""An index of documents knows how many candidates a recall takes, and gives what is asked for."""

import functools
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nearfield.engine.errors import Cancelled, InvalidRequest
from nearfield.index_builders import build_multivector_index, open_multivector_index
from nearfield.index_builders.multivector.build import MultiVectorLibraryIndex
from nearfield.index_builders.multivector.queries import mixed_queries
from tests.helpers.themed_documents import shared, themed, themed_queries, token_rows

COUNT = 900
KMEANS: dict[str, Any] = {"cells": "kmeans", "cell_count": 24, "dimensions": 24}
PARAMS: dict[str, dict[str, Any]] = {
    "kmeans": KMEANS,
    "simhash": {"cells": "simhash", "repetitions": 5, "bits": 3, "projected": 8},
    "graph": {**KMEANS, "structure": "graph"},
}


@functools.cache
def built(name: str, trained: bool = False) -> MultiVectorLibraryIndex:
    tokens, offsets = themed_queries(150) if trained else (None, None)
    return build_multivector_index(
        *themed(COUNT), PARAMS[name], training_queries=tokens, training_offsets=offsets
    )


def exact(k: int) -> NDArray[np.int64]:
    return built("kmeans").search(*themed_queries(100), k, exact=True)[0]


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", sorted(PARAMS))
def test_recall_is_as_asked(name: str, trained: bool) -> None:
    index = built(name, trained)
    measured = index.calibration
    assert measured is not None and measured.knob == "candidates"
    assert (measured.sample, measured.queries) == (
        ("training_queries", 150) if trained else ("mixed_documents", 300)
    )
    assert 0.1 < measured.recall[0] < 0.9, "ten candidates miss some"
    for target in (0.8, 0.9, 0.97):
        assert measured.reaches(target)
        found = index.search(*themed_queries(100), 10, target_recall=target)[0]
        assert target - 0.05 <= shared(found, exact(10))
    assert measured.width_for(0.8) < measured.width_for(0.97)
    found = index.search(*themed_queries(100), 50, target_recall=0.9)[0]
    assert shared(found, exact(50)) >= 0.88


def test_what_was_measured_is_what_those_candidates_give() -> None:
    index = built("kmeans")
    queries = mixed_queries(index.documents, 300, 0)
    truth = index.search(*queries, 10, exact=True)[0]
    assert index.calibration is not None
    measured = dict(zip(index.calibration.widths, index.calibration.recall, strict=True))
    for candidates in (100, 140):
        found = shared(index.search(*queries, 10, candidates=candidates)[0], truth)
        assert measured[candidates] == pytest.approx(found, abs=1e-5)


def test_a_search_that_says_nothing_gets_the_target_of_the_build() -> None:
    index, queries = built("kmeans"), themed_queries(40)
    for params, same in (
        ({}, {"target_recall": 0.98}),
        ({"target_recall": 0.8}, {"target_recall": 0.8}),
        ({"candidates": 33}, {"candidates": 33}),
        ({"candidates": 33, "calibrate": False}, {"candidates": 33}),
    ):
        one = build_multivector_index(*themed(COUNT), {**KMEANS, **params})
        np.testing.assert_array_equal(one.search(*queries)[0], index.search(*queries, **same)[0])


def test_it_does_not_depend_on_threads_and_survives_saving(tmp_path: Path) -> None:
    one, two = (
        build_multivector_index(*themed(300), PARAMS["graph"], threads=threads, seed=9) for threads in (1, 2)
    )
    assert one.calibration == two.calibration is not None
    one.save(tmp_path / "index")
    opened = open_multivector_index(tmp_path / "index")
    assert opened.calibration == one.calibration
    queries = themed_queries(20)
    np.testing.assert_array_equal(
        opened.search(*queries, 10, target_recall=0.9)[0], one.search(*queries, 10, target_recall=0.9)[0]
    )


def test_what_was_not_measured_is_not_promised() -> None:
    index = build_multivector_index(*themed(COUNT), {**KMEANS, "calibrate": False})
    assert index.calibration is None
    with pytest.raises(InvalidRequest, match="this one of kind `muvera` was not") as caught:
        index.search(*themed_queries(2), 10, target_recall=0.9)
    assert caught.value.path == "params.target_recall"
    assert index.search(*themed_queries(2), 10, target_recall=1)[0].shape == (2, 10)


def test_everything_is_found_where_everything_is_asked_for() -> None:
    found = built("kmeans").search(*themed_queries(100), 10, target_recall=1.0)[0]
    np.testing.assert_array_equal(found, exact(10))


@pytest.mark.parametrize("count", [30, 99, 200])
def test_few_documents_are_answered_exactly(count: int) -> None:
    index = build_multivector_index(*themed(count), PARAMS["simhash"])
    assert index.calibration is None
    truth = index.search(*themed_queries(), 10, exact=True)[0]
    for knobs in ({}, {"target_recall": 0.5}, {"candidates": 10} if count < 100 else {}):
        np.testing.assert_array_equal(index.search(*themed_queries(), 10, **knobs)[0], truth)


@pytest.mark.parametrize("other", ["ef", "candidates", "oversampling"])
def test_a_target_and_a_number_exclude_each_other(other: str) -> None:
    with pytest.raises(InvalidRequest, match=f"one of target_recall and {other}, got both"):
        built("kmeans").search(*themed_queries(2), 10, target_recall=0.9, **{other: 30})


@pytest.mark.parametrize("wrong", [0, -0.5, 1.01, "0.9", True, float("nan")])
def test_targets_are_shares(wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match="target_recall must be a number above 0 and at most 1"):
        built("kmeans").search(*themed_queries(2), 10, target_recall=wrong)


def test_candidates_hold_at_least_the_hits() -> None:
    with pytest.raises(InvalidRequest, match="candidates must be at least k = 10, got 9"):
        built("kmeans").search(*themed_queries(2), 10, candidates=9)


def test_a_build_is_cancelled_while_it_is_measured() -> None:
    class Late:
        polled = 0

        def is_set(self) -> bool:
            self.polled += 1
            return self.polled > 12

    flag = Late()
    with pytest.raises(Cancelled):
        build_multivector_index(*themed(300), KMEANS, cancel=flag)
    assert flag.polled == 13


def test_mixed_queries_are_pieces_of_two_documents() -> None:
    documents = themed(50)
    tokens, offsets = mixed_queries(token_rows(documents), 40, 3)
    owner = np.repeat(np.arange(50), np.diff(documents[1]))
    place = {token.tobytes(): at for at, token in enumerate(documents[0])}
    assert offsets[0] == 0 and offsets[-1] == len(tokens) and len(offsets) == 41
    for start, end in pairwise(offsets):
        places = np.array([place[token.tobytes()] for token in tokens[start:end]])
        breaks = np.flatnonzero(np.diff(places) != 1)
        assert 2 <= len(places) <= 16 and len(breaks) <= 1
        assert len(np.unique(owner[places])) <= 2
