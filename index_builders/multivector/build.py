"""The library entry for documents of many vectors: build, search, save and open, without any storage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfield.engine.errors import Corrupted, InvalidRequest
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import BuildContext, CalibratedIndex, Cancel, Progress
from nearfield.engine.index.registry import Registry, discover
from nearfield.engine.index.spec import IndexSpec
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows, Tokens, check_offsets
from nearfield.index_builders.arguments import check_allow, check_k, check_queries, check_rows, check_threads
from nearfield.index_builders.files import new_directory, open_header, save_header

_KIND: Final = "multivector-library"
_FORMAT_VERSION: Final = 1
_TOKENS_NAME: Final = "tokens.npy"
_OFFSETS_NAME: Final = "offsets.npy"
_INDEX_FOLDER: Final = "index"


class MultiVectorLibraryIndex:
    """A built index together with the documents it answers from; any number of threads may search it.

    Args:
        spec: kind and every parameter, as built.
        documents: their tokens.
        inner: the index over them.
    """

    def __init__(self, spec: IndexSpec, documents: TokenRows, inner: MultiVectorIndex) -> None:
        self.spec = spec
        self.documents = documents
        self.inner = inner

    @property
    def count(self) -> int:
        """Number of documents."""
        return self.documents.count

    @property
    def calibration(self) -> Calibration | None:
        """Recall by the number of candidates, as measured after the build; None for kinds that do not."""
        return self.inner.calibration if isinstance(self.inner, CalibratedIndex) else None

    def search(
        self,
        query_tokens: ArrayLike,
        query_offsets: ArrayLike | None = None,
        k: int = 10,
        *,
        candidates: int | None = None,
        exact: bool = False,
        threads: int = 1,
        allow: NDArray[np.bool_] | NDArray[np.uint64] | None = None,
        **knobs: float | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k documents of largest MaxSim among the candidates of each query.

        Args:
            query_tokens: [Q, d], the tokens of all queries back to back.
            query_offsets: [nq + 1], query i is query_tokens[query_offsets[i]:query_offsets[i + 1]]; None for
                one query.
            candidates: documents that MaxSim ranks; None for the index's default.
            exact: MaxSim ranks all documents.
            threads: native threads of this call.
            allow: which documents qualify: bool [n], or a bitmap uint64 [ceil(n / 64)]; None for all.
            knobs: `oversampling` (candidates as a multiple of k), `target_recall` (as many as give that, in
                place of a number), `ef`.

        Returns:
            ids int64 [nq, k], -1 pads; scores float32 [nq, k], MaxSim, descending, -inf pads.

        Raises:
            InvalidRequest: wrong shape, NaN or infinite values, or a k or knob out of range.
        """
        queries = check_queries(query_tokens, self.documents.dimensions, "query_tokens")
        offsets = _check_offsets(query_offsets, len(queries), "query_offsets")
        check_k(k)
        if isinstance(candidates, int) and 0 < candidates < k and not exact:
            raise InvalidRequest(f"candidates must be at least k = {k}, got {candidates}", "candidates")
        words = check_allow(allow, self.count)
        params = {**knobs, "candidates": candidates, "exact": exact, "threads": threads}
        hits = self.inner.search(queries, offsets, int(k), params, words)
        return hits.rows, -hits.distances

    def resident_bytes(self) -> int:
        """Bytes the index holds in memory beside the tokens."""
        return self.inner.resident_bytes()

    def save(self, path: str | Path) -> None:
        """Write tokens and index into a directory, made if need be; `open_multivector_index` reads it.

        Raises:
            InvalidRequest: the directory holds something already.
        """
        directory = new_directory(path)
        (directory / _INDEX_FOLDER).mkdir()
        self.inner.save(directory / _INDEX_FOLDER)
        np.save(directory / _TOKENS_NAME, self.documents.values)
        np.save(directory / _OFFSETS_NAME, self.documents.bounds())
        facts = {
            "spec": self.spec.to_json(),
            "encoding": self.documents.encoding.value,
            "dimensions": self.documents.dimensions,
        }
        save_header(
            directory, _KIND, _FORMAT_VERSION, facts, [directory / _TOKENS_NAME, directory / _OFFSETS_NAME]
        )


