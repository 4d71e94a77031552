"""Check what a built wheel holds: the four packages with their types, and nothing of how they are made.

python3 .ci/check_wheel.py WHEEL
"""

import sys
import zipfile
from pathlib import PurePosixPath

PACKAGES = ("engine", "index_builders", "server", "bench")
SUFFIXES = (".py", ".pyi", ".so", "/py.typed", ".html", ".css", ".js", ".lua")
BYTES_MAX = 20 * 2**20


def problems(names: set[str]) -> list[str]:
    """What is missing and what is too much, as sentences."""
    wanted = {f"nearfield/{package}/{file}" for package in PACKAGES for file in ("__init__.py", "py.typed")}
    wanted.add("nearfield/engine/_native.pyi")
    found = [f"lacks {name}" for name in sorted(wanted - names)]
    if not any(name.startswith("nearfield/engine/_native.") and name.endswith(".so") for name in names):
        found.append("lacks the native module")
    for name in sorted(names):
        top, package, *_ = PurePosixPath(name).parts
        if top.endswith(".dist-info"):
            continue
        ours = top == "nearfield" and package in PACKAGES and "__pycache__" not in name
        if not ours or not name.endswith(SUFFIXES):
            found.append(f"should not hold {name}")
    return found


def main(wheel: str) -> None:
    """Exit with the list of problems, if there are any."""
    with zipfile.ZipFile(wheel) as archive:
        names = {info.filename for info in archive.infolist() if not info.is_dir()}
        size = sum(info.file_size for info in archive.infolist())
    found = problems(names)
    if size > BYTES_MAX:
        found.append(f"unpacks to {size} bytes, at most {BYTES_MAX}")
    if found:
        sys.exit("\n".join(f"{wheel} {problem}" for problem in found))
    sys.stdout.write(f"{len(names)} files, {size} bytes\n")


if __name__ == "__main__":
    main(sys.argv[1])
