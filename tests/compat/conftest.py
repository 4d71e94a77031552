"""One server for the whole folder."""

from collections.abc import Iterator

import pytest

from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings


@pytest.fixture(scope="package")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_in_thread(Settings(data=tmp_path_factory.mktemp("data"), port=0)) as address:
        yield address
