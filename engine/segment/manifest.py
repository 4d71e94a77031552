"""What `points.db` records about each sealed segment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from nearfield.engine.segment.index_files import StoredIndex


@dataclass(frozen=True)
class Manifest:
    """One registered segment.

    Args:
        rows: number of rows in its files.
        indexes: built indexes by vector name.
    """

    rows: int
    indexes: Mapping[str, StoredIndex] = field(default_factory=dict)

    def with_index(self, name: str, index: StoredIndex | None) -> Self:
        """The manifest with one vector's index replaced, or taken out."""
        others = {key: value for key, value in self.indexes.items() if key != name}
        return replace(self, indexes=others if index is None else {**others, name: index})

    def to_json(self) -> str:
        """The stored form."""
        indexes = {name: index.to_json() for name, index in self.indexes.items()}
        return json.dumps({"rows": self.rows, "indexes": indexes}, separators=(",", ":"))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The manifest behind its stored form."""
        indexes = {name: StoredIndex.from_json(entry) for name, entry in document["indexes"].items()}
        return cls(document["rows"], indexes)
