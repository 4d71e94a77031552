"""Data sets a benchmark runs on: folders of numpy files, ann-benchmarks hdf5 files, and a generated one.

A folder holds `base.npy`, `queries.npy` and `gt_ids.npy`, optionally `gt_scores.npy`, `train_queries.npy`,
`info.json`, and `filters.json` with its payload columns; an hdf5 file holds `train`, `test`, `neighbors` and
`distances`.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.generated import GENERATED, generate
from nearfield.bench.ground_truth import exact_neighbours

SHARED_DATA_VARIABLE = "NEARFIELD_SHARED_DATA"
TRUTH_WIDTH = 100
"""Columns of recomputed ground truth: wide enough to tell ties at rank k apart from misses."""

_HDF5_METRICS = {"euclidean": "l2", "angular": "cosine", "dot": "ip", "ip": "ip"}
_METRICS = ("l2", "ip", "cosine")


class DatasetError(Exception):
    """A data set that cannot be found or read; `str(error)` says what to do about it."""


@dataclass(frozen=True)
class Dataset:
    """Vectors to index, queries, and the exact answers.

    Args:
        metric: `l2`, `ip` or `cosine`.
        base: [n, d] rows in the stored dtype (float32, float16 or uint8), possibly a memory map.
        queries: float32 [nq, d].
        truth_ids: int64 [nq, w] exact nearest rows, nearest first; -1 pads.
        truth_scores: float32 [nq, w] distance or similarity of those, for telling ties; None when not known.
        training_queries: float32 [m, d] queries that are never scored, or None.
        source: where it came from, for the report.
        folder: the data set's folder, for filters and payloads; None when there is none or rows were cut off.
        generated: True for made-up vectors; reports say so.
    """

    name: str
    metric: str
    base: NDArray[Any]
    queries: NDArray[np.float32]
    truth_ids: NDArray[np.int64]
    truth_scores: NDArray[np.float32] | None
    training_queries: NDArray[np.float32] | None = None
    source: str = ""
    folder: Path | None = None
    generated: bool = False

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.base.shape[0])

    @property
    def dimensions(self) -> int:
        """Number of coordinates of a row."""
        return int(self.base.shape[1])

    def describe(self) -> dict[str, Any]:
        """What records and reports say of it."""
        return {
            "name": self.name,
            "metric": self.metric,
            "rows": self.count,
            "dimensions": self.dimensions,
            "dtype": str(self.base.dtype),
            "queries": int(self.queries.shape[0]),
            "source": self.source,
            "generated": self.generated,
        }

    def limited(self, rows: int | None, queries: int | None, *, truth: bool = True) -> "Dataset":
        """The first `rows` rows (ground truth recomputed exactly) and the first `queries` queries."""
        data = self
        if queries is not None and queries < len(self.queries):
            scores = self.truth_scores
            data = replace(
                data,
                queries=self.queries[:queries],
                truth_ids=self.truth_ids[:queries],
                truth_scores=None if scores is None else scores[:queries],
            )
        if rows is not None and rows < self.count:
            base = np.ascontiguousarray(self.base[:rows])
            ids, distances = _exact(base, data.queries, self.metric, truth)
            data = replace(
                data,
                name=f"{self.name}-{rows}",
                base=base,
                truth_ids=ids,
                truth_scores=distances,
                folder=None,
                source=f"first {rows:,} rows of {self.source}",
            )
        return data


def search_folders(data_dir: Path | None) -> list[Path]:
    """Folders in which a data set's name is looked up, in order."""
    named = os.environ.get(SHARED_DATA_VARIABLE)
    checkout = Path(__file__).resolve().parent.parent
    candidates = [
        data_dir,
        Path(named) if named else None,
        Path("datasets"),
        Path("..", "shared", "data"),
        checkout.parent / "shared" / "data",
    ]
    folders: list[Path] = []
    for candidate in candidates:
        if candidate is not None and (resolved := candidate.resolve()) not in folders:
            folders.append(resolved)
    return folders


def load_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    rows: int | None = None,
    queries: int | None = None,
    truth: bool = True,
) -> Dataset:
    """Read a data set by path or name, or make the generated one.

    Args:
        name: path of a folder or hdf5 file, a name to look up in `search_folders`, or `generated`.
        rows: keep only the first rows (ground truth is recomputed); size of the generated set.
        queries: keep only the first queries.
        truth: whether the exact answers are wanted; without, those of fewer rows are not computed.

    Raises:
        DatasetError: nothing of that name, or its files do not fit together.
    """
    if name == GENERATED:
        made = generate(rows, queries)
        ids, distances = _exact(made.base, made.queries, made.metric, truth)
        return Dataset(
            GENERATED,
            made.metric,
            made.base,
            made.queries,
            ids,
            distances,
            made.training_queries,
            made.source,
            generated=True,
        )
    path = _locate(name, search_folders(data_dir))
    dataset = _read_folder(path) if path.is_dir() else _read_hdf5(path)
    _check(dataset, path)
    return dataset.limited(rows, queries, truth=truth)


