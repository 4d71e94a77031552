"""Distances and LVQ codes of one instruction-set tier on ordinary and hostile values, saved to a file.

Usage: NEARFIELD_ISA=tier python -m tests.native.tier_answers OUT.npz
"""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.index_builders.encodings.lvq import LvqEncoding, TwoLevelCodes

METRICS = ("l2", "ip", "l1")
DIMENSIONS = [*range(1, 131), 768, 1536]
ROWS = 9
QUERIES = 5

Case = tuple[str, NDArray[np.float32], NDArray[np.generic]]


def ordinary_cases() -> Iterator[Case]:
    """Every dimension with every stored type."""
    random = np.random.default_rng(7)
    for dims in DIMENSIONS:
        queries = random.standard_normal((QUERIES, dims), dtype=np.float32)
        rows = random.standard_normal((ROWS, dims), dtype=np.float32)
        yield f"f32-{dims}", queries, rows
        yield f"f16-{dims}", queries, rows.astype(np.float16)
        yield f"u8-{dims}", queries, random.integers(0, 256, (ROWS, dims), dtype=np.uint8)


def hostile_cases() -> Iterator[Case]:
    """Zeros, denormals, huge and non-finite values, extremes of the stored types; on and off every width."""
    for dims in (1, 5, 16, 33):
        for name, value in {
            "zero": 0.0, "negative-zero": -0.0, "denormal": 1e-41, "tiny": 1e-38, "huge": 1e30,
            "largest": 3.4028235e38, "inf": np.inf, "negative-inf": -np.inf, "nan": np.nan,
        }.items():  # fmt: skip
            queries = np.full((QUERIES, dims), 1.5, np.float32)
            queries[1:] = value
            rows = np.zeros((ROWS, dims), np.float32)
            rows[1:] = value
            rows[2:, -1] = 1.0
            yield f"f32-{name}-{dims}", queries, rows
        halves = np.array([0.0, -0.0, 6e-8, 6.1e-5, 65504.0, -65504.0, np.inf, -np.inf, np.nan], np.float16)
        yield f"f16-extremes-{dims}", np.ones((2, dims), np.float32), np.repeat(halves[:, None], dims, axis=1)
        bytes_ = np.repeat(np.array([0, 1, 127, 128, 254, 255], np.uint8)[:, None], dims, axis=1)
        yield f"u8-extremes-{dims}", np.full((3, dims), 255.0, np.float32), bytes_


def cases() -> Iterator[Case]:
    """Everything the tiers are compared on."""
    yield from ordinary_cases()
    yield from hostile_cases()


def codes(rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Code rows of two levels at 4 and 8 bits, one behind the other."""
    found = []
    for encoding in (LvqEncoding.LVQ4X4, LvqEncoding.LVQ8X8):
        levels = TwoLevelCodes.empty(*rows.shape, encoding, 8)
        levels.encode(0, rows)
        found += [levels.first.data, levels.residual.data]
    return np.concatenate(found)


def main() -> None:
    """Save one array per case and metric, and the name of the tier."""
    answers: dict[str, NDArray[np.generic]] = {"isa": np.array(_native.isa())}
    for name, queries, rows in cases():
        offsets = np.arange(len(rows), dtype=np.int64)[::-1].copy()
        for metric in METRICS:
            answers[f"{name}-{metric}"] = _native.gather_distances(queries, rows, offsets, metric)
        answers[f"{name}-codes"] = codes(rows.astype(np.float32))
    np.savez(sys.argv[1], **answers)


if __name__ == "__main__":
    main()
