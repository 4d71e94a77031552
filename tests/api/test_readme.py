"""The README's tour, run as it stands: every answer it shows is the answer that comes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nearfield.server.run import serve_in_thread
from nearfield.server.settings import Settings
from tests.helpers.checkout import ROOT

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# They start a server or a container, install, or take long; other tests do each of these.
NOT_RUN = ("nearfield serve", "nearfield bench", "docker compose", "python3 -m venv")
MEASURED = re.compile(r"[\d.,]+( ms| s|/s)\b")


def _tour() -> list[tuple[str, str, str]]:
    """(language, program, what README says it prints) of every block that is run."""
    blocks = BLOCK.findall(README)
    following = [*blocks[1:], ("", "")]
    return [
        (language, program, shown if shown_as in ("json", "text") else "")
        for (language, program), (shown_as, shown) in zip(blocks, following, strict=True)
        if language in ("sh", "python") and not any(word in program for word in NOT_RUN)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_in_thread(Settings(data=tmp_path_factory.mktemp("readme"), port=0)) as address:
        yield address


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tour")


def _without_times(value: Any) -> Any:
    """JSON without `time`, floats to the digits on which all instruction sets agree."""
    match value:
        case dict():
            return {key: _without_times(item) for key, item in value.items() if key != "time"}
        case list():
            return [_without_times(item) for item in value]
        case float():
            return round(value, 4)
    return value


def _comparable(text: str) -> Any:
    try:
        return _without_times(json.loads(text))
    except ValueError:
        return MEASURED.sub(r"N\1", text.strip())


def test_the_tour_is_complete() -> None:
    programs = "\n".join(program for _, program, _ in _tour())
    for word in ("curl", "qdrant_client", "nearfield import", "Database.open", "build_index"):
        assert word in programs


@pytest.mark.parametrize(("language", "program", "shown"), _tour())
def test_tour(server: str, directory: Path, language: str, program: str, shown: str) -> None:
    """In order: later steps use what earlier ones made."""
    if "curl" in program and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    program = re.sub(r"(http://)?localhost:6333", server, program)
    program = program.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    command = ["bash", "-ec", program] if language == "sh" else [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stderr
    assert shown, "README shows no answer for this"
    assert _comparable(done.stdout) == _comparable(shown)
