"""What an operation changed: recorded while its transaction runs, published once that has committed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nearfield.engine.segment.column import StoredColumn


@dataclass(frozen=True)
class Birth:
    """Consecutive new rows and their vectors."""

    first_row: int
    count: int
    columns: Mapping[str, StoredColumn]


@dataclass
class Effects:
    """The changes of one operation.

    Args:
        births: new rows, ascending.
        dead: rows that died.
        repainted: rows that stayed and got another payload.
        payloads: row and payload of every row that is new or repainted.
        announcements: called on the writer thread after the commit, before the rest is published.
    """

    births: list[Birth] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    repainted: list[int] = field(default_factory=list)
    payloads: list[tuple[int, bytes | None]] = field(default_factory=list)
    announcements: list[Callable[[], None]] = field(default_factory=list)
