"""Random operations give the same answers from our server and from the reference client's local mode.

`NEARFIELD_MODEL_STEPS` sets how many (20,000 for acceptance), `NEARFIELD_MODEL_SEED` which ones.
"""

import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from qdrant_client import QdrantClient

from nearfield.engine.config import EngineConfig
from nearfield.engine.database import Database
from nearfield.server import service
from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings
from tests.helpers.model_steps import Step, Steps
from tests.helpers.same_answers import assert_same

STEPS = int(os.environ.get("NEARFIELD_MODEL_STEPS", "1500"))
SEED = int(os.environ.get("NEARFIELD_MODEL_SEED", "1"))
STEPS_PER_LIFE = 250
STEPS_PER_CHECK = 50


class Server:
    """Our server over one directory, with a client to it; restarts on demand."""

    def __init__(self, directory: Path) -> None:
        self._settings = Settings(data=directory, port=0, threads=1)
        self._life = ExitStack()
        self.restart()

    def restart(self) -> None:
        self.stop()
        url = self._life.enter_context(serve_in_thread(self._settings))
        self.client = QdrantClient(url=url, timeout=30)
        self._life.callback(self.client.close)

    def stop(self) -> None:
        self._life.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # So small that a few hundred points go through growing, sealed, merged and vacuumed segments.
    config = EngineConfig(
        threads=1, growing_bytes_seal=1500, index_rows_min=20, sealed_segments_target=2, settle_pause_s=0.02
    )
    monkeypatch.setattr(
        service, "_open_database", lambda settings: Database.open(settings.data, config=config)
    )
    server = Server(tmp_path)
    yield server
    server.stop()


def _short(name: str) -> str:
    name = re.sub(r"(, )?\w+=None", "", name)
    return name if len(name) < 600 else f"{name[:600]}..."


def _outcome(step: Step, client: QdrantClient) -> tuple[Any, Exception | None]:
    try:
        return step.call(client), None
    except Exception as error:
        return None, error


@pytest.mark.timeout(max(120, STEPS // 10))
@pytest.mark.filterwarnings("ignore")
def test_same_answers(server: Server) -> None:
    rng = Random(SEED)
    reference = QdrantClient(":memory:")
    steps = Steps(rng, reference)
    history: deque[str] = deque(maxlen=25)
    outcomes = {"answered": 0, "refused": 0}
    for number in range(STEPS):
        due = [steps.next()]
        if number % STEPS_PER_CHECK == STEPS_PER_CHECK - 1:
            due += steps.check_all()
        if number % STEPS_PER_LIFE == STEPS_PER_LIFE - 1:
            history.append("restart")
            server.restart()
            due += steps.check_all()
        for step in due:
            history.append(f"{number}: {_short(step.name)}")
            theirs, refusal = _outcome(step, reference)
            ours, error = _outcome(step, server.client)
            shown = "\n".join(history)
            assert (error is None) == (refusal is None), (
                f"seed {SEED}\n{shown}\nours: {error}\ntheirs: {refusal!r}"
            )
            outcomes["answered" if error is None else "refused"] += 1
            try:
                assert_same(step.check, ours, theirs, step.limit)
            except AssertionError as difference:
                raise AssertionError(
                    f"seed {SEED}, {difference}\nours: {ours}\ntheirs: {theirs}\n{shown}"
                ) from None
    assert outcomes["answered"] > outcomes["refused"] > 0
