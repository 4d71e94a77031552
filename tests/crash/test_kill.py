"""kill -9 at random moments: nothing acknowledged is missing, nothing is there twice or half.

`NEARFIELD_CRASH_KILLS=100` kills that often; the seed of a run is on its standard error.
"""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from nearfield.engine import Database, EngineConfig
from nearfield.engine.storage.verify import verify_directory
from tests.crash.ledger import SCHEMA, Ledger, State, state_of, step
from tests.helpers.checkout import ROOT

KILLS = int(os.environ.get("NEARFIELD_CRASH_KILLS", "10"))
SERVER_KILLS = int(os.environ.get("NEARFIELD_CRASH_KILLS", "4"))
WRITERS = 3
OPEN_LIMIT_S = 2.0
PATIENT = EngineConfig(threads=1, background=False)


@pytest.fixture
def rng(record_property: object) -> random.Random:
    seed = int(os.environ.get("NEARFIELD_CRASH_SEED", random.SystemRandom().randrange(10**6)))
    sys.stderr.write(f"NEARFIELD_CRASH_SEED={seed}\n")
    return random.Random(seed)


@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_embedded_database(tmp_path: Path, rng: random.Random) -> None:
    data, ledger = tmp_path / "data", Ledger(tmp_path / "ledger", WRITERS)
    create(data)
    sealed = 0
    for _ in range(KILLS):
        arguments = ["-m", "tests.crash.embedded_writer", str(data), str(tmp_path / "ledger"), str(WRITERS)]
        with subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.02, 1.2))
            assert child.poll() is None
            child.kill()
        started = time.monotonic()
        with Database.open(data, config=PATIENT) as database:
            assert time.monotonic() - started < OPEN_LIMIT_S
            points = database.collection("points")
            assert points.info().error is None
            ledger.check(state_of(points))
            sealed = max(sealed, points.info().segments - 1)
        primary = [finding for finding in verify_directory(data) if finding.kind == "primary"]
        assert not primary
    assert sum(ledger.acknowledged(writer) for writer in range(WRITERS)) > 10 * KILLS
    assert sealed > 0


@pytest.mark.timeout(60 + 15 * SERVER_KILLS)
def test_killed_server(tmp_path: Path, rng: random.Random) -> None:
    data, ledger = tmp_path / "data", Ledger(tmp_path / "ledger", WRITERS)
    create(data)
    for _ in range(SERVER_KILLS):
        with Server(data) as server:
            ledger.check(server.state())
            stop = threading.Event()
            threads = [
                threading.Thread(target=write, args=(server.url, ledger, writer, stop))
                for writer in range(WRITERS)
            ]
            for thread in threads:
                thread.start()
            time.sleep(rng.uniform(0.05, 1.5))
            server.process.kill()
            stop.set()
            for thread in threads:
                thread.join()
    with Database.open(data, config=PATIENT) as database:
        ledger.check(state_of(database.collection("points")))
    assert sum(ledger.acknowledged(writer) for writer in range(WRITERS)) > SERVER_KILLS


def create(data: Path) -> None:
    with Database.open(data, config=PATIENT) as database:
        database.create_collection("points", SCHEMA)


class Server:
    """`nearfield serve` on a free port; answers within OPEN_LIMIT_S of listening, or the test fails."""

    def __init__(self, data: Path) -> None:
        arguments = ["-m", "nearfield.server.cli", "serve", "--data", str(data), "--port", "0"]
        self.process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        listening = time.monotonic()
        self.url = line.split()[2]
        while not self._ready():
            assert time.monotonic() - listening < OPEN_LIMIT_S, "not ready in time"
            time.sleep(0.02)

    def _ready(self) -> bool:
        return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def state(self) -> State:
        """All points, by scrolling over HTTP."""
        state: State = {}
        offset = None
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as client:
            while True:
                body = {"limit": 500, "with_vector": True, "offset": offset}
                answer = client.post("/collections/points/points/scroll", json=body)
                assert answer.status_code == 200, answer.text
                result = answer.json()["result"]
                for point in result["points"]:
                    assert point["id"] not in state
                    both = [np.array(point["vector"][name], dtype=np.float32) for name in ("", "tokens")]
                    joined = b"".join(vector.tobytes() for vector in both)
                    state[point["id"]] = (encoded(point["payload"]), joined)
                offset = result["next_page_offset"]
                if offset is None:
                    return state


def encoded(payload: dict[str, int]) -> bytes:
    return b"{" + b",".join(b'"%s":%d' % (key.encode(), value) for key, value in payload.items()) + b"}"


def write(url: str, ledger: Ledger, writer: int, stop: threading.Event) -> None:
    """Send one operation after the other until the server is gone; whatever was answered is on record."""
    number = ledger.acknowledged(writer)
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        while not stop.is_set():
            this = step(writer, number)
            operations: list[object] = []
            if this.ids:
                points = [
                    {
                        "id": point,
                        "vector": {"": vector.tolist(), "tokens": tokens.tolist()},
                        "payload": this.payload(point),
                    }
                    for point, vector, tokens in zip(this.ids, this.vectors, this.documents(), strict=True)
                ]
                operations.append({"upsert": {"points": points}})
            if this.patched:
                operations.append({"set_payload": {"points": this.patched, "payload": this.patch()}})
            if this.deleted:
                operations.append({"delete": {"points": this.deleted}})
            try:
                answer = client.post(
                    "/collections/points/points/batch?wait=true", json={"operations": operations}
                )
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            ledger.acknowledge(writer)
            number += 1
