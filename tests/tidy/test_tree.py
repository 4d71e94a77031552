"""The folder tree says what the architecture says."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

from tests.helpers.checkout import PACKAGES, ROOT, files, module_name, package_files
from tests.tidy.rules import check

TOP_LEVEL = {*PACKAGES, "tests", "pyproject.toml", "Dockerfile", "README.md", "LICENSE"}
TOP_LEVEL_DOTFILES = {".ci", ".dockerignore", ".gitignore", ".gitattributes"}


def test_top_level_is_fixed() -> None:
    there = {path.parts[0] for path in files()}
    assert not there - TOP_LEVEL - TOP_LEVEL_DOTFILES, "not in the plan"
    assert not TOP_LEVEL - there, "missing"


def test_every_package_declares_itself() -> None:
    folders = {path.parent for path in package_files()}
    bare = [folder for folder in folders if not (ROOT / folder / "__init__.py").exists()]
    missing = {str(folder): "has no __init__.py" for folder in bare}
    missing |= {name: "has no py.typed" for name in PACKAGES if not (ROOT / name / "py.typed").exists()}
    check("package", missing)


def _imports(source: str) -> set[str]:
    """Full names a module imports, both `a.b` and `a.b.c` for `from a.b import c`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _lazily_imported(path: Path) -> set[str]:
    """What a file names in strings, to import it when first needed: in full, or below its own package."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    names = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return names | {f"{module_name(path)}.{name}" for name in names}


def _targets() -> set[str]:
    """What pyproject.toml names as commands and plug-ins: `module:object`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project.get("scripts", {}), *project.get("entry-points", {}).values()]
    return {target for group in groups for target in group.values()}


def test_no_dead_modules() -> None:
    """Every module of the packages is imported by another one, is an entry point, or is a program."""
    imported = {target.split(":")[0] for target in _targets()}
    for path in package_files():
        imported |= _imports((ROOT / path).read_text()) - {module_name(path)}
        imported |= _lazily_imported(path)
    roots = {f"nearfield.{package}" for package in PACKAGES}
    dead = {
        str(path): "no module imports it and pyproject.toml does not name it"
        for path in package_files()
        if path.name not in ("__init__.py", "__main__.py") and module_name(path) not in imported | roots
        if '__name__ == "__main__"' not in (ROOT / path).read_text()
    }
    check("dead-module", dead)


def test_no_dead_definitions() -> None:
    """Every public function and class is named by other code, or offered by a document.

    A decorated one (a route, a command) is reached through its decorator.
    """
    sources = [(ROOT / path).read_text() for path in (*package_files(), *files(".md"))]
    mentions = Counter(word for source in sources for word in re.findall(r"\w+", source))
    dead = {}
    for path in package_files():
        for node in ast.parse((ROOT / path).read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            decorated = bool(node.decorator_list) and not isinstance(node, ast.ClassDef)
            named = decorated or mentions[node.name] > 1 or f"{module_name(path)}:{node.name}" in _targets()
            if not named:
                dead[f"{path}:{node.name}"] = "no other code and no document names it"
    check("dead-definition", dead)


def test_test_files_are_collected() -> None:
    """A test in a file that pytest does not collect passes for ever."""
    hidden = {}
    for path in files(".py"):
        if path.parts[0] == "tests" and not path.name.startswith("test_"):
            tree = ast.parse((ROOT / path).read_text())
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                    hidden[f"{path}:{node.name}"] = "is a test in a file whose name does not begin with test_"
    check("hidden-test", hidden)
