"""Whether two clients gave the same answer, where ties and rounding may differ."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

SCORE_TOLERANCE = 1e-4


def assert_same(kind: str, ours: Any, theirs: Any, limit: int = 0) -> None:
    """Compare answers of one `Step.check`.

    Raises:
        AssertionError: they differ.
    """
    if kind == "ignore":
        return
    if kind == "hits":
        _assert_same_hits(ours, theirs, limit)
    elif kind == "batch":
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            _assert_same_hits(one, other, len(other))
    elif kind == "page":
        assert ours[1] == theirs[1], "next page"
        assert [record.id for record in ours[0]] == [record.id for record in theirs[0]]
        for one, other in zip(ours[0], theirs[0], strict=True):
            _assert_same_record(one, other)
    elif kind == "ordered":
        _assert_same_groups(ours[0], theirs[0], limit, lambda record: record.order_value, 0.0)
    else:
        assert ours == theirs


def _assert_same_hits(ours: Sequence[Any], theirs: Sequence[Any], limit: int) -> None:
    _assert_same_groups(ours, theirs, limit, lambda hit: hit.score, SCORE_TOLERANCE)


def _assert_same_groups(
    ours: Sequence[Any],
    theirs: Sequence[Any],
    limit: int,
    value: Callable[[Any], float],
    tolerance: float,
) -> None:
    """The same values in the same order, and the same points wherever a page does not cut those alike."""
    assert len(ours) == len(theirs), f"{len(ours)} points, not {len(theirs)}"
    values = np.array([[value(one), value(other)] for one, other in zip(ours, theirs, strict=True)]).reshape(
        -1, 2
    )
    scale = np.maximum(1.0, np.abs(values[:, 1]))
    assert np.all(np.abs(values[:, 0] - values[:, 1]) <= tolerance * scale), values.tolist()
    starts = [0, *(np.flatnonzero(np.abs(np.diff(values[:, 1])) > 2 * tolerance * scale[1:]) + 1), len(ours)]
    for start, stop in pairwise(starts):
        one = {point.id: point for point in ours[start:stop]}
        other = {point.id: point for point in theirs[start:stop]}
        # A page may begin and end among points alike, and then hold different ones of them.
        if start > 0 and (stop < len(ours) or len(ours) < limit):
            assert one.keys() == other.keys(), f"{sorted(map(str, one))} is not {sorted(map(str, other))}"
        for point_id in one.keys() & other.keys():
            _assert_same_record(one[point_id], other[point_id])


def _assert_same_record(ours: Any, theirs: Any) -> None:
    assert ours.payload == theirs.payload, f"payload of {ours.id}: {ours.payload} is not {theirs.payload}"
    one, other = _named(ours.vector), _named(theirs.vector)
    assert one.keys() == other.keys(), f"vectors of {ours.id}: {sorted(one)} is not {sorted(other)}"
    for name, vector in other.items():
        np.testing.assert_allclose(
            one[name], vector, rtol=1e-5, atol=1e-6, err_msg=f"vector {name} of {ours.id}"
        )


def _named(vector: Any) -> dict[str, Any]:
    if vector is None:
        return {}
    return vector if isinstance(vector, dict) else {"": vector}
