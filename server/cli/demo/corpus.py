"""The demo's documents: the documentation strings of the Python standard library that runs it.

Sources are parsed, never imported (some modules print, open windows or browse when imported); only modules
compiled into C, which have no source, are imported for their documentation.
"""

import ast
import importlib
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec
from pathlib import Path

TEXT_CHARS_MIN = 12
"""Shorter documentation says too little to be searched for."""

LEFT_OUT = frozenset(
    {
        "antigravity",
        "distutils",
        "encodings",
        "idlelib",
        "lib2to3",
        "ntpath",
        "readline",
        "test",
        "this",
        "turtledemo",
    }
)
"""Jokes, tables, applications and tests; and `readline`, whose import talks to the terminal."""

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

PUBLIC_NAME = {"posix": "os", "posixpath": "os.path"}
"""Modules that users know under another name."""


@dataclass(frozen=True)
class Document:
    """One documented thing of the standard library.

    Args:
        module: dotted name of its module.
        name: qualified name inside the module; empty for the module itself.
        kind: `module`, `class`, `function` or `method`.
        text: its whole documentation.
    """

    module: str
    name: str
    kind: str
    text: str

    @property
    def title(self) -> str:
        """Dotted name, as one would write it in code."""
        if self.module == "builtins" and self.name:
            return self.name
        return f"{self.module}.{self.name}" if self.name else self.module

    @property
    def summary(self) -> str:
        """First sentence of the documentation, on one line (a leading signature is skipped)."""
        own_name = self.name.rpartition(".")[2]
        paragraphs = [" ".join(part.split()) for part in self.text.split("\n\n") if part.strip()]
        said = [part for part in paragraphs if not (own_name and part.startswith(f"{own_name}("))]
        return (said or paragraphs)[0].partition(". ")[0].replace("``", "`")


def module_names() -> list[str]:
    """Top-level modules of the standard library that are worth reading, sorted."""
    public = {name for name in sys.stdlib_module_names - LEFT_OUT if not name.startswith("_")}
    twins = {name for name in sys.stdlib_module_names if _public_twin(name)}
    return sorted(public | twins | set(sys.builtin_module_names))


def read_corpus(on_module: Callable[[str], None] = lambda name: None) -> list[Document]:
    """Every documented public module, class, function and method, in a fixed order, each title once.

    Args:
        on_module: called with a top-level module's name after it was read.
    """
    documents: dict[str, Document] = {}
    for name in module_names():
        for document in _read_module(name):
            documents.setdefault(document.title, document)
        on_module(name)
    return list(documents.values())


def _public_twin(name: str) -> str | None:
    """The public module that a pure Python twin such as `_pydatetime` documents, if `name` is one."""
    twin = name.removeprefix("_py")
    return twin if name.startswith("_py") and twin in sys.stdlib_module_names else None


def _read_module(name: str) -> Iterator[Document]:
    library = Path(sysconfig.get_path("stdlib"))
    if (library / f"{name}.py").is_file():
        yield from _parse_source(library / f"{name}.py", _public_twin(name) or PUBLIC_NAME.get(name, name))
    elif (library / name / "__init__.py").is_file():
        for path in sorted((library / name).rglob("*.py")):
            parts = path.relative_to(library).with_suffix("").parts
            if not any(part.startswith(("_", "test", "idle_test")) and part != "__init__" for part in parts):
                yield from _parse_source(path, ".".join(parts).removesuffix(".__init__"))
    else:
        yield from _read_compiled(name)


def _parse_source(path: Path, module: str) -> Iterator[Document]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    text = ast.get_docstring(tree)
    if text and len(text) >= TEXT_CHARS_MIN:
        yield Document(module, "", "module", text)
    yield from _walk(tree, module, "", inside_class=False)


def _walk(parent: ast.AST, module: str, prefix: str, *, inside_class: bool) -> Iterator[Document]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, (ast.If, ast.Try)):
            yield from _walk(node, module, prefix, inside_class=inside_class)
        if not isinstance(node, DEFINITIONS) or node.name.startswith("_"):
            continue
        is_class = isinstance(node, ast.ClassDef)
        text = ast.get_docstring(node)
        if text and len(text) >= TEXT_CHARS_MIN:
            kind = "class" if is_class else "method" if inside_class else "function"
            yield Document(module, prefix + node.name, kind, text)
        if is_class:
            yield from _walk(node, module, f"{prefix}{node.name}.", inside_class=True)


def _read_compiled(name: str) -> Iterator[Document]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = name in sys.builtin_module_names or _is_extension(name)
            if not compiled:
                return
            module = importlib.import_module(name)
        except (ImportError, ValueError):
            return
        text = inspect.cleandoc(module.__doc__ or "")
        if not name.startswith("_") and len(text) >= TEXT_CHARS_MIN:
            yield Document(PUBLIC_NAME.get(name, name), "", "module", text)
        for member, value in _documented(module):
            # Private modules count for what they lend to public ones: `_collections.deque`, for example.
            home = str(getattr(value, "__module__", None) or "")
            home = PUBLIC_NAME.get(home, home)
            if home.partition(".")[0] not in sys.stdlib_module_names or home.startswith("_"):
                continue
            yield from _member(home, member, value)


def _is_extension(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and isinstance(spec.loader, ExtensionFileLoader)


def _member(module: str, name: str, value: object) -> Iterator[Document]:
    text = inspect.cleandoc(value.__doc__ or "")
    if len(text) >= TEXT_CHARS_MIN:
        yield Document(module, name, "class" if inspect.isclass(value) else "function", text)
    if inspect.isclass(value):
        for method, function in _documented(value):
            if not inspect.isclass(function):
                yield Document(module, f"{name}.{method}", "method", inspect.cleandoc(function.__doc__ or ""))


def _documented(owner: object) -> Iterator[tuple[str, object]]:
    for name, value in sorted(vars(owner).items()):
        if not name.startswith("_") and callable(value) and len(value.__doc__ or "") >= TEXT_CHARS_MIN:
            yield name, value
