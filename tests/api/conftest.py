"""One server for the whole folder; every test makes collections of its own."""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings

_names = (f"c{number}" for number in itertools.count())

Points = list[dict[str, Any]]


@pytest.fixture(scope="package")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data: Path = tmp_path_factory.mktemp("data")
    with serve_in_thread(Settings(data=data, port=0, body_bytes_max=2**20)) as address:
        yield address


@pytest.fixture(scope="package")
def api(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def _create(api: httpx.Client, body: dict[str, Any] | None = None, points: Points | None = None) -> str:
    name = next(_names)
    config = body or {"vectors": {"size": 4, "distance": "Dot"}}
    answer = api.put(f"/collections/{name}", json=config)
    assert answer.status_code == 200, answer.text
    if points:
        written = api.put(f"/collections/{name}/points", json={"points": points}, params={"wait": "true"})
        assert written.json()["result"]["status"] == "completed", written.text
    return name


def _ten_points() -> Points:
    return [
        {"id": i, "vector": [i, 1, 0, 0], "payload": {"n": i, "kind": "odd" if i % 2 else "even"}}
        for i in range(10)
    ]


@pytest.fixture
def make(api: httpx.Client) -> Callable[..., str]:
    """Creates a collection from a body, and writes points into it."""
    return functools.partial(_create, api)


@pytest.fixture
def ten(api: httpx.Client) -> str:
    """Ten points; point i has the vector [i, 1, 0, 0] and the payload {n: i, kind: even or odd}."""
    return _create(api, points=_ten_points())


@pytest.fixture(scope="package")
def kept(api: httpx.Client) -> str:
    """The same ten points, for tests that change nothing."""
    return _create(api, points=_ten_points())
