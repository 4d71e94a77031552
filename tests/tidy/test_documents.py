"""Documents hold what they promise: links lead somewhere, records have their parts, README two commands."""

import re
from pathlib import Path

from tests.helpers.checkout import ROOT, files
from tests.tidy.rules import check

FIRST = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/nearfield demo"
SECOND = "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest"
DECISIONS = ROOT / "engine" / "decisions"
RECORD_PARTS = ("## Context", "## Options", "## Numbers", "## Choice")


def test_readme_begins_with_the_two_commands() -> None:
    commands = re.findall(r"^python3 .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == [FIRST, SECOND]


def test_links_lead_somewhere() -> None:
    broken = {}
    for path in files(".md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / path).read_text()):
            if "://" not in target and not (ROOT / path.parent / target).exists():
                broken[f"{path}:{target}"] = "no such file"
    check("dead-link", broken)


def test_decision_records() -> None:
    records = sorted(DECISIONS.glob("*.md"))
    numbers = [int(record.name[:4]) for record in records]
    assert numbers == list(range(1, len(records) + 1)), f"numbers are consecutive from 0001: {numbers}"
    missing = {}
    for record in records:
        for part in RECORD_PARTS:
            if f"\n{part}\n" not in record.read_text():
                missing[f"{record.name}:{part}"] = "the record lacks this part"
    check("decision-part", missing)


def test_code_that_documents_name_exists() -> None:
    """Paths in backquotes that begin with a folder of the tree are real."""
    broken = {}
    for path in files(".md"):
        text = (ROOT / path).read_text()
        for name in re.findall(r"`((?:engine|server|index_builders|bench|tests)/[\w./]+)`", text):
            if not (ROOT / Path(name)).exists():
                broken[f"{path}:{name}"] = "no such file"
    check("dead-path", broken)
