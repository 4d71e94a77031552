"""How text conditions split strings into words."""

import re

_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Runs of letters and digits, in order, in lower case."""
    if text.isascii():
        return _WORD.findall(text.lower())
    # Other letters may turn into several characters, which must not split a word.
    return [word.lower() for word in _WORD.findall(text)]


def has_phrase(text: list[str], phrase: list[str]) -> bool:
    """Whether the words of a phrase stand one after the other in a text; an empty phrase never does."""
    length = len(phrase)
    return length > 0 and any(text[i : i + length] == phrase for i in range(len(text) - length + 1))
