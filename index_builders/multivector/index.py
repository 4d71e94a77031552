"""A built index over token matrices: candidates by their encodings, then exact MaxSim."""

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import _native
from nearfield.engine.errors import InvalidRequest
from nearfield.engine.index.calibration import Calibration, K
from nearfield.engine.index.protocol import Hits, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.engine.search.maxsim import maxsim_rerank, maxsim_scan
from nearfield.engine.segment import bitmap
from nearfield.index_builders.files import save_header
from nearfield.index_builders.multivector.drift import Learned
from nearfield.index_builders.multivector.encoded import EncodedDocuments
from nearfield.index_builders.multivector.encoding import save_arrays
from nearfield.index_builders.multivector.simhash import SimHashEncoding
from nearfield.index_builders.params import knob, not_calibrated, target_recall

KIND: Final = "muvera"
FORMAT_VERSION: Final = 4
CALIBRATED_DOCUMENTS_MIN: Final = 256
"""MaxSim of fewer documents is fast enough, unless the caller says how many candidates it is to rank."""
CALIBRATED_KNOB: Final = "candidates"
CANDIDATE_FOLDER: Final = "candidates"
PLANES: Final = ("rows", "rest")
"""Names of the arrays of codes; there is one, or for CodeScale two."""

_FINGERPRINT_TOKENS: Final = 256
# A query of so many tokens, for comparing the work of a search with that of a scan.
_QUERY_TOKENS: Final = 16
# Of an index that was not calibrated: as many as leave a search about twenty times as fast as MaxSim of all.
_DOCUMENTS_PER_CANDIDATE: Final = 80
_CANDIDATES_LEAST: Final = 50
_CANDIDATES_MOST: Final = 100
# MaxSim of so few documents costs less than the encoding of a query.
_EXACT_DOCUMENTS: Final = 100
# A default search ranks no more where these are assured of nearly the target.
_CANDIDATES_AMPLE: Final = 100
_NEARLY: Final = 0.01
_EXCLUDED_BY_A_TARGET: Final = ("candidates", "oversampling", "ef", "nprobe")
_EF_PER_CANDIDATE: Final = 2.0
# A graph ranks by its short codes what it then ranks by the bytes: some more than are wanted.
_RANKED_PER_CANDIDATE: Final = 1.25


