"""The committed stub of the native module is what the built module says."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.checkout import ROOT

STUB = ROOT / "engine" / "_native.pyi"


def test_stub_is_current(tmp_path: Path) -> None:
    fresh = tmp_path / "_native.pyi"
    subprocess.run(
        [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "nearfield.engine._native", "-o", fresh],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert STUB.read_text() == fresh.read_text(), (
        f"rewrite it: python -m nanobind.stubgen -m nearfield.engine._native -o {STUB.relative_to(ROOT)}"
    )
