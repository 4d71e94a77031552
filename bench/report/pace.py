"""How fast the machine was while a library was measured, told by the baseline's settings beside it."""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from nearfield.bench.frontier import geometric_mean
from nearfield.bench.records import Record

Mode = tuple[str, int]
"""`batch` or `single`, and the threads."""


def paces(records: Sequence[Record]) -> dict[tuple[str, Mode], float]:
    """By run and mode: how many times slower the baseline was there than in its own run.

    Speeds times this are what the run would have shown at the pace of the baseline's own. Runs without such
    settings are left out.
    """
    own: dict[tuple[Mode, str], list[float]] = defaultdict(list)
    beside: dict[tuple[str, Mode], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record["type"] != "search":
            continue
        mode = (record["mode"], record["threads"])
        setting = f"{record['competitor']} {record['build']} {record['search']}"
        if record["pacer"]:
            beside[(record["run"], mode)][setting].append(record["qps"])
        else:
            own[(mode, setting)].append(record["qps"])
    found: dict[tuple[str, Mode], float] = {}
    for (run, mode), settings in beside.items():
        ratios = [
            statistics.median(own[(mode, setting)]) / statistics.median(speeds)
            for setting, speeds in settings.items()
            if (mode, setting) in own
        ]
        if (mean := geometric_mean(ratios)) is not None:
            found[(run, mode)] = mean
    return found
