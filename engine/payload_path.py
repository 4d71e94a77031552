"""Paths into JSON payloads: `a.b` keys, `a[2]` elements, `a[]` every element, `"any key"` in quotes."""

import re
from functools import lru_cache
from typing import Any

from nearfield.engine.errors import InvalidRequest

Step = str | int | None
"""One step down: a key of an object, an index into an array, or None for every element of an array."""

Path = tuple[Step, ...]

_KEY = re.compile(r'"(?P<quoted>[^"]*)"|(?P<plain>[\w-]+)')
_BRACKETS = re.compile(r"\[(?P<index>[0-9]*)\]")


@lru_cache(maxsize=4096)
def parse_path(key: str) -> Path:
    """The steps of a dotted key, such as `("a", None, "b")` for `a[].b`.

    Raises:
        InvalidRequest: not a path; `error.path` is left to the caller, who knows where the key stood.
    """
    steps: list[Step] = []
    position = 0
    while True:
        found = _KEY.match(key, position)
        if found is None:
            break
        steps.append(found["plain"] if found["quoted"] is None else found["quoted"])
        position = found.end()
        while brackets := _BRACKETS.match(key, position):
            steps.append(int(brackets["index"]) if brackets["index"] else None)
            position = brackets.end()
        if position == len(key):
            return tuple(steps)
        if key[position] != ".":
            break
        position += 1
    raise InvalidRequest(
        f'expected a payload key such as `a.b`, `a[].b`, `a[0]` or `"a key".b`, got {key[:80]!r}'
    )


def values_at(payload: object, path: Path) -> list[Any]:
    """All values a path leads to, in order; empty when it leads nowhere. An array is one value."""
    found = [payload]
    for step in path:
        if isinstance(step, str):
            found = [value[step] for value in found if isinstance(value, dict) and step in value]
        elif step is None:
            found = [element for value in found if isinstance(value, list) for element in value]
        else:
            found = [value[step] for value in found if isinstance(value, list) and step < len(value)]
    return found


def flat_values_at(payload: object, path: Path) -> list[Any]:
    """Like `values_at`, with each array replaced by its elements (one level)."""
    flat: list[Any] = []
    for value in values_at(payload, path):
        if isinstance(value, list):
            flat.extend(value)
        else:
            flat.append(value)
    return flat
