"""Every library the packages import is declared, and every declared one is imported."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import Any

from tests.helpers.checkout import ROOT, package_files
from tests.tidy.rules import check


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _names(requirements: list[str]) -> set[str]:
    return {_canonical(re.split(r"[<>=~!;\[ ]", requirement)[0]) for requirement in requirements}


def _canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imported(everywhere: bool) -> dict[str, str]:
    """Distribution -> a file that imports it; unless `everywhere`, only imports at the top of a module.

    What is not declared goes by its import name, whether it is installed here or not.
    """
    installed, project = packages_distributions(), _project()
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    declared = _names(project["dependencies"]) | _names(extras)
    found: dict[str, str] = {}
    for path in package_files():
        tree = ast.parse((ROOT / path).read_text())
        for node in ast.walk(tree) if everywhere else tree.body:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"nearfield"}:
                named = {_canonical(name) for name in installed.get(top, [])} & declared
                found[min(named, default=_canonical(top))] = str(path)
    return found


def test_what_is_imported_is_declared() -> None:
    project = _project()
    required, offered = _names(project["dependencies"]), _names(project["optional-dependencies"]["io"])
    missing = {
        name: f"imported by {path}"
        for name, path in _imported(everywhere=False).items()
        if name not in required
    }
    lazily = {
        name: path for name, path in _imported(everywhere=True).items() if name not in required | offered
    }
    check("undeclared-dependency", missing | {name: f"imported by {path}" for name, path in lazily.items()})


def test_what_is_declared_is_imported() -> None:
    """uvicorn loads two of its engines by name."""
    used = {*_imported(everywhere=True), "uvloop", "httptools"}
    check(
        "unused-dependency", {name: "is not imported" for name in _names(_project()["dependencies"]) - used}
    )
