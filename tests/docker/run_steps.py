"""Build and run the image without a container engine: execute the Dockerfile's steps in plain directories.

    python -m tests.docker.run_steps build OUT --base IMAGE=ROOT [--carry PATH ...] [--carry-env NAME ...]
    python -m tests.docker.run_steps start OUT
    python -m tests.docker.run_steps health OUT

`build` makes one root file system per stage under OUT: it copies a prepared one in place of the image
that FROM names (the only liberty taken) and executes RUN and COPY as they are written, RUN in a chroot
inside mount and process namespaces of its own. `start` runs ENTRYPOINT and CMD of the last stage as its
USER and as process 1, `health` its HEALTHCHECK. `--carry` shows files and folders of this machine (its
package registry's settings) to the steps at the same path; they are mounted, so the image does not keep
them. Needs root and Linux.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.docker.dockerfile import ImageSettings, Stage, Step, command, context_files, copy_arguments, parse
from tests.helpers.checkout import ROOT

ALWAYS_CARRIED = ("/etc/resolv.conf", "/etc/hosts")
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1 root, $2 user, $3 working directory, $4 the number of carried paths, then those paths, then the command.
ENTER = """
set -e
root=$1 user=$2 directory=$3 count=$4; shift 4
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$count" -gt 0 ]; do mount --bind "$1" "$root$1"; shift; count=$((count - 1)); done
exec chroot --userspec="$user" "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$directory" "$@"
"""


def execute(
    root: Path, settings: ImageSettings, words: list[str], carry: list[str], env: dict[str, str]
) -> int:
    """Run a command inside a root file system, as process 1 of its own namespaces; returns its status."""
    made = [_mount_point(root, path) for path in carry]
    inside = {"HOME": "/", **env, **settings.args, **settings.env}
    arguments = [str(root), settings.user, settings.workdir, str(len(carry)), *carry, *words]
    try:
        return subprocess.run(
            [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "/bin/sh",
                "-c",
                ENTER,
                "enter",
                *arguments,
            ],
            env=inside,
        ).returncode
    finally:
        for point in filter(None, made):
            point.unlink() if point.is_file() else point.rmdir()


def _mount_point(root: Path, path: str) -> Path | None:
    """Something to mount `path` on; returned when it was made for this."""
    point = root / path.lstrip("/")
    if point.exists():
        return None
    point.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_dir():
        point.mkdir()
    else:
        point.touch()
    return point


def copy(step: Step, root: Path, settings: ImageSettings, roots: dict[str, Path]) -> None:
    """Do one COPY, from the build context or from an earlier stage."""
    options, sources, destination = copy_arguments(settings.words(step.value))
    target = root / str(Path(settings.workdir, destination)).lstrip("/")
    for source in sources:
        if "from" in options:
            _copy_tree(roots[options["from"]] / source.lstrip("/"), target)
            continue
        names = [name for name in context_files() if name == source or name.startswith(f"{source}/")]
        for name in names:
            into = target / Path(name).relative_to(source) if (ROOT / source).is_dir() else target
            if into.is_dir() or destination.endswith("/"):
                into = into / Path(name).name
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into)


def _copy_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", target], check=True)


def build_stage(
    stage: Stage, root: Path, roots: dict[str, Path], options: argparse.Namespace
) -> ImageSettings:
    """Execute one stage's steps in order; exits the program when a RUN fails."""
    settings = ImageSettings(env={"PATH": PATH_DEFAULT})
    carry = [*ALWAYS_CARRIED, *options.carry]
    environment = {name: os.environ[name] for name in options.carry_env if name in os.environ}
    for number, step in enumerate(stage.steps, 1):
        print(f"[{stage.name} {number}/{len(stage.steps)}] {step.instruction} {step.value}", flush=True)
        began = time.monotonic()
        if step.instruction == "RUN":
            status = execute(root, settings, command(step.value), carry, environment)
            if status:
                sys.exit(f"line {step.line + 1}: exit status {status}")
        elif step.instruction == "COPY":
            copy(step, root, settings, roots)
        else:
            settings.apply(step, dict(pair.split("=", 1) for pair in options.build_arg))
            (root / settings.workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
        print(f"    {time.monotonic() - began:.1f} s", flush=True)
    return settings


def build(options: argparse.Namespace) -> None:
    """Execute every stage; writes the last one's settings to OUT/image.json."""
    bases = dict(pair.split("=", 1) for pair in options.base)
    roots: dict[str, Path] = {}
    settings = ImageSettings()
    for stage in parse():
        root = Path(options.out, stage.name)
        roots[stage.name] = root
        print(f"[{stage.name}] FROM {stage.base}, in whose place stands {bases[stage.base]}", flush=True)
        _copy_tree(Path(bases[stage.base]), root)
        settings = build_stage(stage, root, roots, options)
    image = {"root": str(root), "settings": dataclasses.asdict(settings)}
    Path(options.out, "image.json").write_text(json.dumps(image, indent=2))


def run(options: argparse.Namespace) -> None:
    """Run the built image's command or health check in the foreground."""
    image = json.loads(Path(options.out, "image.json").read_text())
    settings = ImageSettings(**image["settings"])
    settings.args = {}
    words = settings.healthcheck if options.action == "health" else settings.entrypoint + settings.cmd
    sys.exit(execute(Path(image["root"]), settings, words, list(ALWAYS_CARRIED), {}))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("build", "start", "health"):
        actions.add_parser(name).add_argument("out")
    building = actions.choices["build"]
    building.add_argument("--base", action="append", required=True, metavar="IMAGE=ROOT")
    building.add_argument("--carry", action="append", default=[], metavar="PATH")
    building.add_argument("--carry-env", action="append", default=[], metavar="NAME")
    building.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    build(options) if options.action == "build" else run(options)


if __name__ == "__main__":
    main()
