"""Documents of many vectors: candidates by encodings or pooled vectors, then MaxSim, against MaxSim alone.

Run as `python -m nearfield.bench.scenarios.multivector FOLDER... --out DIR`. A folder holds `doc_tokens.npy`
[T, d], `doc_offsets.npy` [n + 1], the same for `query`, `*_pooled.npy` (one vector each), and where there are
judgements `docs.jsonl`, `queries.jsonl` and `qrels.tsv`. Every way runs on one thread in one process, in
turns; medians are reported. Writes `multivector.jsonl` and a figure per folder.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.datasets import DatasetError
from nearfield.bench.frontier import Point
from nearfield.bench.machine import available_cores, describe_machine
from nearfield.bench.records import RecordWriter
from nearfield.bench.report.plots import recall_speed, save_figure
from nearfield.bench.report.summary import DatasetSummary
from nearfield.engine import _native
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan
from nearfield.index_builders import build_multivector_index

RESULTS: Final = "multivector.jsonl"
CANDIDATES: Final = (20, 50, 100, 200, 400)
DEPTH: Final = 100
_K: Final = 10
_ENCODINGS: Final[Mapping[str, dict[str, Any]]] = {
    "learned": {"cells": "kmeans"},
    "muvera-2560": {"cells": "simhash", "profile": "small"},
    "muvera-5120": {"cells": "simhash", "profile": "default"},
    "muvera-10240": {"cells": "simhash", "profile": "high"},
}

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


def recall(found: Found, truth: Found, k: int) -> float:
    """Mean share of the first k true answers among the first k found."""
    return float(np.mean([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(found, truth, strict=True)]))


def ndcg(found: Found, relevant: Mapping[int, Mapping[int, int]], k: int) -> float:
    """Normalised discounted cumulative gain (Jarvelin and Kekalainen, 2002), linear gains, over judged
    queries."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    values = []
    for query, grades in relevant.items():
        if query < len(found) and any(grade > 0 for grade in grades.values()):
            gains = np.array([max(grades.get(int(row), 0), 0) for row in found[query, :k]])
            ideal = np.sort([max(grade, 0) for grade in grades.values()])[::-1][:k]
            values.append((gains * discounts[: len(gains)]).sum() / (ideal * discounts[: len(ideal)]).sum())
    return float(np.mean(values))


def relevant_found(found: Found, relevant: Mapping[int, Mapping[int, int]], k: int) -> float:
    """Mean share of a query's relevant documents among the first k, over judged queries."""
    values = []
    for query, grades in relevant.items():
        wanted = [row for row, grade in grades.items() if grade > 0]
        if query < len(found) and wanted:
            values.append(len(np.intersect1d(found[query, :k], wanted)) / len(wanted))
    return float(np.mean(values))


def ways(corpus: Corpus, threads: int) -> list[Way]:
    """Exact MaxSim, the pooled vector first, and every encoding first."""
    arguments = (corpus.queries, corpus.query_offsets, corpus.documents)

    def pooled_first(candidates: int, k: int) -> Found:
        first, _ = _native.flat_search(corpus.pooled_queries, corpus.pooled, "ip", candidates)
        return maxsim_rerank(*arguments, first, k).rows

    token_bytes = corpus.documents.nbytes / corpus.documents.count
    found = [
        Way("exact MaxSim", lambda _, k: maxsim_scan(*arguments, k).rows, (0,), token_bytes),
        Way("pooled first", pooled_first, CANDIDATES, corpus.pooled.nbytes / len(corpus.pooled)),
    ]
    for name, params in _ENCODINGS.items():
        index = build_multivector_index(
            corpus.documents.values, corpus.documents.bounds(), params, threads=threads
        )

        def search(candidates: int, k: int, index: Any = index) -> Found:
            rows: Found = index.search(corpus.queries, corpus.query_offsets, k, candidates=candidates)[0]
            return rows

        found.append(Way(name, search, CANDIDATES, index.inner.bytes_per_document()))
    return found


