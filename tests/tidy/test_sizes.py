"""Files and functions stay small enough to be read whole."""

import ast
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from tests.helpers.checkout import ROOT, files, package_files
from tests.tidy.rules import check

PYTHON_FILE_LINES_MAX = 500
PYTHON_FILE_LINES_AIM = 200
FUNCTION_LINES_MAX = 70
NATIVE_FILE_LINES_MAX = 600
NATIVE_LINE_CHARS_MAX = 110
NATIVE = (".cpp", ".h", ".inl")


def _lines(path: Path) -> int:
    return len((ROOT / path).read_text().splitlines())


def _too_long(paths: Iterable[Path], most: int) -> dict[str, str]:
    return {str(path): f"{_lines(path)} lines, at most {most}" for path in paths if _lines(path) > most}


def test_python_files() -> None:
    check("python-file-lines", _too_long(files(".py"), PYTHON_FILE_LINES_MAX))


def test_python_files_are_short_on_average() -> None:
    assert mean(_lines(path) for path in package_files()) <= PYTHON_FILE_LINES_AIM


def test_functions() -> None:
    broken = {}
    for path in files(".py"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    broken[f"{path}:{node.name}"] = f"{lines} lines, at most {FUNCTION_LINES_MAX}"
    check("function-lines", broken)


def test_native_files() -> None:
    check("native-file-lines", _too_long(files(*NATIVE), NATIVE_FILE_LINES_MAX))


def test_native_line_length() -> None:
    broken = {}
    for path in files(*NATIVE):
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            if len(line) > NATIVE_LINE_CHARS_MAX:
                broken[f"{path}:{number}"] = f"{len(line)} characters, at most {NATIVE_LINE_CHARS_MAX}"
    check("native-line-chars", broken)