def multivector_folder(name: str, data_dir: Path | None) -> Path | None:
    """The folder of a set of multi-vectors, by path or name; None where there is none."""
    found = [Path(name), *(folder / name for folder in search_folders(data_dir))]
    return next((folder.resolve() for folder in found if (folder / "doc_tokens.npy").is_file()), None)


def all_datasets(data_dir: Path | None) -> list[str]:
    """Names of the single-vector sets in the first of `search_folders` that has any; else `generated`."""
    for folder in search_folders(data_dir):
        if names := sorted(_names_in(folder)):
            return names
    return [GENERATED]


def _locate(name: str, folders: Sequence[Path]) -> Path:
    direct = Path(name)
    if (direct / "base.npy").is_file() or (direct.is_file() and direct.suffix in (".hdf5", ".h5")):
        return direct.resolve()
    for folder in folders:
        if (folder / name / "base.npy").is_file():
            return folder / name
        if (folder / f"{name}.hdf5").is_file():
            return folder / f"{name}.hdf5"
    looked = "\n".join(f"  {folder}{'' if folder.is_dir() else '  (no such folder)'}" for folder in folders)
    known = sorted({entry for folder in folders for entry in _names_in(folder)})
    available = f"Found there: {', '.join(known)}. " if known else ""
    raise DatasetError(
        f"no data set `{name}`: it is neither a folder with base.npy nor an hdf5 file, and these folders "
        f"do not have it:\n{looked}\n{available}"
        f"Give --data-dir, set {SHARED_DATA_VARIABLE}, or use `{GENERATED}`, which needs no data."
    )


def _names_in(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return [entry.parent.name for entry in folder.glob("*/base.npy")] + [
        entry.stem for entry in folder.glob("*.hdf5")
    ]


def _read_folder(path: Path) -> Dataset:
    info = json.loads((path / "info.json").read_text()) if (path / "info.json").is_file() else {}
    metric = str(info.get("metric", "l2")).split()[0]
    scores, training = path / "gt_scores.npy", path / "train_queries.npy"
    try:
        return Dataset(
            name=path.name,
            metric=metric,
            base=np.load(path / "base.npy", mmap_mode="r"),
            queries=_floats(np.load(path / "queries.npy")),
            truth_ids=np.load(path / "gt_ids.npy").astype(np.int64),
            truth_scores=_floats(np.load(scores)) if scores.is_file() else None,
            training_queries=_floats(np.load(training)) if training.is_file() else None,
            source=path.name,
            folder=path,
        )
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected base.npy, queries.npy and gt_ids.npy: {error}") from error


def _read_hdf5(path: Path) -> Dataset:
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(
            f"{path}: reading hdf5 needs h5py; install it with `pip install 'nearfield[io]'`"
        ) from error
    try:
        with h5py.File(path) as file:
            distance = str(file.attrs.get("distance", "euclidean"))
            return Dataset(
                name=path.stem,
                metric=_HDF5_METRICS.get(distance, distance),
                base=_floats(file["train"][:]),
                queries=_floats(file["test"][:]),
                truth_ids=file["neighbors"][:].astype(np.int64),
                truth_scores=_floats(file["distances"][:]) if "distances" in file else None,
                source=path.name,
            )
    except (OSError, KeyError) as error:
        raise DatasetError(
            f"{path}: expected an ann-benchmarks file with train, test and neighbors: {error}"
        ) from error


def _exact(
    base: NDArray[Any], queries: NDArray[np.float32], metric: str, wanted: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if wanted:
        return exact_neighbours(base, queries, metric, min(TRUTH_WIDTH, len(base)))
    return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)


def _check(dataset: Dataset, path: Path) -> None:
    base, queries, truth = dataset.base, dataset.queries, dataset.truth_ids
    if base.ndim != 2 or queries.ndim != 2 or base.shape[1] != queries.shape[1]:
        raise DatasetError(
            f"{path}: base {base.shape} and queries {queries.shape} must be [n, d] and [nq, d] of one d"
        )
    if truth.ndim != 2 or len(truth) != len(queries):
        raise DatasetError(
            f"{path}: expected ground truth for {len(queries)} queries, got an array of {truth.shape}"
        )
    if dataset.metric not in _METRICS:
        raise DatasetError(f"{path}: metric must be one of {', '.join(_METRICS)}, got `{dataset.metric}`")
    if truth.size and int(truth.max()) >= len(base):
        raise DatasetError(
            f"{path}: ground truth names row {int(truth.max())}, but the base has {len(base)} rows"
        )
