"""The multi-vector scenario: its measures by hand, and a whole run on a small made-up set."""

import json
from pathlib import Path

import numpy as np
import pytest

from nearfield.bench.scenarios import multivector, multivector_peers
from nearfield.bench.scenarios.multivector_corpus import load_corpus
from nearfield.engine.search.maxsim import maxsim_scan
from tests.helpers.command_line import run_command


def test_measures_by_hand() -> None:
    found = np.array([[3, 1, 7], [5, 6, 2]])
    relevant = {0: {1: 1, 7: 2, 9: 1}, 1: {4: 1}}
    gain = 1 / np.log2(3) + 2 / np.log2(4)
    ideal = 2 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    assert multivector.ndcg(found, relevant, 3) == pytest.approx(gain / ideal / 2)
    assert multivector.relevant_found(found, relevant, 3) == pytest.approx((2 / 3 + 0) / 2)
    assert multivector.recall(found, np.array([[1, 3, 8], [5, 2, 6]]), 3) == pytest.approx((2 / 3 + 1) / 2)


def small_set(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("doc", 400), ("query", 12)):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(2, 9, count))])
        tokens = rng.standard_normal((offsets[-1], 16))
        tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
        pooled = np.add.reduceat(tokens, offsets[:-1], axis=0)
        np.save(folder / f"{name}_tokens.npy", tokens.astype(np.float16))
        np.save(folder / f"{name}_offsets.npy", offsets)
        np.save(folder / f"{name}_pooled.npy", pooled.astype(np.float16))
        lines = [json.dumps({"id": f"{name}{i}"}) for i in range(count)]
        (folder / ("docs.jsonl" if name == "doc" else "queries.jsonl")).write_text("\n".join(lines))
    (folder / "qrels.tsv").write_text("query0\tdoc5\t1\nquery3\tdoc7\t2\n")


def test_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "small-mv16"
    folder.mkdir()
    small_set(folder)
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--repeats", "1", "--reference", "50"]
    assert multivector.main(arguments) == 0
    records = [json.loads(line) for line in (tmp_path / "out" / multivector.RESULTS).read_text().splitlines()]
    measured = {(r["way"], r["candidates"]): r for r in records if r["type"] == "multivector"}
    assert measured["exact MaxSim", 0]["recall"] == 1
    for way in ("pooled first", "learned", "muvera-2560", "muvera-5120", "muvera-10240"):
        assert measured[way, 400]["recall"] == 1
        assert measured[way, 400]["ndcg"] == measured["exact MaxSim", 0]["ndcg"]
        assert measured[way, 20]["recall"] <= measured[way, 100]["recall"] + 1e-9
        assert measured[way, 100]["relevant_found"] >= 0 and measured[way, 100]["qps"] > 0
    assert [r["same"] for r in records if r["type"] == "reference"] == [1.0]
    assert (tmp_path / "out" / "small-mv16.png").stat().st_size > 10_000
    page = (tmp_path / "out" / multivector.PAGE).read_text()
    assert "<svg" in page and page.count("<tr>") == len(measured) + 1
    assert "learned" in capsys.readouterr().out


def test_the_command_measures_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "small-mv16"
    folder.mkdir()
    small_set(folder)
    out = tmp_path / "out"
    command = ["bench", "small-mv16", "--data-dir", tmp_path, "--quick", "--out", out]
    ran = run_command(capsys, *command)
    assert ran.code == 0, ran.err
    assert (out / multivector.PAGE).is_file() and (out / multivector.RESULTS).is_file()
    refused = run_command(capsys, *command, "--kinds", "auto")
    assert refused.code == 2 and "small-mv16 has multi-vectors" in " ".join(refused.out.split())


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small_set(tmp_path)
    monkeypatch.setattr(multivector_peers.importlib.util, "find_spec", lambda _: None)
    said: list[str] = []
    assert multivector_peers.installed_peers(load_corpus(tmp_path, None), 1, said.append) == []
    assert said == ["voyager is not installed: its graph of tokens is left out"]


def test_a_graph_of_tokens_finds_what_exact_search_does(tmp_path: Path) -> None:
    pytest.importorskip("voyager")
    small_set(tmp_path)
    corpus = load_corpus(tmp_path, None)
    way = multivector_peers.token_graph(corpus, 1)
    exact = maxsim_scan(corpus.queries, corpus.query_offsets, corpus.documents, 10).rows
    assert multivector.recall(way.search(100, 10), exact, 10) > 0.95
    assert multivector.recall(way.search(2, 10), exact, 10) < 1
    assert way.bytes_per_document > corpus.documents.decode().nbytes / corpus.documents.count
