"""The Dockerfile as stages of steps, and the settings a finished image keeps."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser
from dockerfile_parse.util import WordSplitter, extract_key_values

from tests.helpers.checkout import ROOT

DOCKERFILE = ROOT / "Dockerfile"
DOCKERIGNORE = ROOT / ".dockerignore"


@dataclass(frozen=True)
class Step:
    """One instruction: `RUN`, `COPY`, ... with its text, continuation lines joined."""

    instruction: str
    value: str
    line: int


@dataclass(frozen=True)
class Stage:
    """Everything between one FROM and the next."""

    name: str
    base: str
    steps: tuple[Step, ...]

    def values(self, instruction: str) -> list[str]:
        """Texts of every such instruction of this stage."""
        return [step.value for step in self.steps if step.instruction == instruction]


@dataclass
class ImageSettings:
    """What the instructions have said so far about how the image runs."""

    env: dict[str, str] = field(default_factory=dict)
    args: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def words(self, text: str) -> list[str]:
        """Split like Docker does, variables filled in."""
        return list(WordSplitter(text, args=self.args, envs=self.env).split())

    def apply(self, step: Step, build_args: dict[str, str]) -> None:
        """Take over one instruction that only sets something.

        Raises:
            ValueError: the instruction is not one of those known here.
        """
        match step.instruction:
            case "ENV":
                pairs = extract_key_values(
                    env_replace=True, args=self.args, envs=self.env, instruction_value=step.value
                )
                self.env.update(pairs)
            case "ARG":
                name, _, default = step.value.partition("=")
                self.args[name] = build_args.get(name, default)
            case "USER":
                (self.user,) = self.words(step.value)
            case "WORKDIR":
                self.workdir = str(Path(self.workdir, *self.words(step.value)))
            case "ENTRYPOINT":
                self.entrypoint = command(step.value)
            case "CMD":
                self.cmd = command(step.value)
            case "HEALTHCHECK":
                self.healthcheck = command(step.value.split("CMD", 1)[1])
            case "EXPOSE":
                self.ports += [int(word.partition("/")[0]) for word in self.words(step.value)]
            case "VOLUME":
                self.volumes += self.words(step.value)
            case "STOPSIGNAL":
                self.stop_signal = step.value
            case "LABEL":
                pass
            case _:
                raise ValueError(f"line {step.line + 1}: no rule for {step.instruction}")


def command(text: str) -> list[str]:
    """A command in exec form as it is, one in shell form through the shell."""
    text = text.strip()
    if text.startswith("["):
        words: Any = json.loads(text)
        return [str(word) for word in words]
    return ["/bin/sh", "-c", text]


def parse(path: Path = DOCKERFILE) -> list[Stage]:
    """Stages in the order they stand; one without a name is called by its number."""
    with path.open("rb") as file:
        structure = DockerfileParser(fileobj=file).structure
    stages: list[Stage] = []
    for entry in structure:
        if entry["instruction"] == "COMMENT":
            continue
        if entry["instruction"] == "FROM":
            words = entry["value"].split()
            name = words[2] if len(words) == 3 and words[1].upper() == "AS" else str(len(stages))
            stages.append(Stage(name, words[0], ()))
            continue
        step = Step(entry["instruction"], entry["value"], entry["startline"])
        stages[-1] = Stage(stages[-1].name, stages[-1].base, (*stages[-1].steps, step))
    return stages


def final_image() -> ImageSettings:
    """How the image that the last stage makes runs."""
    settings = ImageSettings()
    for step in parse()[-1].steps:
        if step.instruction not in ("RUN", "COPY"):
            settings.apply(step, {})
    return settings


def copy_arguments(words: list[str]) -> tuple[dict[str, str], list[str], str]:
    """Options, sources and destination of a COPY."""
    options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
    *sources, destination = [word for word in words if not word.startswith("--")]
    return options, sources, destination


def _ignore_pattern(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*|\?)", pattern.strip("/"))
    translated = {"**/": "(.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(translated.get(part, re.escape(part)) for part in parts) + "(/.*)?")


def ignored(path: str, lines: list[str]) -> bool:
    """Whether a file of the build context is left out; the last matching line of .dockerignore decides."""
    decision = False
    for line in lines:
        if not line or line.startswith("#"):
            continue
        keep = line.startswith("!")
        if _ignore_pattern(line[keep:]).fullmatch(path):
            decision = not keep
    return decision


def context_files() -> list[str]:
    """Files of the checkout that reach the builder, as paths relative to it."""
    lines = DOCKERIGNORE.read_text().splitlines()
    candidates = (path for path in ROOT.rglob("*") if path.is_file() and ".git" not in path.parts)
    names = (path.relative_to(ROOT).as_posix() for path in candidates)
    return sorted(name for name in names if not ignored(name, lines))
