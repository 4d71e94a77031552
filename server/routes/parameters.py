"""Path and query parameters that many routes take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Path, Query

from nearfield.engine import limits

CollectionName = Annotated[
    str,
    Path(
        description="Name or alias of the collection.",
        min_length=1,
        max_length=limits.COLLECTION_NAME_CHARS_MAX,
        examples=["articles"],
    ),
]
Timeout = Annotated[int | None, Query(ge=1, description="Seconds to wait for the answer.")]
Ordering = Annotated[
    Literal["weak", "medium", "strong"] | None,
    Query(description="Accepted and ignored: writes of a collection are always in order."),
]
Consistency = Annotated[
    int | Literal["majority", "quorum", "all"] | None,
    Query(description="Accepted and ignored: there is one node."),
]


@dataclass(frozen=True)
class WriteOptions:
    """How a write is answered.

    Args:
        wait: the answer's status is `completed`, and without it `acknowledged`; on disk it is either way.
        timeout_s: seconds after which the answer is `wait_timeout`; the write may still be applied.
    """

    wait: bool
    timeout_s: int | None


def _write_options(
    wait: Annotated[bool, Query(description="Answer `completed`; either way the write is on disk.")] = False,
    ordering: Ordering = None,
    timeout: Timeout = None,
) -> WriteOptions:
    return WriteOptions(wait, timeout)


def _read_timeout(consistency: Consistency = None, timeout: Timeout = None) -> int | None:
    return timeout


Write = Annotated[WriteOptions, Depends(_write_options)]
ReadTimeout = Annotated[int | None, Depends(_read_timeout)]


@asynccontextmanager
async def within(timeout_s: int | None) -> AsyncIterator[None]:
    """Bound a block by the client's own deadline.

    Raises:
        TimeoutError: it passed.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise TimeoutError(f"no answer within {timeout_s} s") from None
