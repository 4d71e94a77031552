"""What the adapters of the peers share: float32 rows, parameters, thread limits."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.bench.adapters.base import Params


class PeerAdapter(ABC):
    """One index of a peer; subclasses build it, set its search parameters, save, open and search it.

    Args:
        params: build parameters.
    """

    def __init__(self, params: Params) -> None:
        self._params = params
        self._threads = 1
        self._index: Any = None

    def prepare(self, rows: NDArray[Any], metric: str) -> NDArray[Any]:
        """float32, C-contiguous."""
        return np.ascontiguousarray(rows, np.float32)

    def set_query_arguments(self, params: Params, threads: int) -> None:
        """See Adapter."""
        self._threads = threads
        self._set(params)

    @abstractmethod
    def _set(self, params: Params) -> None:
        """Apply search parameters."""
