"""Style is left to ruff and shellcheck; these make any test run check it."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.checkout import ROOT, files

BIN = Path(sys.executable).parent


def _run(*command: str) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "\n" + done.stdout + done.stderr


def test_ruff() -> None:
    _run("ruff", "check", "--no-cache", "--output-format=concise", ".")
    _run("ruff", "format", "--no-cache", "--check", ".")


def test_shell_scripts() -> None:
    shebangs = (b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh")
    scripts = [path for path in files() if (ROOT / path).read_bytes().startswith(shebangs)]
    assert scripts
    _run("shellcheck", *map(str, scripts))
