"""Point files: every format keeps what it is given, and says where a damaged file is damaged."""

import struct
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from nearfield.engine.point import PointBatch, PointId, VectorColumn
from nearfield.engine.schema import UNNAMED, Datatype, Distance
from nearfield.server.cli.formats.base import FileError, ReadOptions, Source, VectorShape
from nearfield.server.cli.formats.registry import open_sink, open_source

IDS: list[PointId] = [7, 2**64 - 1, UUID("0191d6a5-7c4b-7000-8000-0123456789ab"), 0, 12]
NESTED = '{"café":["x",{"deep":null}]}'.encode()
PAYLOADS = [b'{"a":1}', None, NESTED, b'{"b":1.5}', b'{"big":9007199254740993}']
VALUES = np.arange(20, dtype=np.float32).reshape(5, 4)
ALL = [".npy", ".fvecs", ".bvecs", ".ivecs", ".hdf5", ".parquet", ".jsonl"]
RESUMABLE = [".npy", ".fvecs", ".jsonl"]


def batch(first: int = 0, last: int = 5, name: str = UNNAMED) -> PointBatch:
    return PointBatch(IDS[first:last], {name: VectorColumn(VALUES[first:last])}, PAYLOADS[first:last])


Columns = tuple[list[PointId], NDArray[np.float32], list[Any]]


def read(source: Source, start: int = 0, size: int = 2) -> Columns:
    batches = list(source.batches(start, size))
    assert all(len(item) <= size for item in batches)
    ids = [point_id for item in batches for point_id in item.ids]
    values = np.concatenate([item.vectors[UNNAMED].values for item in batches])
    payloads: list[Any] = []
    for item in batches:
        payloads += [orjson.loads(p) if p else None for p in item.payloads or [None] * len(item)]
    return ids, values, payloads


def write(path: Path, datatype: Datatype = Datatype.FLOAT32) -> Source:
    sink = open_sink(path, {UNNAMED: VectorShape(4, datatype, Distance.DOT)})
    sink.append(batch(0, 3))
    sink.append(batch(3, 5))
    assert not path.exists(), "a file has its name only once it is complete"
    assert path in sink.close()
    assert not list(path.parent.glob("*.part"))
    return open_source(path, ReadOptions())


@pytest.mark.parametrize("extension", ALL)
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_round_trip(tmp_path: Path, extension: str, start: int) -> None:
    source = write(tmp_path / f"points{extension}")
    assert source.count == 5
    assert source.vectors[UNNAMED].size == 4
    ids, values, payloads = read(source, start)
    assert ids == IDS[start:]
    assert values.dtype == np.float32 and np.array_equal(values, VALUES[start:])
    assert payloads == [orjson.loads(p) if p else None for p in PAYLOADS][start:]


@pytest.mark.parametrize("extension", [".npy", ".hdf5", ".parquet"])
@pytest.mark.parametrize("datatype", list(Datatype))
def test_datatypes_are_kept(tmp_path: Path, extension: str, datatype: Datatype) -> None:
    assert write(tmp_path / f"points{extension}", datatype).vectors[UNNAMED].datatype == datatype


@pytest.mark.parametrize("extension", [".hdf5", ".parquet"])
def test_distance_is_kept(tmp_path: Path, extension: str) -> None:
    assert write(tmp_path / f"points{extension}").vectors[UNNAMED].distance == Distance.DOT


