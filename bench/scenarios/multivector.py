"""Documents of many vectors: candidates by encodings or pooled vectors, then MaxSim, against MaxSim alone.

Run by `nearfield bench NAME`, or as `python -m nearfield.bench.scenarios.multivector FOLDER... --out DIR`,
which can ask qdrant-client's local mode too. A folder holds `doc_tokens.npy` [T, d], `doc_offsets.npy`
[n + 1], the same for `query`, `*_pooled.npy` (one vector each), and where there are judgements `docs.jsonl`,
`queries.jsonl` and `qrels.tsv`. Every way runs on one thread in one process, in turns; medians are reported.
Writes `multivector.jsonl`, a figure per folder and a page with all of them, `multivector.html`.

Peers: `voyager`, where it is installed, searches a graph of all tokens as the Voyager index of pylate 1.6
does. fast-plaid (1.7) and pylate's PLAID index, which is fast-plaid (at most 1.4.6), are not among them: the
wheels are each linked to one version of libtorch, 2.11 at most, which the package index offers for Linux only
with CUDA, gigabytes of it. Beside a CPU build of torch 2.13 fast-plaid installs and imports, and dies of a
segmentation fault when it builds an index.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from nearfield.bench.frontier import Point
from nearfield.bench.machine import available_cores, describe_machine
from nearfield.bench.records import RecordWriter
from nearfield.bench.report.plots import recall_speed, save_figure
from nearfield.bench.report.summary import DatasetSummary
from nearfield.bench.scenarios.multivector_corpus import Corpus, Found, Way, load_corpus
from nearfield.bench.scenarios.multivector_page import render_page
from nearfield.bench.scenarios.multivector_peers import installed_peers
from nearfield.engine import _native
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan
from nearfield.index_builders import build_multivector_index

RESULTS: Final = "multivector.jsonl"
PAGE: Final = "multivector.html"
CANDIDATES: Final = (20, 50, 100, 200, 400)
DEPTH: Final = 100
_K: Final = 10
_ENCODINGS: Final[Mapping[str, dict[str, Any]]] = {
    "learned": {"cells": "kmeans"},
    "muvera-2560": {"cells": "simhash", "profile": "small"},
    "muvera-5120": {"cells": "simhash", "profile": "default"},
    "muvera-10240": {"cells": "simhash", "profile": "high"},
}


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
    everything = ways(corpus, threads) + installed_peers(corpus, threads, _say)
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


def summarize(corpus: Corpus, records: list[dict[str, Any]]) -> DatasetSummary:
    """Recall against speed, one line per way."""
    summary = DatasetSummary({"name": corpus.name}, describe_machine(()), "", "", _K)
    curves: dict[str, list[Point]] = {}
    for record in records:
        curves.setdefault(record["way"], []).append(Point(record["recall"], record["qps"]))
    summary.curves[("batch", 1)] = curves
    summary.ours = {"learned", "exact MaxSim"}
    return summary


def draw(corpus: Corpus, summary: DatasetSummary, out: Path) -> None:
    """The figure of a folder as a file."""
    figure = recall_speed(summary, ("batch", 1))
    if figure is not None:
        save_figure(figure, out / corpus.name, corpus.name, about(corpus))


def about(corpus: Corpus) -> str:
    """What a figure shows, in a line."""
    return f"{corpus.documents.count:,} documents, recall of exact MaxSim's first {_K}, one thread"


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
    measure_folders(options.folders, options.out, options.queries, options.repeats, options.reference)
    return 0


def measure_folders(
    folders: Sequence[Path], out: Path, queries: int | None, repeats: int, reference: int = 0
) -> None:
    """Measure folders and print what was found; figures and one page of all of them go into `out`.

    Args:
        queries: only the first so many.
        repeats: rounds; medians count.
        reference: documents to ask qdrant-client's local mode about.

    Raises:
        DatasetError: a folder lacks a file.
    """
    out.mkdir(parents=True, exist_ok=True)
    sections: list[tuple[DatasetSummary, str, list[dict[str, Any]]]] = []
    for folder in folders:
        corpus = load_corpus(folder, queries)
        common = {"dataset": corpus.name, "machine": describe_machine(())}
        with RecordWriter(out / RESULTS, common) as writer:
            records = measure(corpus, DEPTH, repeats, available_cores())
            for record in records:
                writer.write("multivector", **record)
                _say(corpus.name, *(f"{name} {_short(value)}" for name, value in record.items()))
            if reference:
                same = same_as_reference(corpus, reference, 20)
                writer.write("reference", same=same)
                _say(corpus.name, f"answers of qdrant-client's local mode that are ours too: {same:.4f}")
        summary = summarize(corpus, records)
        draw(corpus, summary, out)
        sections.append((summary, about(corpus), records))
    (out / PAGE).write_text(render_page(sections), "utf-8")


def _say(*words: str) -> None:
    sys.stdout.write("  ".join(words) + "\n")
    sys.stdout.flush()


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