class MuveraIndex:
    """Any number of threads may search; nothing changes once built.

    Args:
        documents: what MaxSim is computed with, kept by reference.
        encoded: their encodings.
        inner: an index of those by inner product.
        params: of the build; `candidates` or else `target_recall` are the defaults of a search.
        learned: of an encoding that was learned.
    """

    kind = KIND

    def __init__(
        self,
        documents: TokenRows,
        encoded: EncodedDocuments,
        inner: VectorIndex,
        params: Mapping[str, Any],
        learned: Learned | None,
    ) -> None:
        self.count = documents.count
        self.dimensions = documents.dimensions
        self.encoded = encoded
        self.inner = inner
        self.learned = learned
        self.calibration: Calibration | None = None
        self.entered = 0
        self._documents = documents
        self._params = params
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
        """See MultiVectorIndex.search. Where hardly more documents are allowed than candidates are wanted,
        MaxSim ranks them all.
        """
        threads = knob(params, "threads") or 1
        wanted = self._candidates(k, params)
        if self._with_tokens is not None:
            allow = self._with_tokens if allow is None else allow & self._with_tokens
        allowed = self.count if allow is None else bitmap.count(allow)
        if allowed <= max(wanted, _EXACT_DOCUMENTS):
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
        encoded = self.encoded.queries((queries, query_offsets), threads)
        ef = knob(params, "ef") or math.ceil(_EF_PER_CANDIDATE * count)
        more = _RANKED_PER_CANDIDATE if self.is_graph else 1.0
        ranked = min(math.ceil(more * count), self.count)
        found = self.inner.search(encoded, ranked, {"threads": threads, "ef": ef}, allow)
        return np.ascontiguousarray(found.rows[:, :count])

    def equivalent_scan_rows(self, k: int, params: Mapping[str, Any], allowed: int) -> float:
        """See MultiVectorIndex: by the number of multiplications, estimated for a query of 16 tokens."""
        wanted = self._candidates(k, params)
        if allowed <= max(wanted, _EXACT_DOCUMENTS):
            return float(allowed)
        tokens = max(self._documents.token_count / max(self.count, 1), 1.0)
        document = tokens * self.dimensions * _QUERY_TOKENS
        ef = knob(params, "ef") or math.ceil(_EF_PER_CANDIDATE * wanted)
        rows = self.inner.equivalent_scan_rows(wanted, {"ef": ef}, allowed)
        encoding = self.encoded.encoding.width * self.dimensions * _QUERY_TOKENS
        return wanted + (rows * self.encoded.encoding.width + encoding) / document

    def save(self, directory: Path) -> list[Path]:
        """Write encoding, codes, the candidates' index in a folder of its own, and the header."""
        planes = dict(zip(PLANES, self.encoded.planes, strict=False))
        arrays = self.encoded.encoding.arrays() | self.encoded.scale.arrays() | planes
        files = save_arrays(directory, arrays)
        (directory / CANDIDATE_FOLDER).mkdir()
        inner = self.inner.save(directory / CANDIDATE_FOLDER)
        facts = document_facts(self._documents) | {
            "cells": self.encoded.encoding.cells,
            "encoding": self.encoded.encoding.facts()
            if isinstance(self.encoded.encoding, SimHashEncoding)
            else {},
            "candidates": self.inner.kind,
            "learned": None if self.learned is None else asdict(self.learned),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "entered": self.entered,
        }
        return [*files, *inner, save_header(directory, KIND, FORMAT_VERSION, facts, files)]

    def resident_bytes(self) -> int:
        """Encodings, their index, and what encodes queries."""
        own = self.encoded.nbytes + sum(array.nbytes for array in self.encoded.scale.arrays().values())
        return own + self.inner.resident_bytes() + self.encoded.encoding.resident_bytes()

    def bytes_per_document(self) -> float:
        """Of encodings and their index's codes and links; what encodes queries does not grow with them."""
        return (self.encoded.nbytes + self.inner.resident_bytes()) / max(self.count, 1)

    def calibrated(self, calibration: Calibration | None, entered: int = 0) -> Self:
        """The same index that knows its recall, as it was before so many of the documents entered."""
        index = copy(self)
        index.calibration, index.entered = calibration, entered
        return index

    @property
    def is_graph(self) -> bool:
        """Whether candidates come from a graph over the encodings, not from a scan."""
        return self.inner.kind == "graph"

    def _candidates(self, k: int, params: Mapping[str, Any]) -> int:
        """How many MaxSim ranks; the number of documents where only all will do.

        Raises:
            InvalidRequest: a knob out of range, two that contradict, or a recall that was never measured.
        """
        target = target_recall(params, _EXCLUDED_BY_A_TARGET)
        wanted, oversampling = knob(params, "candidates"), _oversampling(params)
        if params.get("exact") or target == 1.0:
            return self.count
        if target is not None:
            if self.calibration is None and self._calibrates:
                raise not_calibrated(self.kind)
            return self.count if self.calibration is None else self.calibration.width_for(target, k)
        if wanted is None and oversampling is not None:
            wanted = math.ceil(oversampling * k)
        return max(self._default_candidates(k) if wanted is None else wanted, k)

    def _default_candidates(self, k: int) -> int:
        given: int | None = self._params["candidates"]
        if given is not None:
            return given
        if self.calibration is not None:
            return _enough(self.calibration, self._params["target_recall"], k)
        if not self._calibrates:
            return self.count
        return min(max(self.count // _DOCUMENTS_PER_CANDIDATE, _CANDIDATES_LEAST), _CANDIDATES_MOST)

    @property
    def _calibrates(self) -> bool:
        """Whether there are enough documents for their number of candidates to matter."""
        with_tokens = self.count if self._with_tokens is None else bitmap.count(self._with_tokens)
        return with_tokens >= CALIBRATED_DOCUMENTS_MIN


def _enough(calibration: Calibration, target: float, k: int) -> int:
    """The candidates of a default search."""
    width = calibration.width_for(target, k)
    if k <= K and calibration.width_for(target - _NEARLY, k) <= _CANDIDATES_AMPLE:
        return min(width, _CANDIDATES_AMPLE)
    return width


def _oversampling(params: Mapping[str, Any]) -> float | None:
    value = params.get("oversampling")
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value < 1):
        raise InvalidRequest(
            f"oversampling must be a number of at least 1, got {value!r:.80}", "params.oversampling"
        )
    return value


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
