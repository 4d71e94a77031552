"""The dependency rule, by import-linter's contracts in `pyproject.toml`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.checkout import ROOT, link_packages


def test_layers_hold(tmp_path: Path) -> None:
    link_packages(tmp_path)
    lint = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [lint, "--no-cache", "--no-logo"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
