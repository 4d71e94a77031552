"""Databases: collections and aliases, the lock, reopening, leftovers of a crash."""

import subprocess
import sys
from pathlib import Path

import pytest

from nearfield.engine import (
    CollectionSchema,
    CreateAlias,
    Database,
    DeleteAlias,
    Distance,
    RenameAlias,
    VectorSpec,
)
from nearfield.engine.errors import (
    Conflict,
    DirectoryLocked,
    InvalidRequest,
    NotFound,
    StorageError,
    Unprocessable,
)
from tests.helpers.points import PATIENT, batch, schema


def test_collections_and_aliases_survive_reopening(tmp_path: Path) -> None:
    with Database.open(tmp_path / "a" / "b", config=PATIENT) as database:
        assert database.collections() == []
        for name in ("books", "films"):
            database.create_collection(name, schema()).upsert(batch([len(name)]))
        database.update_aliases([CreateAlias("books", "now"), CreateAlias("films", "later")])
        database.update_aliases([RenameAlias("later", "soon"), CreateAlias("films", "now")])
        assert database.collection("now").name == "films"
    with Database.open(tmp_path / "a" / "b", config=PATIENT) as database:
        assert database.collections() == ["books", "films"]
        assert database.aliases() == {"now": "films", "soon": "films"}
        assert database.collection("soon").count() == 1
        database.update_aliases([DeleteAlias("soon")])
        with pytest.raises(NotFound, match="Collection `soon` doesn't exist!"):
            database.collection("soon")


def test_names_are_unique_and_checked(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        database.create_collection("books", schema())
        database.update_aliases([CreateAlias("books", "now")])
        with pytest.raises(Conflict, match="Collection `books` already exists!"):
            database.create_collection("books", schema())
        with pytest.raises(Conflict, match="alias of that name already exists"):
            database.create_collection("now", schema())
        for bad in ("", "x" * 256, "a/b", "a\0"):
            with pytest.raises(Unprocessable, match="collection name"):
                database.create_collection(bad, schema())
        with pytest.raises(Unprocessable, match="collection name"):
            database.update_aliases([CreateAlias("books", "a/b")])
        with pytest.raises(InvalidRequest, match="index kind must be one of"):
            database.create_collection("magic", schema(index="magic"))
        with pytest.raises(Unprocessable, match="at most 64 vectors"):
            many = {str(number): VectorSpec(2, Distance.DOT) for number in range(65)}
            database.create_collection("many", CollectionSchema(many))
        assert database.collections() == ["books"]
        assert len(list((tmp_path / "collections").iterdir())) == 1


def test_deleting_removes_data_and_aliases(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        books = database.create_collection("books", schema())
        books.upsert(batch(range(10)))
        database.update_aliases([CreateAlias("books", "now")])
        assert database.delete_collection("books")
        assert not database.delete_collection("books")
        assert database.aliases() == {}
        assert list((tmp_path / "collections").iterdir()) == []
        assert database.create_collection("books", schema()).count() == 0


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=PATIENT):
        script = "import sys; from nearfield.engine import Database; Database.open(sys.argv[1])"
        run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
        assert run.returncode != 0
        assert "DirectoryLocked" in run.stderr
        assert "is in use by process" in run.stderr
        with pytest.raises(DirectoryLocked):
            Database.open(tmp_path, config=PATIENT)
    Database.open(tmp_path, config=PATIENT).close()


def test_a_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot use"):
        Database.open(tmp_path / "file" / "data")


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    database = Database.open(tmp_path, config=PATIENT)
    database.close()
    database.close()


def test_leftovers_of_a_crash_are_removed(tmp_path: Path) -> None:
    with Database.open(tmp_path, config=PATIENT) as database:
        database.create_collection("books", schema()).upsert(batch(range(10)))
        [directory] = (tmp_path / "collections").iterdir()
    (tmp_path / "collections" / "never-registered").mkdir()
    for name in ("0123abc", "0123abc.tmp"):
        (directory / "segments" / name).mkdir(parents=True)
        (directory / "segments" / name / "vectors.nfs").write_bytes(b"half")
    with Database.open(tmp_path, config=PATIENT) as database:
        assert database.collection("books").count() == 10
        assert list((tmp_path / "collections").iterdir()) == [directory]
        assert list((directory / "segments").iterdir()) == []
