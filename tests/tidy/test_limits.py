"""Every limit of the engine is named with its unit, is a plain number, and is used."""

import ast
import re

from tests.helpers.checkout import ROOT, package_files
from tests.tidy.rules import check

UNITS = set(
    "BYTES CHARS POINTS ROWS VECTORS DIMENSIONS SEGMENTS WRITES CONDITIONS VALUES KEYS QUERIES OPERATIONS "
    "THREADS FILES TRIES DEPTH SHARE SECONDS MS ID LIMIT BATCH".split()
)
LIMITS = ROOT / "engine" / "limits.py"


def _names() -> list[str]:
    tree = ast.parse(LIMITS.read_text())
    targets = [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_units() -> None:
    names = _names()
    assert names
    check("limit-unit", {name: "no unit in the name" for name in names if not UNITS & set(name.split("_"))})


def test_every_limit_is_enforced_somewhere() -> None:
    code = "\n".join((ROOT / path).read_text() for path in package_files() if ROOT / path != LIMITS)
    check("limit-used", {name: "is used nowhere" for name in _names() if not re.search(rf"\b{name}\b", code)})
