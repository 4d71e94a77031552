"""A set of documents of many vectors with its queries and judgements, and a way to search it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.datasets import DatasetError
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows

Found = NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """One data set; `relevant` maps a query's row to the grades of documents' rows."""

    name: str
    documents: TokenRows
    queries: NDArray[np.float32]
    query_offsets: NDArray[np.int64]
    pooled: NDArray[np.float32]
    pooled_queries: NDArray[np.float32]
    relevant: dict[int, dict[int, int]]

    @property
    def query_count(self) -> int:
        """Number of queries."""
        return len(self.query_offsets) - 1


@dataclass
class Way:
    """One way to search: `search(candidates, k)` gives the ids of all queries, int64 [nq, k]."""

    name: str
    search: Callable[[int, int], Found]
    candidates: tuple[int, ...]
    bytes_per_document: float
    seconds: dict[int, list[float]] = field(default_factory=dict)


def load_corpus(folder: Path, queries: int | None) -> Corpus:
    """Read a folder.

    Raises:
        DatasetError: a file is missing.
    """

    def load(name: str) -> NDArray[Any]:
        try:
            array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r")
        except OSError as error:
            raise DatasetError(f"{folder} has no {name}.npy: {error}") from error
        return array

    offsets = np.array(load("query_offsets"))[: None if queries is None else queries + 1]
    documents = TokenRows(
        load("doc_tokens"), np.array(load("doc_offsets")), TokenEncoding.FLOAT16, load("doc_tokens").shape[1]
    )
    return Corpus(
        folder.name,
        documents,
        np.array(load("query_tokens")[: offsets[-1]], np.float32),
        offsets,
        np.array(load("doc_pooled"), np.float32),
        np.array(load("query_pooled")[: len(offsets) - 1], np.float32),
        _judgements(folder),
    )


def _judgements(folder: Path) -> dict[int, dict[int, int]]:
    if not (folder / "qrels.tsv").is_file():
        return {}

    def rows(name: str) -> dict[str, int]:
        lines = (folder / f"{name}.jsonl").read_text().splitlines()
        return {str(json.loads(line)["id"]): row for row, line in enumerate(lines)}

    query_rows, document_rows = rows("queries"), rows("docs")
    relevant: dict[int, dict[int, int]] = {}
    for line in (folder / "qrels.tsv").read_text().splitlines():
        query, document, grade = line.split("\t")
        if query in query_rows and document in document_rows:
            relevant.setdefault(query_rows[query], {})[document_rows[document]] = int(grade)
    return relevant
