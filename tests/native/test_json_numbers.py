"""Vectors taken out of query bodies as float32, against what Python's own reader makes of the same text."""

import json
import random
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from nearfield.engine import _native


def between_floats(rng: random.Random) -> str:
    """A decimal next to the middle of two neighbouring float32, where one rounding too many would show."""
    low = np.float32(rng.uniform(-2, 2))
    middle = (float(low) + float(np.nextafter(low, np.float32(9)))) / 2
    return format(Decimal(middle) + Decimal(rng.randrange(-9, 10)).scaleb(-rng.randrange(14, 40)), "f")


def read(array: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    """The numbers of a JSON array, as those of a query."""
    taken = _native.take_query_vectors(f'{{"query":{array}}}'.encode())
    if taken is None:
        return None
    rest, (vector,) = taken
    assert json.loads(rest) == {"query": None}
    return vector


def any_number(rng: random.Random) -> str:
    match rng.randrange(7):
        case 0:
            return repr(rng.uniform(-1, 1))
        case 1:
            return repr(float(np.float32(rng.gauss(0, 1))))
        case 2:
            return str(rng.randrange(-(10 ** rng.randrange(1, 30)), 10 ** rng.randrange(1, 30)))
        case 3:
            return f"{rng.uniform(-9, 9):.{rng.randrange(30)}f}"
        case 4:
            return f"{rng.uniform(0, 9)}e{rng.randrange(-60, 45)}"
        case 5:
            return f"0.{'0' * rng.randrange(30)}{rng.randrange(10 ** rng.randrange(1, 22))}"
        case _:
            return between_floats(rng)


def test_as_python_reads_them() -> None:
    rng = random.Random(0)
    outside = 0
    for _ in range(20_000):
        text = any_number(rng)
        try:
            expected = struct.unpack("=f", struct.pack("=f", json.loads(text)))[0]
        except OverflowError:
            assert read(f"[{text}]") is None, text
            outside += 1
            continue
        found = read(f"[{text}, -1]")
        assert found is not None and found.tolist() == [expected, -1.0], text
    assert outside > 50


def test_space_and_signs() -> None:
    found = read("\n[ 1,\t-2.5e1 , 3E+2\r]")
    assert found is not None and found.dtype == np.float32 and found.tolist() == [1.0, -25.0, 300.0]
    zeros = read("[-0.0,0.0]")
    assert zeros is not None and np.signbit(zeros).tolist() == [True, False]


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[]", "[1", "[1,", "[1,]", "[,1]", "1", "[1 2]", "{}", "null", '"[1]"'),
        *("[01]", "[.5]", "[1.]", "[+1]", "[1e]", "[1e+]", "[-]", "[--1]", "[0x1]", "[1_0]", "[1\0]"),
        *(
            '["1"]',
            "[null]",
            "[true]",
            "[[1]]",
            "[NaN]",
            "[Infinity]",
            "[1e39]",
            "[-1e39]",
            "[1e99999999999]",
        ),
    ],
)
def test_everything_else_is_left_to_others(text: str) -> None:
    assert read(text) is None


def test_what_is_left() -> None:
    """Every vector is taken, in order, wherever its member is; the rest stays as it was."""
    body = (
        b'{"searches": [ {"limit":3,"query" : [1,2] ,"using":"a"},{"query":{ "nearest":[3]},"ids":[9]},'
        b'\n{"prefetch":{"query":[4,5,6]},"query":[7]}]}'
    )
    for text in (body, bytearray(body)):
        taken = _native.take_query_vectors(text)
        assert taken is not None
        rest, vectors = taken
        assert [vector.tolist() for vector in vectors] == [[1, 2], [3], [4, 5, 6], [7]]
        assert rest == (
            b'{"searches": [ {"limit":3,"query" : null ,"using":"a"},{"query":{ "nearest":null},"ids":[9]},'
            b'\n{"prefetch":{"query":null},"query":null}]}'
        )


@pytest.mark.parametrize(
    "text",
    [
        '{"query": [1], "prefetch": {"query": 7}}',
        '{"query": {"sample": "random"}}',
        '{"query": {"mmr": {}, "nearest": [1]}}',
        '{"query": [1], "using": "query"}',
        r'{"query": [1], "filter": {"key": "a\"b"}}',
        r'{"qu\u0065ry": 3, "prefetch": {"query": [1]}}',
        '{"query": {"nearest": {"query": 1}}}',
        '{"query"',
        '{"query":',
        '{"query": {',
        '{"query": {"nearest"',
    ],
)
def test_nothing_is_taken_where_a_query_is_not_a_vector(text: str) -> None:
    assert _native.take_query_vectors(text.encode()) is None
