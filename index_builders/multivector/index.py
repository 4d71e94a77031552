"""A built index over token matrices: candidates by their encodings, then exact MaxSim."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.protocol import Hits, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan
from nearfield.engine.segment import bitmap
from nearfield.index_builders.files import save_header
from nearfield.index_builders.multivector.byte_rows import ByteScale
from nearfield.index_builders.multivector.encoding import save_arrays
from nearfield.index_builders.multivector.learned import LearnedEncoding
from nearfield.index_builders.multivector.simhash import SimHashEncoding
from nearfield.index_builders.params import knob, not_calibrated, target_recall

KIND: Final = "muvera"
FORMAT_VERSION: Final = 1
CANDIDATE_FOLDER: Final = "candidates"

_FINGERPRINT_TOKENS: Final = 256
# A query of so many tokens, for comparing the work of a search with that of a scan.
_QUERY_TOKENS: Final = 16
# As many as leave a search about twenty times as fast as MaxSim of all documents.
_DOCUMENTS_PER_CANDIDATE: Final = 70
_CANDIDATES_LEAST: Final = 50
_CANDIDATES_MOST: Final = 100
_EF_PER_CANDIDATE: Final = 2.0
# A graph ranks by its short codes what it then ranks by the bytes: some more than are wanted.
_RANKED_PER_CANDIDATE: Final = 1.25


class MuveraIndex:
    """Any number of threads may search; nothing changes once built.

    Args:
        documents: what MaxSim is computed with, kept by reference.
        encoding: of documents and queries.
        scale: of the bytes in `rows`.
        rows: uint8 [n, width], the encodings.
        inner: an index of `rows` by inner product.
        default_candidates: documents that MaxSim ranks when nothing is said; None: by their number.
    """

    kind = KIND

    def __init__(
        self,
        documents: TokenRows,
        encoding: SimHashEncoding | LearnedEncoding,
        scale: ByteScale,
        rows: NDArray[np.uint8],
        inner: VectorIndex,
        default_candidates: int | None,
    ) -> None:
        self.count = documents.count
        self.dimensions = documents.dimensions
        self.encoding = encoding
        self._documents = documents
        self._scale = scale
        self._rows = rows
        self._inner = inner
        self._default_candidates = default_candidates or _default_candidates(documents.count)
        empty = np.diff(documents.bounds()) == 0
        self._with_tokens = bitmap.from_bools(~empty) if empty.any() else None

    def search(
        self,
        queries: NDArray[np.float32],
        query_offsets: NDArray[np.int64],
        k: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> Hits:
        """See MultiVectorIndex.search. Where no more documents are allowed than candidates are wanted, MaxSim
        ranks them all.
        """
        threads = knob(params, "threads") or 1
        wanted = self._candidates(k, params)
        if self._with_tokens is not None:
            allow = self._with_tokens if allow is None else allow & self._with_tokens
        allowed = self.count if allow is None else bitmap.count(allow)
        if params.get("exact") or allowed <= wanted:
            return maxsim_scan(queries, query_offsets, self._documents, k, allow, threads)
        found = self.candidates(queries, query_offsets, wanted, params, allow)
        return maxsim_rerank(queries, query_offsets, self._documents, found, k, threads)

    def candidates(
        self,
        queries: NDArray[np.float32],
        query_offsets: NDArray[np.int64],
        count: int,
        params: Mapping[str, Any],
        allow: NDArray[np.uint64] | None = None,
    ) -> NDArray[np.int64]:
        """The documents whose encodings are nearest, int64 [nq, count], -1 pads."""
        threads = knob(params, "threads") or 1
        encoded = self._scale.queries(self.encoding.queries((queries, query_offsets), threads))
        ef = knob(params, "ef") or math.ceil(_EF_PER_CANDIDATE * count)
        ranked = min(math.ceil(_RANKED_PER_CANDIDATE * count), self.count)
        found = self._inner.search(encoded, ranked, {"threads": threads, "ef": ef}, allow)
        return np.ascontiguousarray(found.rows[:, :count])

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """See MultiVectorIndex: by the number of multiplications, estimated for a query of 16 tokens."""
        wanted = self._candidates(k, params)
        if params.get("exact") or allowed <= wanted:
            return float(allowed)
        tokens = max(self._documents.token_count / max(self.count, 1), 1.0)
        document = tokens * self.dimensions * _QUERY_TOKENS
        ef = knob(params, "ef") or math.ceil(_EF_PER_CANDIDATE * wanted)
        rows = self._inner.equivalent_scan_rows(wanted, {"ef": ef}, allowed)
        encoding = self.encoding.width * self.dimensions * _QUERY_TOKENS
        return wanted + (rows * self.encoding.width + encoding) / document

    def save(self, directory: Path) -> list[Path]:
        """Write encoding, codes, the candidates' index in a folder of its own, and the header."""
        arrays = self.encoding.arrays()
        arrays |= {"lowest": self._scale.lowest, "step": self._scale.step, "rows": self._rows}
        files = save_arrays(directory, arrays)
        (directory / CANDIDATE_FOLDER).mkdir()
        inner = self._inner.save(directory / CANDIDATE_FOLDER)
        facts = document_facts(self._documents) | {
            "cells": self.encoding.cells,
            "encoding": self.encoding.facts() if isinstance(self.encoding, SimHashEncoding) else {},
            "candidates": self._inner.kind,
        }
        return [*files, *inner, save_header(directory, KIND, FORMAT_VERSION, facts, files)]

    def resident_bytes(self) -> int:
        """Encodings, their index, and what encodes queries."""
        own = self._rows.nbytes + self._scale.step.nbytes + self._scale.lowest.nbytes
        return own + self._inner.resident_bytes() + self.encoding.resident_bytes()

    def bytes_per_document(self) -> float:
        """Of encodings and their index's codes and links; what encodes queries does not grow with them."""
        return (self._rows.nbytes + self._inner.resident_bytes()) / max(self.count, 1)

    def _candidates(self, k: int, params: Mapping[str, Any]) -> int:
        if target_recall(params) is not None:
            raise not_calibrated(self.kind)
        oversampling = params.get("oversampling")
        if oversampling is not None and (
            not isinstance(oversampling, int | float) or isinstance(oversampling, bool) or oversampling < 1
        ):
            raise InvalidRequest(
                f"oversampling must be a number of at least 1, got {oversampling!r:.80}",
                "params.oversampling",
            )
        wanted = knob(params, "candidates")
        if wanted is None:
            wanted = self._default_candidates if oversampling is None else math.ceil(oversampling * k)
        return max(wanted, k)


def _default_candidates(count: int) -> int:
    return min(max(count // _DOCUMENTS_PER_CANDIDATE, _CANDIDATES_LEAST), _CANDIDATES_MOST)


def document_facts(documents: TokenRows) -> dict[str, Any]:
    """What a saved index says about the documents it belongs to."""
    spread = np.linspace(0, max(documents.token_count - 1, 0), num=_FINGERPRINT_TOKENS, dtype=np.int64)
    at = np.unique(spread)[: documents.token_count]
    tokens = np.ascontiguousarray(documents.values[at]).view(np.uint8)
    return {
        "count": documents.count,
        "tokens": documents.token_count,
        "dimensions": documents.dimensions,
        "token_encoding": documents.encoding.value,
        "tokens_crc32c": _native.crc32c(tokens),
        "offsets_crc32c": _native.crc32c(np.ascontiguousarray(documents.bounds()).view(np.uint8)),
    }
