"""The command line as a whole, and `serve`."""

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from nearfield.engine import Database
from nearfield.server.cli.app import COMMANDS
from nearfield.server.cli.console import byte_size, duration
from nearfield.server.cli.demo.server_process import ServerProcess, free_port
from nearfield.server.settings import Settings
from tests.helpers.command_line import run_command

HOST = "127.0.0.1"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    ran = run_command(capsys, "--version")
    assert (ran.code, ran.out) == (0, f"nearfield {version('nearfield')}\n")


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from nearfield.server.cli import main\n"
        "try: main()\nexcept SystemExit as left: assert not left.code\n"
        "loaded = {'numpy', 'fastapi', 'pydantic', 'httpx', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, command in COMMANDS.items():
        assert name in done.stdout and command.summary in done.stdout


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "bench"])
def test_help_of_a_command_fits_80_columns(capsys: pytest.CaptureFixture[str], name: str) -> None:
    ran = run_command(capsys, name, "--help")
    assert ran.code == 0 and f"nearfield {name}" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(capsys, "imprt").code == 2
    assert run_command(capsys, "import").code == 2
    ran = run_command(capsys, "serve", "--port", "99999")
    assert ran.code == 2 and "error: port:" in ran.err and "99999" in ran.err
    ran = run_command(capsys, "serve", "--config", "none.toml")
    assert ran.code == 2 and "none.toml" in ran.err


def test_serve_has_an_option_for_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_command(capsys, "serve", "--help").out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in shown


def test_serve_says_that_the_port_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        ran = run_command(capsys, "serve", "--data", tmp_path, "--port", port)
    assert ran.code == 3 and f"{HOST} port {port} is taken" in ran.err


def test_serve_says_that_the_directory_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Database.open(tmp_path):
        ran = run_command(capsys, "serve", "--data", tmp_path, "--port", 0)
    assert ran.code == 4 and f"in use by process {os.getpid()}" in ran.err and not ran.out


def test_a_server_process_serves_and_stops(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = free_port(HOST, taken.getsockname()[1])
        assert port != taken.getsockname()[1]
    server = ServerProcess(tmp_path, HOST, port)
    try:
        assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200
    finally:
        server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/readyz", trust_env=False)
    with Database.open(tmp_path) as database:
        assert database.collections() == []


def test_numbers_as_people_write_them() -> None:
    assert [byte_size(n) for n in (0, 1023, 1536, 2**20, 5 * 2**30)] == [
        "0 B", "1023 B", "1.5 KiB", "1.0 MiB", "5.0 GiB",
    ]  # fmt: skip
    assert [duration(s) for s in (0.0123, 4.23, 125)] == ["12 ms", "4.2 s", "2 min 5 s"]
