"""The encodings keep their laws on every instruction-set tier."""

import os
import subprocess
import sys

import pytest

from nearfield.engine import _native
from tests.helpers.checkout import ROOT


@pytest.mark.parametrize("isa", _native.available_isas())
def test_encodings(isa: str) -> None:
    laws = ["tests/unit/test_fde.py", "tests/unit/test_pooling.py"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *laws],
        env={**os.environ, "NEARFIELD_ISA": isa}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout
