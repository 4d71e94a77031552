import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from nearfield.engine.errors import Corrupted
from nearfield.engine.storage.checksum import BLOCK_BYTES, crc32c
from nearfield.engine.storage.segment_files import ALIGNMENT, SectionFile, SectionFileWriter


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sections"
    rows = np.arange(7, dtype=np.int64)
    vectors = np.arange(7 * 3, dtype=np.float32).reshape(7, 3)
    with SectionFileWriter(path) as out:
        out.add("rows", rows.dtype, rows.shape, [rows[:2], rows[2:]])
        out.add("vectors", vectors.dtype, vectors.shape, [vectors])
        out.add("none", vectors.dtype, (0, 3), [])
    return path


def read_everything(path: Path) -> dict[str, bytes]:
    return {name: section.array().tobytes() for name, section in SectionFile(path).sections.items()}


def test_crc32c_is_the_standard_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"56789", crc32c(b"1234")) == 0xE3069283


def test_sections_come_back_aligned(file: Path) -> None:
    opened = SectionFile(file)
    assert opened.section("rows").array().tolist() == list(range(7))
    vectors = opened.section("vectors").array()
    assert vectors.shape == (7, 3)
    assert vectors.ctypes.data % ALIGNMENT == 0
    assert not vectors.flags.writeable
    assert opened.section("none").array().shape == (0, 3)
    assert opened.section("vectors").take(np.array([5, 0])).tolist() == [[15, 16, 17], [0, 1, 2]]
    with pytest.raises(Corrupted, match="'other' is missing"):
        opened.section("other")


def test_every_flipped_bit_is_noticed_or_harmless(file: Path) -> None:
    good, before = file.read_bytes(), read_everything(file)
    noticed = 0
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        try:
            after = read_everything(file)
        except Corrupted:
            noticed += 1
        else:
            # Only the zeros that align sections are covered by no checksum.
            assert after == before
            assert good[position] == 0
    assert noticed > len(good) * 0.6


def test_every_truncation_is_noticed(file: Path) -> None:
    good = file.read_bytes()
    for length in range(len(good)):
        file.write_bytes(good[:length])
        with pytest.raises(Corrupted):
            SectionFile(file)


def test_missing_file_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Corrupted, match="missing"):
        SectionFile(tmp_path / "nothing")


def test_an_error_while_writing_leaves_no_valid_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), SectionFileWriter(tmp_path / "half") as out:
        out.add("rows", np.dtype(np.int64), (1,), [np.zeros(1, dtype=np.int64)])
        raise ZeroDivisionError
    with pytest.raises(Corrupted):
        SectionFile(tmp_path / "half")


def test_only_the_blocks_that_are_read_are_verified(tmp_path: Path) -> None:
    path = tmp_path / "large"
    row_bytes = 1000 * 4
    rows = np.random.default_rng(0).random((3 * BLOCK_BYTES // row_bytes, 1000), dtype=np.float32)
    with SectionFileWriter(path) as out:
        out.add("vectors", rows.dtype, rows.shape, np.array_split(rows, 5))
    damaged_row = 2 * BLOCK_BYTES // row_bytes + 16
    section = SectionFile(path).section("vectors")
    assert np.array_equal(section.take(np.array([0, damaged_row])), rows[[0, damaged_row]])
    shutil.copy(path, tmp_path / "damaged")
    with (tmp_path / "damaged").open("r+b") as target:
        target.seek(64 + damaged_row * row_bytes)
        target.write(b"\xff\xff")
    section = SectionFile(tmp_path / "damaged").section("vectors")
    assert np.array_equal(section.take(np.array([3, 1])), rows[[3, 1]])
    with pytest.raises(Corrupted, match="fail their checksum"):
        section.take(np.array([damaged_row]))
    with pytest.raises(Corrupted, match="fail their checksum"):
        section.array()


def test_rows_longer_than_a_block_have_larger_blocks(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).random((5, BLOCK_BYTES // 4 + 1), dtype=np.float32)
    with SectionFileWriter(tmp_path / "long") as out:
        out.add("vectors", rows.dtype, rows.shape, [rows])
    section = SectionFile(tmp_path / "long").section("vectors")
    assert section._entry.block == 2 * BLOCK_BYTES
    assert np.array_equal(section.take(np.array([4, 0])), rows[[4, 0]])
    assert not section.verified
    assert np.array_equal(section.array(), rows)
    assert section.verified


def test_what_is_confirmed_is_verified_and_nothing_else(tmp_path: Path) -> None:
    rows = np.zeros((4 * BLOCK_BYTES // 1024, 256), dtype=np.float32)
    with SectionFileWriter(tmp_path / "rows") as out:
        out.add("vectors", rows.dtype, rows.shape, [rows])
    with (tmp_path / "rows").open("r+b") as target:
        target.seek(64 + 3 * BLOCK_BYTES + 5)
        target.write(b"\x01")
    section = SectionFile(tmp_path / "rows").section("vectors")
    assert section.unread().shape == rows.shape
    section.verify_rows(np.array([0, 7, 300]))
    with pytest.raises(Corrupted, match="fail their checksum"):
        section.verify_rows(np.array([0, len(rows) - 1]))
    with pytest.raises(Corrupted, match="fail their checksum"):
        section.verify()
    section = SectionFile(tmp_path / "rows").section("vectors")
    section.verify(lambda: True)  # cancelled before it met the damage
    assert not section.verified


def test_files_of_version_1_are_read(tmp_path: Path) -> None:
    """They have no block size in their table: it was 1 MiB."""
    rows = np.random.default_rng(2).random((700, 600), dtype=np.float32)
    raw = rows.tobytes()
    checksums = [crc32c(raw[start : start + 2**20]) for start in range(0, len(raw), 2**20)]
    entry = {"name": "vectors", "dtype": "<f4", "shape": [700, 600], "offset": 64, "length": len(raw)}
    table = json.dumps([{**entry, "checksums": checksums}]).encode()

    def write(name: str, version: int, content: bytes) -> Path:
        offset = 64 + len(content)
        fields = (b"NFSECTNS", version, 0, offset, len(table), offset + len(table), crc32c(table), bytes(16))
        head = struct.pack("<8sIIQQQI16s", *fields)
        path = tmp_path / name
        path.write_bytes(head + struct.pack("<I", crc32c(head)) + content + table)
        return path

    section = SectionFile(write("one", 1, raw)).section("vectors")
    assert np.array_equal(section.take(np.array([3, 699])), rows[[3, 699]])
    assert np.array_equal(section.array(), rows)
    damaged = bytearray(raw)
    damaged[2**20 + 7] ^= 1
    with pytest.raises(Corrupted, match="bytes 1048576 and up fail their checksum"):
        SectionFile(write("damaged", 1, bytes(damaged))).section("vectors").verify()
    with pytest.raises(Corrupted, match="format version 3; this program reads versions 1 and 2"):
        SectionFile(write("new", 3, raw))
