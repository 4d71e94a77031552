"""What an index over documents of many vectors promises: candidates by whatever means, answers by MaxSim."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.index.protocol import BuildContext, Hits
from nearfield.engine.multivector.token_rows import TokenRows


class MultiVectorIndex(Protocol):
    """An immutable built index over token matrices; any number of threads may search it at once."""

    kind: str
    count: int
    dimensions: int

    def search(
        self,
        queries: NDArray[np.float32],
        query_offsets: NDArray[np.int64],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """The k best allowed documents of each query among the candidates, ranked by exact MaxSim.

        Args:
            queries: float32 [Q, d], the tokens of all queries back to back.
            query_offsets: int64 [nq + 1], query i is queries[query_offsets[i]:query_offsets[i + 1]].
            params: search knobs: `candidates` (documents that MaxSim ranks), `oversampling` (the same as a
                multiple of k), `exact` (all of them), `target_recall` (as many as give that; it excludes the
                others), `ef` (window of the candidates' graph), `threads`.
            allow: uint64 [ceil(count / 64)] bitmap of documents; None allows all.

        Returns:
            Hits [nq, k], distances = -MaxSim; min(k, allowed documents that have tokens) are found.
        """
        ...

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """How many documents an exact scan ranks in the time that this search takes."""
        ...

    def save(self, directory: Path) -> list[Path]:
        """Write its own files (not the documents) into a directory that exists; return them."""
        ...

    def resident_bytes(self) -> int:
        """Bytes of memory the index holds beside the documents it was given."""
        ...

    def bytes_per_document(self) -> float:
        """Of `resident_bytes`, what grows with the documents."""
        ...


class MultiVectorIndexBuilder(Protocol):
    """One kind of index over token matrices: parses its parameters, builds and opens."""

    kind: str
    format_version: int

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Defaults filled in, types and ranges checked.

        Raises:
            InvalidRequest: an unknown name or a value out of range; says what is allowed.
        """
        ...

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Expected `resident_bytes` of the built index; within 25 % for 10,000 documents and more."""
        ...

    def build(
        self, documents: TokenRows, params: Mapping[str, Any], context: BuildContext
    ) -> MultiVectorIndex:
        """Build over documents, which the index keeps a reference to.

        Args:
            context: its `training_queries` are the tokens of real queries, float32 [m, d], and its
                `training_offsets` tell one from the next.
        """
        ...

    def open(self, directory: Path, documents: TokenRows, params: Mapping[str, Any]) -> MultiVectorIndex:
        """Open what `save` wrote, over the same documents.

        Raises:
            Corrupted: the files do not belong to these documents or are damaged: rebuild from the tokens.
        """
        ...


@runtime_checkable
class ExtendingMultiVectorBuilder(Protocol):
    """A builder that can also make an index from one of nearly the same documents."""

    def extend(
        self,
        previous: MultiVectorIndex,
        origin: NDArray[np.int64],
        documents: TokenRows,
        params: Mapping[str, Any],
        context: BuildContext,
    ) -> MultiVectorIndex | None:
        """An index over documents of which many are in `previous`; None where a new build is better.

        Args:
            previous: this builder's, of the same params; stays as it is.
            origin: int64 [n], the document of `previous` that each document is, -1 for those it does not
                have; no document of it comes twice. Those that do not come are left out.
        """
        ...
