"""Native threads that outlive a call: starting some for every search costs more than a small search."""

import os
from functools import cache

from nearfield.engine import _native


@cache
def shared_pool(threads: int) -> _native.ThreadPool | None:
    """The process's pool of that many threads, None for one; any number of callers may use it at once."""
    return _native.ThreadPool(threads) if threads > 1 else None


# A forked child has the pools but not their threads.
os.register_at_fork(after_in_child=shared_pool.cache_clear)
