"""Where settings come from, and which of them wins."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from nearfield.server.settings import Settings


def test_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.body_bytes_max) == ("127.0.0.1", 6333, 32 * 2**20)
    assert settings.api_key is None and not settings.access_log


def test_arguments_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "nearfield.toml"
    file.write_text('port = 1\nhost = "0.0.0.0"\nthreads = 3\nlog_level = "debug"\n')
    monkeypatch.setenv("NEARFIELD_PORT", "2")
    monkeypatch.setenv("NEARFIELD_THREADS", "4")
    settings = Settings(config=file, port=5)
    assert (settings.port, settings.threads, settings.host, settings.log_level) == (5, 4, "0.0.0.0", "debug")
    monkeypatch.setenv("NEARFIELD_CONFIG", str(file))
    assert Settings().host == "0.0.0.0"


def test_mistakes_are_told(tmp_path: Path) -> None:
    file = tmp_path / "nearfield.toml"
    file.write_text("prot = 1\n")
    with pytest.raises(ValidationError, match="prot"):
        Settings(config=file)
    with pytest.raises(ValidationError, match="port"):
        Settings(port=70_000)
    with pytest.raises(FileNotFoundError, match="missing"):
        Settings(config=tmp_path / "missing.toml")