def measure(corpus: Corpus, depth: int, repeats: int, threads: int) -> list[dict[str, Any]]:
    """One record per way and number of candidates."""
    answers: dict[tuple[str, int], Found] = {}
    everything = ways(corpus, threads)
    for _ in range(repeats):
        for way in everything:
            for candidates in way.candidates:
                start = time.perf_counter()
                answers[way.name, candidates] = way.search(candidates, _K)
                way.seconds.setdefault(candidates, []).append(time.perf_counter() - start)
    truth = answers["exact MaxSim", 0]
    records = []
    for way in everything:
        for candidates in way.candidates:
            ids = answers[way.name, candidates]
            record: dict[str, Any] = {
                "way": way.name,
                "candidates": candidates,
                "recall": recall(ids, truth, _K),
                "qps": corpus.query_count / statistics.median(way.seconds[candidates]),
                "bytes_per_document": way.bytes_per_document,
            }
            if corpus.relevant:
                record["ndcg"] = ndcg(ids, corpus.relevant, _K)
                if candidates >= depth or not candidates:
                    found = way.search(candidates, depth)
                    record["relevant_found"] = relevant_found(found, corpus.relevant, depth)
            records.append(record)
    return records


def same_as_reference(corpus: Corpus, documents: int, queries: int) -> float:
    """Share of the answers of `qdrant-client`'s local mode that exact MaxSim gives too, for a small part."""
    from qdrant_client import QdrantClient, models

    part = corpus.documents.take(np.arange(min(documents, corpus.documents.count)))
    bounds, tokens = part.bounds(), part.decode()
    client = QdrantClient(":memory:")
    config = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    client.create_collection(
        "documents",
        models.VectorParams(size=part.dimensions, distance=models.Distance.DOT, multivector_config=config),
    )
    points = [
        models.PointStruct(id=i, vector=tokens[bounds[i] : bounds[i + 1]].tolist())
        for i in range(part.count)
        if bounds[i] < bounds[i + 1]
    ]
    client.upsert("documents", points)
    offsets = corpus.query_offsets[: queries + 1]
    ours = maxsim_scan(corpus.queries[: offsets[-1]], offsets, part, _K).rows
    theirs = []
    for first, last in pairwise(offsets.tolist()):
        response = client.query_points("documents", corpus.queries[first:last].tolist(), limit=_K)
        theirs.append([point.id for point in response.points])
    return float(
        np.mean([len(set(a.tolist()) & set(b)) / max(len(b), 1) for a, b in zip(ours, theirs, strict=True)])
    )


def draw(corpus: Corpus, records: list[dict[str, Any]], out: Path) -> None:
    """Recall against speed, one line per way."""
    summary = DatasetSummary({"name": corpus.name}, describe_machine(()), "", "", _K)
    curves: dict[str, list[Point]] = {}
    for record in records:
        curves.setdefault(record["way"], []).append(Point(record["recall"], record["qps"]))
    summary.curves[("batch", 1)] = curves
    summary.ours = {"learned", "exact MaxSim"}
    figure = recall_speed(summary, ("batch", 1))
    if figure is not None:
        note = f"{corpus.documents.count:,} documents, recall of exact MaxSim's first {_K}, one thread"
        save_figure(figure, out / corpus.name, corpus.name, note)


def main(arguments: list[str]) -> int:
    """Measure every folder and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    parser.add_argument("--queries", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    reference = "documents to ask qdrant-client's local mode about, where it is installed"
    parser.add_argument("--reference", type=int, default=0, help=reference)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for folder in options.folders:
        corpus = load_corpus(folder, options.queries)
        common = {"dataset": corpus.name, "machine": describe_machine(())}
        with RecordWriter(options.out / RESULTS, common) as writer:
            records = measure(corpus, DEPTH, options.repeats, available_cores())
            for record in records:
                writer.write("multivector", **record)
                _say(corpus.name, *(f"{name} {_short(value)}" for name, value in record.items()))
            if options.reference:
                same = same_as_reference(corpus, options.reference, 20)
                writer.write("reference", same=same)
                _say(corpus.name, f"answers of qdrant-client's local mode that are ours too: {same:.4f}")
        draw(corpus, records, options.out)
    return 0


def _say(*words: str) -> None:
    sys.stdout.write("  ".join(words) + "\n")
    sys.stdout.flush()


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
