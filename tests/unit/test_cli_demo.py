"""`nearfield demo`, on a part of its texts."""

import re
from pathlib import Path

import pytest

from nearfield.engine import Database
from nearfield.server.cli.demo import command, corpus
from tests.helpers.command_line import run_command

MODULES = ["bz2", "gzip", "json", "math", "shutil", "subprocess", "zlib"]


@pytest.fixture(autouse=True)
def _few_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "module_names", lambda: MODULES)
    monkeypatch.setattr(command, "module_names", lambda: MODULES)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def timeless(shown: str) -> list[str]:
    """Lines without times, rates and port."""
    measured = re.compile(r" +[\d.]+ m?s|[\d,]+ points/s|:\d{4,5}\b")
    return [measured.sub("", line).rstrip() for line in shown.splitlines()]


def test_twice_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (run_command(capsys, "demo", "--once", "--port", "0") for _ in range(2))
    assert first.code == second.code == 0, first.err
    assert timeless(first.out) == timeless(second.out)
    curl = first.out.index("curl")
    assert max(len(line) for line in first.out[:curl].splitlines() if "data in" not in line) <= 80
    for expected in ("subprocess.getoutput", "zlib.compress", "json.load", "curl -s http://127.0.0.1:"):
        assert expected in first.out
    with Database.open(tmp_path / "cache" / "nearfield" / "demo") as database:
        assert database.collections() == ["python-docs"]
        assert database.collection("python-docs").count() > 100


def test_another_demo_holds_the_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = tmp_path / "cache" / "nearfield" / "demo"
    with Database.open(usual):
        ran = run_command(capsys, "demo", "--once", "--port", "0")
        assert ran.code == 0 and "in use by another demo; using a temporary directory" in ran.err
        named = re.search(r"data in (\S+)", ran.out)
        assert named is not None and not Path(named[1]).exists(), "a temporary directory is removed"
        ran = run_command(capsys, "demo", "--once", "--port", "0", "--data", usual)
        assert ran.code == 4 and "in use by process" in ran.err
