"""Documents of many vectors in a write: checked, normalised, pooled and encoded."""

import numpy as np
from numpy.typing import NDArray

from nearfield.engine import limits
from nearfield.engine._native import unit_rows
from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.multivector.pooling import pool_to_constant, pool_tokens
from nearfield.engine.multivector.token_rows import TokenEncoding, TokenRows
from nearfield.engine.schema import Distance, MultiVectorSpec, VectorSpec
from nearfield.engine.storage.values import require_finite, require_range


def stored_documents(
    tokens: NDArray[np.float32],
    offsets: NDArray[np.int64],
    spec: VectorSpec,
    multivector: MultiVectorSpec,
    where: str,
) -> TokenRows:
    """Documents in their stored form: tokens of unit length for Cosine, pooled where asked for, encoded.

    Args:
        tokens: float32 [t, d] of all documents, back to back.
        offsets: int64 [m + 1].
        where: path for errors; that of a document follows it in brackets.

    Raises:
        InvalidRequest: offsets that do not fit the tokens, a document without tokens or with another number
            of them than the vector demands, or a number that cannot be stored.
        Unprocessable: a document beyond its limits.
    """
    offsets = np.asarray(offsets, dtype=np.int64)
    _check_lengths(offsets, len(tokens), spec, multivector, where)
    _check_finite(tokens, offsets, where)
    # Copies: the caller may go on to use its array while the write waits.
    if spec.distance is Distance.COSINE:
        tokens = unit_rows(np.ascontiguousarray(tokens, np.float32))
    else:
        tokens = np.array(tokens, dtype=np.float32, order="C")
    tokens, offsets = _pooled(tokens, offsets, spec, multivector)
    if spec.token_encoding is TokenEncoding.FLOAT16:
        fits = np.abs(tokens) <= np.finfo(np.float16).max
        require_range(tokens, fits, "float16 values must be within 65504", where)
    return TokenRows.encode(tokens, offsets, spec.token_encoding)


def _pooled(
    tokens: NDArray[np.float32], offsets: NDArray[np.int64], spec: VectorSpec, multivector: MultiVectorSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The vectors that are stored in place of the tokens, and their offsets."""
    unit = spec.distance is Distance.COSINE
    count = multivector.pool_to
    if count is not None:
        pooled = pool_to_constant(tokens, offsets, count, normalize=unit)
        return np.asarray(pooled, dtype=np.float32), np.arange(len(offsets), dtype=np.int64) * count
    pooled, offsets = pool_tokens(tokens, offsets, multivector.pool_factor, normalize=unit)
    return np.asarray(pooled, dtype=np.float32), offsets


def require_document_limits(tokens: int, spec: VectorSpec, where: str) -> None:
    """Check the size of a document, or of a query.

    Raises:
        Unprocessable: too many tokens or bytes.
    """
    if tokens > limits.DOCUMENT_VECTORS_MAX or tokens * spec.size * 4 > limits.DOCUMENT_BYTES_MAX:
        raise Unprocessable(
            f"a multi-vector must have at most {limits.DOCUMENT_VECTORS_MAX} vectors and "
            f"{limits.DOCUMENT_BYTES_MAX} bytes as float32, got {tokens} vectors of {spec.size} numbers",
            where,
        )


def _check_lengths(
    offsets: NDArray[np.int64], tokens: int, spec: VectorSpec, multivector: MultiVectorSpec, where: str
) -> None:
    if offsets.ndim != 1 or offsets[0] != 0 or offsets[-1] != tokens:
        raise InvalidRequest(f"offsets must lead from 0 to {tokens}, the number of vectors", where)
    lengths = np.diff(offsets)
    if not len(lengths):
        return
    shortest = int(np.argmin(lengths))
    if lengths[shortest] < 0:
        raise InvalidRequest(
            f"offsets must ascend, got {offsets[shortest + 1]} after {offsets[shortest]}", where
        )
    if lengths[shortest] == 0:
        raise InvalidRequest("a multi-vector must have at least one vector, got none", f"{where}[{shortest}]")
    longest = int(np.argmax(lengths))
    require_document_limits(int(lengths[longest]), spec, f"{where}[{longest}]")
    wanted = multivector.vectors_per_document
    if wanted is not None and (lengths != wanted).any():
        wrong = int(np.argmax(lengths != wanted))
        raise InvalidRequest(
            f"expected {wanted} vectors, the collection's vectors_per_document; got {lengths[wrong]}",
            f"{where}[{wrong}]",
        )


def _check_finite(tokens: NDArray[np.float32], offsets: NDArray[np.int64], where: str) -> None:
    try:
        require_finite(tokens, where)
    except InvalidRequest as error:
        token = int(np.argwhere(~np.isfinite(tokens))[0, 0])
        document = int(np.searchsorted(offsets, token, side="right")) - 1
        raise InvalidRequest(
            error.message, f"{where}[{document}][{token - int(offsets[document])}]"
        ) from None
