"""The checkout as data: its root, its files, and its packages under their import names."""

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("engine", "index_builders", "server", "bench")


@functools.cache
def files(*suffixes: str) -> tuple[Path, ...]:
    """Files of the checkout that git tracks or would track, relative to ROOT, sorted.

    Args:
        suffixes: such as `.py`; none for every file.
    """
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("what belongs to the checkout is known to git only")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    paths = sorted({Path(name) for name in listed if name})
    wanted = (path for path in paths if not suffixes or path.suffix in suffixes)
    return tuple(path for path in wanted if (ROOT / path).is_file())


def package_files() -> tuple[Path, ...]:
    """Python files of the four packages, relative to ROOT."""
    return tuple(path for path in files(".py") if path.parts[0] in PACKAGES)


def module_name(path: Path) -> str:
    """Import name of a Python file given relative to ROOT."""
    parts = path.with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(("nearfield", *parts) if parts[0] in PACKAGES else parts)


def link_packages(directory: Path) -> None:
    """Make links `directory/nearfield/<package>`, so that a tool sees the sources by import name."""
    (directory / "nearfield").mkdir()
    for package in PACKAGES:
        (directory / "nearfield" / package).symlink_to(ROOT / package)
