"""The exemption list, and the one way in which a tidy rule reports what breaks it."""

from collections.abc import Mapping
from pathlib import Path

EXEMPTIONS = Path(__file__).with_name("exemptions.txt")


def exemptions(rule: str) -> dict[str, str]:
    """Subjects excused from one rule, each with its reason."""
    excused = {}
    for line in EXEMPTIONS.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split(maxsplit=2)
        assert len(fields) == 3, f"an exemption is RULE SUBJECT REASON, got: {line}"
        if fields[0] == rule:
            excused[fields[1]] = fields[2]
    return excused


def check(rule: str, broken: Mapping[str, str]) -> None:
    """Fail unless every broken subject is exempt and every exemption is needed.

    Args:
        rule: the word the rule has in `exemptions.txt`.
        broken: what is wrong, by subject (a path, or `path:name`).
    """
    excused = exemptions(rule)
    findings = [f"{subject}: {why}" for subject, why in sorted(broken.items()) if subject not in excused]
    stale = [f"{subject}: exempt from {rule} without need" for subject in excused if subject not in broken]
    assert not findings + stale, "\n" + "\n".join(findings + stale)
