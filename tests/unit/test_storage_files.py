import errno
import subprocess
import sys
from pathlib import Path

import pytest

from nearfield.engine import CreateAlias, DeleteAlias, RenameAlias
from nearfield.engine.errors import Conflict, DirectoryLocked, NotFound, OutOfSpace
from nearfield.engine.storage import durable
from nearfield.engine.storage.catalog import Catalog
from nearfield.engine.storage.directory_lock import DirectoryLock


def test_a_new_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with durable.new_directory(tmp_path / "whole") as temporary:
        (temporary / "file").write_bytes(b"x")
        assert not (tmp_path / "whole").exists()
    assert (tmp_path / "whole" / "file").read_bytes() == b"x"
    with pytest.raises(ZeroDivisionError), durable.new_directory(tmp_path / "none") as temporary:
        (temporary / "file").write_bytes(b"x")
        raise ZeroDivisionError
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["whole"]


def test_a_full_disk_has_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(OutOfSpace, match="no space left"), durable.new_directory(tmp_path / "none"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_second_lock_names_the_holder(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    script = (
        "import sys; from pathlib import Path; from nearfield.engine.errors import DirectoryLocked\n"
        "from nearfield.engine.storage.directory_lock import DirectoryLock\n"
        "try: DirectoryLock(Path(sys.argv[1]))\n"
        "except DirectoryLocked as error: print(error)\n"
    )
    run = [sys.executable, "-c", script, str(tmp_path)]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert f"in use by process {(tmp_path / 'LOCK').read_text().strip()}" in said
    with pytest.raises(DirectoryLocked):
        DirectoryLock(tmp_path)
    lock.release()
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == ""
    DirectoryLock(tmp_path).release()


def test_catalog_keeps_collections_and_aliases(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add("books", "d1")
    catalog.add("films", "d2")
    catalog.update_aliases([CreateAlias("books", "current"), CreateAlias("books", "spare")])
    catalog.update_aliases(
        [CreateAlias("films", "current"), RenameAlias("spare", "other"), DeleteAlias("unknown")]
    )
    with pytest.raises(Conflict, match="already exists"):
        catalog.require_free("books")
    with pytest.raises(Conflict, match="alias of that name already exists"):
        catalog.require_free("current")
    catalog.close()
    catalog = Catalog(tmp_path / "catalog.db")
    assert catalog.collections == {"books": "d1", "films": "d2"}
    assert catalog.aliases == {"current": "films", "other": "books"}
    catalog.remove("books")
    assert catalog.aliases == {"current": "films"}
    catalog.close()


def test_alias_actions_apply_all_or_none(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog.db")
    catalog.add("books", "d1")
    with pytest.raises(NotFound, match="Collection `films` doesn't exist"):
        catalog.update_aliases([CreateAlias("books", "a"), CreateAlias("films", "b")])
    with pytest.raises(NotFound, match="Alias `x` does not exist"):
        catalog.update_aliases([CreateAlias("books", "a"), RenameAlias("x", "y")])
    with pytest.raises(Conflict, match="collection of that name"):
        catalog.update_aliases([CreateAlias("books", "a"), CreateAlias("books", "books")])
    assert catalog.aliases == {}
    catalog.close()
