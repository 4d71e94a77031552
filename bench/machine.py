"""The machine and the software a measurement was taken with."""

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from nearfield.engine import _native


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


def available_bytes() -> int:
    """Memory that can still be had without swapping."""
    return _meminfo("MemAvailable")


def resident_bytes() -> int:
    """Bytes of this process in memory, after giving freed memory back to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


@contextlib.contextmanager
def peak_resident_bytes() -> Iterator[Callable[[], int]]:
    """Within: a function that returns the most bytes this process has had in memory since entering."""
    with contextlib.suppress(OSError):  # without the right to reset it, the peak is of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    yield lambda: _status("VmHWM")


def describe_machine(distributions: Iterable[str]) -> dict[str, Any]:
    """CPU, cores, memory, ISA tier, versions and commit, as every record carries them.

    Args:
        distributions: names of the installed distributions whose versions matter.
    """
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "memory_bytes": _meminfo("MemTotal"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "isa": _isa_tier(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in sorted(set(distributions))},
        "commit": _commit(),
    }


def load_average() -> float:
    """Runnable processes of the last minute; above 1 per core, timings are not to be trusted."""
    return os.getloadavg()[0]


def _isa_tier() -> str:
    return str(_native.isa())


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _meminfo(key: str) -> int:
    return _kilobytes(Path("/proc/meminfo"), key)


def _status(key: str) -> int:
    return _kilobytes(Path("/proc/self/status"), key)


def _kilobytes(path: Path, key: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def _commit() -> str | None:
    """Commit of the checkout this runs from, marked `+` when files differ; None for an installed wheel."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() or None
