"""Words that must not be committed: unfinished work, paths of one machine, registry hosts, conflict marks."""

import re
from pathlib import Path

from tests.helpers.checkout import ROOT, files
from tests.tidy.rules import check

# This file has to spell what it forbids.
SELF = Path(__file__).resolve().relative_to(ROOT)

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP|NotImplementedError|NotImplemented)\b")
MACHINE = re.compile(r"(?<![\w.}>])(/(work|home|root|Users)/|/tmp/\w)|file:///|\b[A-Z]:\\\\")
HOSTS = re.compile(
    r"pypi\.(org|python)|pythonhosted\.org|deb\.debian\.org|registry\.npmjs|anaconda\.org|crates\.io"
    r"|(index|extra-index)-url|find-links|trusted-host"
)
CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)")
RULES = {"unfinished": UNFINISHED, "machine-path": MACHINE, "registry-host": HOSTS, "conflict-mark": CONFLICT}


def _lines(path: Path) -> list[str]:
    try:
        return (ROOT / path).read_text().splitlines()
    except UnicodeDecodeError:
        return []


def test_forbidden_words() -> None:
    found: dict[str, dict[str, str]] = {rule: {} for rule in RULES}
    for path in files():
        if path == SELF:
            continue
        for number, line in enumerate(_lines(path), 1):
            for rule, pattern in RULES.items():
                if match := pattern.search(line):
                    found[rule][f"{path}:{number}"] = f"{match.group()!r} in: {line.strip()}"
    for rule, broken in found.items():
        check(rule, broken)


def test_the_patterns_find_what_they_are_for() -> None:
    assert UNFINISHED.search("x = 1  # TODO later") and not UNFINISHED.search("a mastodon")
    for line in ('open("/home/me/x")', "/tmp/x", "cd /root/x"):
        assert MACHINE.search(line)
    assert not MACHINE.search("<data>/root/x") and not MACHINE.search("tmpfs: [/tmp]")
    assert HOSTS.search("https://pypi.org/simple") and not HOSTS.search("pypi")
    assert CONFLICT.search("<<<<<<< HEAD") and not CONFLICT.search("==========")


def test_no_binaries_are_committed() -> None:
    """A test's golden directories may be binary; everything else is source."""
    binary = {}
    for path in files():
        if b"\0" in (ROOT / path).read_bytes()[:8192]:
            binary[str(path)] = "is a binary file"
    check("binary-file", binary)