@pytest.mark.parametrize("extension", RESUMABLE)
def test_writing_continues_after_the_last_mark(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"points{extension}"
    shape = {UNNAMED: VectorShape(4)}
    interrupted = open_sink(path, shape)
    interrupted.append(batch(0, 2))
    mark = interrupted.mark()
    assert mark is not None
    interrupted.append(batch(2, 3))
    interrupted.abandon()
    resumed = open_sink(path, shape, mark)
    resumed.append(batch(2, 5))
    resumed.close()
    ids, values, _ = read(open_source(path, ReadOptions()))
    assert ids == IDS and np.array_equal(values, VALUES)


@pytest.mark.parametrize("extension", [".parquet", ".jsonl"])
def test_named_vectors_and_points_without_them(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"points{extension}"
    sink = open_sink(path, {"text": VectorShape(4), "image": VectorShape(2)})
    image = VectorColumn(np.ones((2, 2), np.float32), np.array([1, 3]))
    sink.append(PointBatch(IDS, {"text": VectorColumn(VALUES), "image": image}, None))
    sink.append(PointBatch([99], {}, [None]))
    sink.close()
    source = open_source(path, ReadOptions())
    assert {name: shape.size for name, shape in source.vectors.items()} == {"text": 4, "image": 2}
    first, last = source.batches(0, 5)
    assert first.vectors["text"].points is None and np.array_equal(first.vectors["text"].values, VALUES)
    assert first.vectors["image"].points is not None
    assert first.vectors["image"].points.tolist() == [1, 3]
    assert list(last.ids) == [99] and not last.vectors


@pytest.mark.parametrize("extension", [".npy", ".fvecs", ".hdf5"])
def test_matrix_files_hold_exactly_one_vector(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"points{extension}"
    with pytest.raises(FileError, match="--using"):
        open_sink(path, {"a": VectorShape(4), "b": VectorShape(4)})
    sink = open_sink(path, {"a": VectorShape(4)})
    with pytest.raises(FileError, match="point 12 has no such vector"):
        sink.append(PointBatch(IDS, {"a": VectorColumn(VALUES[:4], np.arange(4))}, None))
    sink.abandon()
    assert not path.exists()


@pytest.mark.parametrize(("extension", "value"), [(".bvecs", 0.5), (".bvecs", 256), (".ivecs", 0.25)])
def test_integer_files_refuse_values_they_cannot_hold(tmp_path: Path, extension: str, value: float) -> None:
    sink = open_sink(tmp_path / f"points{extension}", {UNNAMED: VectorShape(1)})
    with pytest.raises(FileError, match="export to fvecs"):
        sink.append(PointBatch([1], {UNNAMED: VectorColumn(np.array([[value]], np.float32))}))
    sink.abandon()


def test_npy_ids_are_positions_without_a_sidecar(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", VALUES.astype(np.float16))
    source = open_source(tmp_path / "m.npy", ReadOptions())
    assert source.vectors[UNNAMED].datatype == Datatype.FLOAT16 and source.notes == ()
    ids, values, payloads = read(source, 1)
    assert ids == [1, 2, 3, 4] and np.array_equal(values, VALUES[1:]) and payloads == [None] * 4


def test_npz_and_jsonl_sidecars_are_merged(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", VALUES)
    np.savez(
        tmp_path / "m_payload.npz",
        year=np.arange(2000, 2005, dtype=np.int16), key=np.array([9, 8, 7, 6, 5]),
        tags_offsets=np.array([0, 1, 1, 3, 3, 4]), tags_flat=np.array(["a", "b", "c", "d"]),
    )  # fmt: skip
    (tmp_path / "titles.jsonl").write_bytes(b"".join(b'{"title": "t%d"}\n' % i for i in range(5)))
    found = open_source(tmp_path / "m.npy", ReadOptions())
    assert found.notes == ("payload from m_payload.npz",)
    files = (tmp_path / "m_payload.npz", tmp_path / "titles.jsonl")
    ids, _, payloads = read(open_source(tmp_path / "m.npy", ReadOptions("key", None, files)), 2)
    assert ids == [7, 6, 5]
    assert payloads[0] == {"year": 2002, "tags": ["b", "c"], "title": "t2"}
    ids, _, payloads = read(open_source(tmp_path / "m.npy", ReadOptions(payload_files=())))
    assert ids == [0, 1, 2, 3, 4] and payloads == [None] * 5


def test_foreign_parquet_columns_become_payload(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "key": ["5", "0191d6a5-7c4b-7000-8000-0123456789ab", "6"],
            "emb": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            "when": pa.array([0, None, 1_000_000], pa.timestamp("us")),
            "nested": [{"x": [1]}, None, {"x": []}],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    source = open_source(tmp_path / "t.parquet", ReadOptions("key", "emb"))
    ids, values, payloads = read(source)
    assert ids == [5, IDS[2], 6] and values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert payloads[0] == {"when": "1970-01-01T00:00:00", "nested": {"x": [1]}} and payloads[1] is None
    with pytest.raises(FileError, match=r"--vector-column.*it has: key, emb, when, nested"):
        open_source(tmp_path / "t.parquet", ReadOptions())


def test_ann_benchmarks_layout(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["train"] = VALUES
        file["test"] = VALUES[:2]
        file["neighbors"] = np.zeros((2, 1), np.int32)
        file.attrs["distance"] = "angular"
    source = open_source(tmp_path / "a.hdf5", ReadOptions())
    assert source.vectors[UNNAMED].distance == Distance.COSINE
    assert read(source)[0] == [0, 1, 2, 3, 4]
    assert open_source(tmp_path / "a.hdf5", ReadOptions(vector_column="test")).count == 2
    with pytest.raises(FileError, match="no data set 'x'; it has: neighbors, test, train"):
        open_source(tmp_path / "a.hdf5", ReadOptions(vector_column="x"))


ONE = b'{"id": 1, "vector": [1]}\n'


def fvecs(*sizes: int) -> bytes:
    return b"".join(struct.pack(f"<i{size}f", size, *range(size)) for size in sizes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fvecs", fvecs(3, 3)[:-5], "1 vectors of 3 dimensions end at byte 16, then 11 bytes follow"),
        ("a.fvecs", fvecs(3, 3) + struct.pack("<i3f", 4, 0, 0, 0), "vector 2, at byte 32: claims 4 dim"),
        ("a.fvecs", struct.pack("<i", -5), "claims -5 dimensions"),
        ("a.fvecs", b"", "no vector in it"),
        ("a.fvecs", fvecs(2) + struct.pack("<i2f", 2, 1, float("nan")), "row 1, dimension 1: nan"),
        ("a.npy", b"\x93NUMPY\x01\x00", "not a complete npy file"),
        ("a.npy", b"PK\x03\x04", "not a complete npy file"),
        ("a.hdf5", b"nothing", "not a readable HDF5 file"),
        ("a.parquet", b"PAR1nothing", "not a readable parquet file"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b'{"id": 1}\n', "no 'vector'"),
        ("a.jsonl", ONE + b'{"id": 2, "vector": [1, 2]}\n', "line 2: .* 2 dimensions instead of 1"),
        ("a.jsonl", ONE + b"nope\n", "line 2: not JSON"),
        ("a.jsonl", ONE + b'{"vector": [1]}\n', "line 2: value None is not a valid point ID"),
        ("a.jsonl", ONE + b'{"id": 2, "vector": ["x"]}\n', "line 2: .* not all numbers"),
        ("a.jsonl", b'{"id": -1, "vector": [1]}\n', "line 1: value -1 is not a valid point ID"),
        ("a.csv", b"1,2", "unknown extension '.csv'; known: .npy"),
    ],
)
def test_damaged_files_say_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        list(open_source(tmp_path / name, ReadOptions()).batches(0, 10))
    assert str(tmp_path / name) in str(caught.value)


def test_truncated_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-3])
    with pytest.raises(FileError, match="not a complete npy file"):
        open_source(tmp_path / "a.npy", ReadOptions())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.payload.jsonl", b"{}\n", "has 1 lines for 5 vectors"),
        ("m.points.jsonl", b'{"id": 1}\n' * 4 + b'{"id": "x"}', "line 5: value 'x' is not a valid point ID"),
        ("m.payload.jsonl", b"{}\n{}\n{}\n[]\n{}\n", "line 4: expected a JSON object"),
        ("m_payload.npz", b"nothing", "not a readable npz archive"),
    ],
)
def test_damaged_sidecars_say_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    np.save(tmp_path / "m.npy", VALUES)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message):
        list(open_source(tmp_path / "m.npy", ReadOptions()).batches(0, 10))


def test_missing_files_and_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="no such file"):
        open_source(tmp_path / "none.npy", ReadOptions())
    with pytest.raises(FileError, match="is a directory"):
        open_source(tmp_path, ReadOptions())
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FileError, match=r"needs pyarrow; run: pip install 'nearfield\[io\]'"):
        open_source(tmp_path / "a.parquet", ReadOptions())
