"""Indexes opened unread: the same answers, and whatever damage there is true ones, or an error."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.protocol import BrowsingIndex, MappingBuilder, Rows, VectorIndex
from nearfield.engine.storage.segment_files import Section, SectionFile, SectionFileWriter
from nearfield.index_builders.graph.arrays import STEERING_FILES
from tests.conformance import cases

MAPPED = [kind for kind in cases.KINDS if isinstance(cases.REGISTRY.builder(kind), MappingBuilder)]
GRAPHS = [kind for kind in MAPPED if kind != "flat"]
LARGE = [
    (kind, name)
    for kind in GRAPHS
    for name in sorted(STEERING_FILES)
    if name != "secondary.npy" or kind == "graph"
]
PARAMS = {"graph": {"secondary_encoding": "lvq8"}}
ROWS = cases.clustered("float32", 3_000)


def _saved(kind: str, directory: Path, rows: Rows = ROWS, metric: str = "l2") -> Path:
    """A folder `index`, and the rows beside it in a section file."""
    with SectionFileWriter(directory / "rows") as out:
        out.add("rows", rows.dtype, rows.shape, [rows])
    (directory / "index").mkdir()
    cases.build(kind, rows, metric, **PARAMS.get(kind, {})).save(directory / "index")
    return directory / "index"


def _section(directory: Path) -> Section:
    return SectionFile(directory / "rows").section("rows")


def _open(kind: str, index: Path, metric: str = "l2") -> VectorIndex:
    builder = cases.REGISTRY.builder(kind)
    assert isinstance(builder, MappingBuilder)
    section = _section(index.parent)
    params = builder.parse_params(PARAMS.get(kind, {}))
    return builder.open_mapped(index, section.unread(), metric, params, section)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Per graph kind a folder with rows and index."""
    directory = tmp_path_factory.mktemp("mapped")
    for kind in GRAPHS:
        (directory / kind).mkdir()
        _saved(kind, directory / kind)
    return directory


@pytest.mark.parametrize("kind", MAPPED)
@pytest.mark.parametrize("metric", ["l2", "ip", "cosine"])
def test_opened_unread_it_answers_the_same(kind: str, metric: str, tmp_path: Path) -> None:
    copies = ROWS.copy()
    copies[::5] = ROWS[0]
    index = _saved(kind, tmp_path, copies, metric)
    builder = cases.REGISTRY.builder(kind)
    params = builder.parse_params(PARAMS.get(kind, {}))
    read, unread = builder.open(index, copies, metric, params), _open(kind, index, metric)
    queries = cases.queries_near(ROWS)
    for allow in (None, cases.words(np.arange(len(ROWS)) % 3 > 0)):
        for k in (10, 300):
            expected, found = read.search(queries, k, {}, allow), unread.search(queries, k, {}, allow)
            np.testing.assert_array_equal(expected.rows, found.rows)
            np.testing.assert_array_equal(expected.distances, found.distances)


@pytest.mark.parametrize("kind", GRAPHS)
def test_only_large_files_may_be_damaged(kind: str, pristine: Path, tmp_path: Path) -> None:
    index = shutil.copytree(pristine / kind, tmp_path / kind) / "index"
    for path in sorted(index.iterdir()):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 0x10
        steering = path.name in STEERING_FILES
        for broken in (content[:-1], content + b"x", b"", None, *([] if steering else [bytes(damaged)])):
            path.unlink()
            if broken is not None:
                path.write_bytes(broken)
            with pytest.raises(Corrupted, match=path.name.replace(".", r"\.")):
                _open(kind, index)
            path.write_bytes(content)
    assert index.joinpath("neighbours.npy").stat().st_size > 10_000
    _open(kind, index)


@pytest.mark.parametrize("fill", ["noise", "zeros", "ones", "header", "bits"])
@pytest.mark.parametrize(("kind", "name"), LARGE)
def test_damaged_links_and_codes_give_true_answers(
    kind: str, name: str, fill: str, pristine: Path, tmp_path: Path
) -> None:
    index = shutil.copytree(pristine / kind, tmp_path / kind) / "index"
    rng = np.random.default_rng(len(name))
    content = np.frombuffer((index / name).read_bytes(), np.uint8).copy()
    body = content[128:]  # behind what npy files begin with
    if fill == "header":
        content[rng.integers(0, 128, 3)] ^= 0x11
    elif fill == "bits":
        np.bitwise_xor.at(body, rng.integers(0, len(body), 200), 0x80)
    else:
        values = {"zeros": 0, "ones": 255}.get(fill)
        body[:] = rng.integers(0, 256, len(body)) if values is None else values
    (index / name).write_bytes(content)
    if fill == "header":
        with pytest.raises(Corrupted, match="cannot be opened"):
            _open(kind, index)
        return
    queries = cases.queries_near(ROWS)
    distances = cases.true_distances(queries, ROWS, "l2")
    for share in (1, 3, 400):
        allowed = np.arange(len(ROWS)) % share == 0
        allow = None if share == 1 else cases.words(allowed)
        for knobs in ({}, {"ef": 300}):
            found = _open(kind, index).search(queries, 10, knobs, allow)
            cases.check_hits(found, distances, 10, allowed)
    opened = _open(kind, index)
    assert isinstance(opened, BrowsingIndex)
    within = opened.range_search(queries[:1], float(np.sort(distances[0])[20]), {})
    np.testing.assert_allclose(within.distances, distances[0][within.rows], rtol=1e-4)
    pieces = [rows for rows, _ in opened.iterate(queries[0], 500, {})]
    assert np.array_equal(np.sort(np.concatenate(pieces)), np.arange(len(ROWS)))


@pytest.mark.parametrize("kind", MAPPED)
def test_damaged_rows_are_never_an_answer(kind: str, tmp_path: Path) -> None:
    rows = np.tile(ROWS, (12, 4))  # 13 MB, about a hundred blocks
    rows += np.random.default_rng(0).standard_normal(rows.shape).astype(np.float32) / 100
    index = _saved(kind, tmp_path, rows)
    near, far = 5, len(rows) - 5
    with (tmp_path / "rows").open("r+b") as file:
        file.seek(64 + far * rows.shape[1] * 4 + 2)
        file.write(b"\x77")
    opened = _open(kind, index)
    first = cases.words(np.arange(len(rows)) < 100)
    if kind in GRAPHS:
        assert opened.search(rows[near : near + 1], 1, {"ef": 100}).rows[0, 0] == near
    assert opened.search(rows[near : near + 1], 1, {}, first).rows[0, 0] == near
    for params in ({"ef": 100}, {"target_recall": 1.0}):
        with pytest.raises(Corrupted, match="fail their checksum"):
            opened.search(rows[far - 9 : far + 1], 5, params)
