"""The demo's server: a child process, as anybody would start it."""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import httpx

from nearfield.engine.errors import DirectoryLocked, NearfieldError, Unavailable
from nearfield.server.cli.console import Exit

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.05
PORTS_TRIED: Final = 100
LOG_CHARS_SHOWN: Final = 2_000


def free_port(host: str, wanted: int) -> int:
    """`wanted` if nothing listens there, else the next port that is free; any free one for 0.

    Raises:
        Unavailable: the next hundred ports are all taken.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)) if wanted else (0,):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Unavailable(f"ports {wanted} to {wanted + PORTS_TRIED - 1} of {host} are all taken")


class ServerProcess:
    """A running `nearfield serve`; what it logs is kept for the case that it fails.

    Raises:
        DirectoryLocked: another process has the data directory open.
        NearfieldError: it ended, or did not become ready in time; with the end of its log.
    """

    def __init__(self, data: Path, host: str, port: int) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `stop`)
        reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
        self.url = f"http://{reachable}:{port}"
        command = [sys.executable, "-m", "nearfield.server.cli", "serve"]
        self._process = subprocess.Popen(
            [*command, "--data", str(data), "--host", host, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> None:
        """Returns when the server has ended.

        Raises:
            NearfieldError: it ended by itself, with an error.
        """
        if self._process.wait() not in (0, -signal.SIGINT, -signal.SIGTERM):
            raise self._failure()

    def stop(self) -> None:
        """Asks the server to finish, and insists after a while."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise self._failure()
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1, trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(POLL_S)
        raise Unavailable(f"the server was not ready after {START_TIMEOUT_S:.0f} s\n{self._log_end()}")

    def _failure(self) -> NearfieldError:
        if self._process.returncode == Exit.DIRECTORY_LOCKED:
            return DirectoryLocked(self._log_end().removeprefix("error: "))
        return NearfieldError(f"the server ended with code {self._process.returncode}\n{self._log_end()}")

    def _log_end(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()[-LOG_CHARS_SHOWN:]