def build_multivector_index(
    doc_tokens: ArrayLike,
    doc_offsets: ArrayLike,
    params: Mapping[str, Any] | None = None,
    *,
    kind: str = "muvera",
    token_encoding: str | None = None,
    threads: int = 2,
    seed: int = 0,
    training_queries: ArrayLike | None = None,
    training_offsets: ArrayLike | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    registry: Registry | None = None,
) -> MultiVectorLibraryIndex:
    """Build an index over token matrices.

    Args:
        doc_tokens: [T, d] float16 or float32, the tokens of all documents back to back.
        doc_offsets: [n + 1], document i is doc_tokens[doc_offsets[i]:doc_offsets[i + 1]]; it may be empty,
            and is then never found.
        params: parameters of the kind; what is left out gets its default.
        token_encoding: `float32`, `float16`, `lvq8` or `lvq4`; None keeps the dtype that came.
        threads, seed, progress, cancel, registry: as in `build_index`.
        training_queries: [m, d] tokens of real queries, for kinds that learn from them.
        training_offsets: [q + 1], where each of those queries begins; recall is then measured with them.

    Raises:
        InvalidRequest: unusable tokens or offsets, an unknown kind or parameter.
        Cancelled: `cancel` was set.
    """
    tokens = check_rows(doc_tokens, "doc_tokens")
    if tokens.dtype == np.uint8:
        raise InvalidRequest("doc_tokens must be float32 or float16, got uint8", "doc_tokens")
    check_threads(threads)
    offsets = _check_offsets(doc_offsets, len(tokens), "doc_offsets")
    try:
        encoding = TokenEncoding(token_encoding or tokens.dtype.name)
    except ValueError as error:
        allowed = ", ".join(TokenEncoding)
        raise InvalidRequest(
            f"token_encoding must be one of {allowed}, got {token_encoding!r:.80}", "token_encoding"
        ) from error
    documents = TokenRows.encode(cast(Tokens, tokens), offsets, encoding, threads)
    training, bounds = None, None
    if training_queries is not None:
        training = check_queries(training_queries, documents.dimensions, "training_queries")
    if training_offsets is not None:
        bounds = _check_offsets(
            training_offsets, 0 if training is None else len(training), "training_offsets"
        )
    registry = registry or discover()
    spec = registry.resolve_multivector({"kind": kind, "params": dict(params or {})})
    context = BuildContext(threads, seed, training, progress, cancel, bounds)
    inner = registry.multivector_builder(spec.kind).build(documents, spec.params, context)
    return MultiVectorLibraryIndex(spec, documents, inner)


def open_multivector_index(path: str | Path, *, registry: Registry | None = None) -> MultiVectorLibraryIndex:
    """Open what `MultiVectorLibraryIndex.save` wrote; the tokens are memory-mapped.

    Raises:
        Corrupted: a file is missing or damaged.
    """
    directory = Path(path)
    facts = open_header(directory, _KIND, _FORMAT_VERSION)
    spec = IndexSpec.from_json(facts["spec"])
    try:
        values = np.load(directory / _TOKENS_NAME, mmap_mode="r")
        offsets = np.load(directory / _OFFSETS_NAME)
        documents = TokenRows(values, offsets, TokenEncoding(facts["encoding"]), facts["dimensions"])
    except (OSError, ValueError) as error:
        raise Corrupted(f"the tokens in {directory} cannot be read: {error}") from error
    inner = (registry or discover()).open_multivector(spec, directory / _INDEX_FOLDER, documents)
    return MultiVectorLibraryIndex(spec, documents, inner)


def _check_offsets(value: ArrayLike | None, tokens: int, name: str) -> NDArray[np.int64]:
    if value is None:
        return np.array([0, tokens], np.int64)
    offsets = np.asarray(value)
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1:
        raise InvalidRequest(
            f"{name} must be integers [n + 1], got {offsets.dtype} {list(offsets.shape)}", name
        )
    converted = np.ascontiguousarray(offsets, np.int64)
    try:
        check_offsets(converted, tokens)
    except ValueError as error:
        raise InvalidRequest(f"{name} do not fit the tokens: {error}", name) from error
    return converted
