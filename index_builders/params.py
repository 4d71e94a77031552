"""Declared parameters of an index kind, and the one way they are checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nearfield.engine.errors import InvalidRequest


@dataclass(frozen=True)
class IntParam:
    """An integer within bounds; where the default is None, null lets the engine choose."""

    name: str
    default: int | None
    least: int
    most: int

    def check(self, value: object) -> int | None:
        if value is None and self.default is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return value
        raise InvalidRequest(
            f"{self.name} must be an integer from {self.least} to {self.most}, got {value!r:.80}",
            f"params.{self.name}",
        )


@dataclass(frozen=True)
class FloatParam:
    """A number within bounds."""

    name: str
    default: float
    least: float
    most: float

    def check(self, value: object) -> float:
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and self.least <= value <= self.most
        ):
            return float(value)
        raise InvalidRequest(
            f"{self.name} must be a number from {self.least} to {self.most}, got {value!r:.80}",
            f"params.{self.name}",
        )


@dataclass(frozen=True)
class BoolParam:
    """A switch; where the default is None, null lets the engine choose."""

    name: str
    default: bool | None

    def check(self, value: object) -> bool | None:
        if isinstance(value, bool) or (value is None and self.default is None):
            return value
        raise InvalidRequest(f"{self.name} must be true or false, got {value!r:.80}", f"params.{self.name}")


@dataclass(frozen=True)
class ChoiceParam:
    """One of a few words; where the default is None, null lets the engine choose."""

    name: str
    default: str | None
    allowed: tuple[str, ...]

    def check(self, value: object) -> str | None:
        if value is None and self.default is None:
            return None
        if isinstance(value, str) and value in self.allowed:
            return value
        words = ", ".join((*self.allowed, *(("null",) if self.default is None else ())))
        raise InvalidRequest(f"{self.name} must be one of {words}, got {value!r:.80}", f"params.{self.name}")


def parse(
    kind: str,
    declared: Sequence[IntParam | FloatParam | BoolParam | ChoiceParam],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """Every declared parameter, checked, with defaults for those not given.

    Raises:
        InvalidRequest: an unknown name, or a value of the wrong type or out of range.
    """
    known = {param.name for param in declared}
    unknown = sorted(set(params) - known)
    if unknown:
        allowed = ", ".join(sorted(known)) or "none"
        raise InvalidRequest(
            f"index kind `{kind}` has no parameter `{unknown[0]}`; it has: {allowed}", "params"
        )
    return {
        param.name: param.check(params[param.name]) if param.name in params else param.default
        for param in declared
    }


def knob(params: Mapping[str, Any], name: str) -> int | None:
    """A search knob: an integer of at least 1, or None when not given.

    Raises:
        InvalidRequest: something else was given.
    """
    value = params.get(name)
    if value is None:
        return None
    if type(value) is int and value >= 1:  # nearly always, and asked several times in a search
        return value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequest(f"{name} must be an integer of at least 1, got {value!r:.80}", f"params.{name}")
    return value


def target_recall(params: Mapping[str, Any], others: Sequence[str] = ("ef", "nprobe")) -> float | None:
    """The search knob `target_recall`: above 0, at most 1; None when not given.

    Args:
        others: knobs that say the same in another way.

    Raises:
        InvalidRequest: something else was given, or one of the others as well.
    """
    value = params.get("target_recall")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise InvalidRequest(
            f"target_recall must be a number above 0 and at most 1, got {value!r:.80}", "params.target_recall"
        )
    for other in others:
        if params.get(other) is not None:
            raise InvalidRequest(f"expected one of target_recall and {other}, got both", "params")
    return float(value)


def not_calibrated(kind: str) -> InvalidRequest:
    """The error where a recall is asked of an index for which none was measured."""
    return InvalidRequest(
        f"target_recall needs an index that was calibrated when it was built, and this one of kind `{kind}` "
        "was not: kinds graph, lvq, leanvec and muvera are, unless they were built with `calibrate: false`",
        "params.target_recall",
    )
