"""The Dockerfile builds from pinned bases, runs unprivileged, and copies only what is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.dockerfile import (
    DOCKERFILE,
    command,
    context_files,
    copy_arguments,
    final_image,
    ignored,
    parse,
)
from tests.helpers.checkout import PACKAGES, ROOT

PORT_DEFAULT = 6333


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint has no build for this platform")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_bases_are_pinned_and_the_same() -> None:
    bases = {stage.base for stage in parse()}
    assert len(bases) == 1, "what is built on one base may not run on another"
    (base,) = bases
    assert re.fullmatch(r"python:3\.1\d[\w.]*-slim-bookworm", base)


def test_only_the_first_stage_has_a_compiler() -> None:
    first, last = parse()
    assert any("g++" in run for run in first.values("RUN"))
    assert not any(re.search(r"g\+\+|gcc|build-essential", run) for run in last.values("RUN"))


def test_runs_as_an_ordinary_user() -> None:
    user, _, group = final_image().user.partition(":")
    assert user.isdecimal() and group.isdecimal(), "numeric ids let a cluster verify that it is not root"
    assert int(user) >= 10_000 and int(group) >= 10_000


def test_starts_one_process_in_exec_form() -> None:
    image = final_image()
    stage = parse()[-1]
    assert all(value.startswith("[") for value in stage.values("ENTRYPOINT") + stage.values("CMD"))
    assert (image.entrypoint, image.cmd) == (["nearfield"], ["serve"])
    assert image.stop_signal == "SIGTERM"


def test_says_where_data_and_port_are() -> None:
    image = final_image()
    assert image.ports == [PORT_DEFAULT] == [int(image.env["NEARFIELD_PORT"])]
    assert image.volumes == [image.env["NEARFIELD_DATA"]]
    assert image.env["NEARFIELD_HOST"] == "0.0.0.0"


def test_health_check_is_a_program_the_image_has() -> None:
    check = final_image().healthcheck
    assert check[:2] == ["python3", "-c"] and "/readyz" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")


def test_nothing_is_fetched_by_add() -> None:
    instructions = {step.instruction for stage in parse() for step in stage.steps}
    assert not instructions & {"ADD", "ONBUILD", "MAINTAINER"}


def test_copied_files_exist_and_reach_the_builder() -> None:
    context = context_files()
    names = {stage.name for stage in parse()}
    for stage in parse():
        for value in stage.values("COPY"):
            options, sources, _ = copy_arguments(value.split())
            if "from" in options:
                assert options["from"] in names
                continue
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(name == source or name.startswith(f"{source}/") for name in context), source


def test_the_context_holds_the_packages_and_no_more() -> None:
    context = context_files()
    tops = {name.split("/")[0] for name in context}
    assert tops == {*PACKAGES, "pyproject.toml", "README.md", "LICENSE", ".ci"}
    assert [name for name in context if name.startswith(".ci/")] == [".ci/constraints.txt"]
    assert not [name for name in context if "__pycache__" in name or name.endswith(".so")]


def test_every_package_is_copied() -> None:
    copied = {source for value in parse()[0].values("COPY") for source in copy_arguments(value.split())[1]}
    assert copied >= {*PACKAGES, "pyproject.toml"}


@pytest.mark.parametrize(
    ("path", "lines", "expected"),
    [
        ("a/b.py", ["*"], True),
        ("a/b.py", ["*", "!a"], False),
        ("a/c/b.so", ["*", "!a", "**/*.so"], True),
        ("ab/b.py", ["*", "!a"], True),
        (".ci/run", ["*", "!.ci/constraints.txt"], True),
        ("b.py", ["# b.py", ""], False),
    ],
)
def test_ignore_rules(path: str, lines: list[str], expected: bool) -> None:
    assert ignored(path, lines) is expected


def test_both_forms_of_a_command() -> None:
    assert command('["a", "b c"]') == ["a", "b c"]
    assert command("a b") == ["/bin/sh", "-c", "a b"]
