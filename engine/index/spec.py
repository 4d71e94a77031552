"""Which index a segment has: a kind, its parameters and the format its files are in, as canonical JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nearfield.engine.errors import Corrupted, InvalidRequest


@dataclass(frozen=True)
class IndexConfig:
    """What a user asks for: `{"kind": "hnsw", "params": {"m": 32}}`; everything may be left out.

    Args:
        kind: a registered kind, or a policy such as `auto`.
        params: parameters of that kind, not yet checked.
    """

    kind: str = "auto"
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object, path: str = "index") -> "IndexConfig":
        """The config a JSON value means.

        Raises:
            InvalidRequest: not an object, an unknown field, or a field of the wrong type.
        """
        if not isinstance(value, Mapping):
            raise InvalidRequest(f'index must be an object like {{"kind": "hnsw"}}, got {value!r:.80}', path)
        unknown = sorted(set(value) - {"kind", "params"})
        if unknown:
            raise InvalidRequest(f"index has the fields `kind` and `params`, got `{unknown[0]}`", path)
        kind, params = value.get("kind", "auto"), value.get("params") or {}
        if not isinstance(kind, str):
            raise InvalidRequest(f"index kind must be a string, got {kind!r:.80}", f"{path}.kind")
        if not isinstance(params, Mapping):
            raise InvalidRequest(f"index params must be an object, got {params!r:.80}", f"{path}.params")
        return cls(kind, dict(params))


@dataclass(frozen=True)
class IndexSpec:
    """What a segment's index really is; two specs are the same index type exactly when their JSON is equal.

    Args:
        kind: a concrete registered kind.
        params: every parameter of the kind, defaults filled in; JSON scalars.
        format_version: of the files the builder writes.
    """

    kind: str
    params: Mapping[str, Any]
    format_version: int

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        parts = {"kind": self.kind, "params": dict(self.params), "format_version": self.format_version}
        return json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "IndexSpec":
        """The spec behind its JSON.

        Raises:
            Corrupted: the text is not what `to_json` writes.
        """
        try:
            parts = json.loads(text)
            kind, params, version = parts["kind"], parts["params"], parts["format_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupted(f"expected the JSON of an index spec, got {text[:80]!r}") from error
        if not (isinstance(kind, str) and isinstance(params, dict) and type(version) is int):
            raise Corrupted(f"expected the JSON of an index spec, got {text[:80]!r}")
        return cls(kind, params, version)
