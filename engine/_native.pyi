"""
Native core of Nearfield: SIMD kernels and the loops over rows. Releases the GIL while it works.
"""

from collections.abc import Callable
from typing import Any

import numpy
import numpy.typing
from typing_extensions import Buffer

import nearfield.engine.errors


def isa() -> str:
    """
    Name of the instruction-set tier in use: NEARFIELD_ISA's, else the fastest this CPU runs.
    """

def available_isas() -> list[str]:
    """Names of the tiers this CPU runs, slowest first."""

class ThreadPool:
    """
    Threads that native calls may share. Any number of Python threads may use one at once.
    """

    def __init__(self, threads: int) -> None:
        """
        Args:
            threads: how many work at once, the calling thread included.

        Raises:
            ValueError: fewer than 1 or more than 1024.
        """

    @property
    def threads(self) -> int:
        """How many threads work at once, the calling included."""

class CancelFlag:
    """Asks a running native call to stop, from any thread."""

    def __init__(self) -> None: ...

    def set(self) -> None:
        """Ask for the stop; there is no way back."""

    def is_set(self) -> bool: ...

class Cancelled(nearfield.engine.errors.Cancelled):
    pass

def crc32c(data: Buffer | numpy.typing.NDArray[Any], initial: int = 0) -> int:
    """
    CRC-32C (Castagnoli) of the bytes of a C-contiguous buffer.

    Args:
        initial: the result for the bytes before these, to go on from.

    Raises:
        ValueError: not a C-contiguous buffer.
    """

def unit_rows(rows: numpy.typing.NDArray[numpy.float32]) -> numpy.typing.NDArray[numpy.float32]:
    """
    A copy of float32 [n, d] with rows scaled to unit length.

    Rows of zeros, and rows holding an infinity or a NaN, are copied as they are. The result is the same on
    every CPU.

    Raises:
        ValueError: not a C-contiguous float32 [n, d].
    """

def cosine_hits(rows: numpy.typing.NDArray[numpy.int64], products: numpy.typing.NDArray[numpy.float32]) -> None:
    """
    Make hits by negated inner product of unit vectors hits by cosine
    distance, in place: adding 1 rounds, and what is equal then goes by row.

    Args:
        rows: int64 [nq, k], -1 pads.
        products: float32 [nq, k], ascending, +inf pads; becomes the distances.

    Raises:
        ValueError: not writable C-contiguous arrays of these dtypes and one shape.
    """

def stream_read(data: Buffer | numpy.typing.NDArray[Any], streams: int = 1, prefetch: int = 0, pool: ThreadPool | None = None) -> int:
    """
    Read every byte once: what the memory gives, to compare scans with.

    Args:
        streams: sequences read in turn per thread, 1 to 8.
        prefetch: how many bytes ahead to prefetch, 0 for none.
        pool: all its threads read, each its own part; None reads on the calling thread.

    Returns:
        a number that depends on the bytes, so that reading them cannot be skipped.
    """

def is_finite_matrix(value: object, columns: int) -> bool:
    """
    Whether a value is a C-contiguous float32 [n, columns] without an infinity or a NaN.
    """

def take_query_vectors(text: bytes | bytearray) -> tuple[bytes, list[numpy.typing.NDArray[numpy.float32]]] | None:
    """
    The vectors of the `query` members of a JSON text, float32 [n], and the text with null in their places.

    Each number by way of the nearest double. Whether the rest is JSON is not known; if it is, and a reader finds
    as many members `query` in it as there are vectors, it has found all of them, in the order of the vectors.

    None unless the value of every `"query"` in the text is a non-empty array of numbers within the range of
    float32, or an object that begins with one as `nearest`, and where the rest has escapes. Saying what is wrong
    is left to a JSON library.
    """

def bits_at(positions: numpy.typing.NDArray[numpy.int64], length: int) -> numpy.typing.NDArray[numpy.uint64]:
    """
    A bitmap uint64 [ceil(length / 64)] with some bits set.

    Args:
        positions: int64 [m], each within 0 .. length - 1, in any order.

    Raises:
        ValueError: not a C-contiguous int64 [m], or a position outside the bitmap.
    """

def count_bits(words: numpy.typing.NDArray[numpy.uint64]) -> int:
    """
    How many bits of uint64 [n] are set.

    Raises:
        ValueError: not a C-contiguous uint64 [n].
    """

def is_bitmap(value: object, length: int) -> bool:
    """
    Whether a value is a bitmap uint64 [ceil(length / 64)], C-contiguous, of zeros from bit `length` on.
    """

def set_bits(words: numpy.typing.NDArray[numpy.uint64], positions: numpy.typing.NDArray[numpy.uint32]) -> None:
    """
    Set some bits of a bitmap.

    Args:
        words: uint64 [n], changed in place.
        positions: uint32 [m], each below 64 n, in any order.

    Raises:
        ValueError: not such C-contiguous arrays, or a position outside the bitmap.
    """

def mark_range(words: numpy.typing.NDArray[numpy.uint64], codes: numpy.typing.NDArray[numpy.uint8] | numpy.typing.NDArray[numpy.uint16] | numpy.typing.NDArray[numpy.uint32], first: int, width: int) -> None:
    """
    Set the bits i of a bitmap with first <= codes[i] < first + width.

    Args:
        words: uint64 [n], changed in place.
        codes: uint8, uint16 or uint32 [m], m <= 64 n.
        first, width: within what the codes' type holds.

    Raises:
        ValueError: not such C-contiguous arrays or numbers.
    """

def lift_bits(words: numpy.typing.NDArray[numpy.uint64], runs: numpy.typing.NDArray[numpy.int64], singles: numpy.typing.NDArray[numpy.int64], segment: numpy.typing.NDArray[numpy.int64], length: int) -> numpy.typing.NDArray[numpy.uint64]:
    """
    What a bitmap of slots says of the rows of a segment.

    Args:
        words: uint64 [n], bit i is slot i.
        runs: int64 [3, a]: first slots, the slots after the last ones, and first rows of runs of slots that stand
            for consecutive rows; ascending.
        singles: int64 [2, b]: other slots, and the row of each.
        segment: int64 [2, c]: positions in the segment, from 0, and rows of where runs of consecutive rows begin;
            ascending.
        length: rows of the segment.

    Returns:
        uint64 [ceil(length / 64)]: bit i is set if that of a slot of the segment's row i is.

    Raises:
        ValueError: not such C-contiguous arrays.
    """

def flat_search(queries: numpy.typing.NDArray[numpy.float32], rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], metric: str, k: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None, row_scale: numpy.typing.NDArray[numpy.float32] | None = None, threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The exact k nearest rows of each query, by one blocked scan.

    Equal distances go by row, NaN distances never win, and the result is the same for any number of
    threads and for any batch a query comes in.

    Args:
        queries: float32 [nq, d], C-contiguous.
        rows: float32, float16 or uint8 [n, d], C-contiguous; may be read-only or a memory map.
        metric: 'l2' (squared Euclidean), 'ip' (negated inner product) or 'l1'.
        k: how many, at least 1.
        allow: uint64 [ceil(n / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
        row_scale: float32 [n], factor of each row's distance.
        threads: how many may share the work, the calling one included; small scans use fewer.
        pool: whose threads help; None starts and ends them within the call.
        cancel: polled once per block of rows.

    Returns:
        offsets int64 [nq, k], -1 pads, and distances float32 [nq, k], +inf pads; nearest first.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def code_search(queries: numpy.typing.NDArray[numpy.float32], first: numpy.typing.NDArray[numpy.uint8], rest: numpy.typing.NDArray[numpy.uint8], k: int, kept: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None, threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The k rows of 4-bit codes of largest inner product with each query, of those the first codes favour.

    All rows are scanned by the first plane, and about `kept` of them scored by both. Queries are rounded to 8
    bits, for each plane by itself. Equal products go by row, and the result is the same for any number of threads
    and any batch a query comes in.

    Args:
        queries: float32 [nq, 2 * (first_stride + rest_stride)]: for each 64 bytes of a row, those of the first
            plane before those of the other, what meets their low, then their high four bits; zeros where the
            row's constants lie.
        first: uint8 [n, first_stride], a multiple of 64, in the layout of `lvq_encode` with its bias at -7.5 or
            any other number of steps.
        rest: uint8 [n, rest_stride], a multiple of 64 or 0: further codes, without constants.
        k, allow, threads, pool, cancel: as in `flat_search`.
        kept: how many, about; all where not more than twice as many are allowed. At least 1; fewer than k are k.

    Returns:
        rows int64 [nq, k], -1 pads, and negated products float32 [nq, k], +inf pads; nearest first.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def gather_distances(queries: numpy.typing.NDArray[numpy.float32], rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], offsets: numpy.typing.NDArray[numpy.int64], metric: str, row_scale: numpy.typing.NDArray[numpy.float32] | None = None) -> numpy.typing.NDArray[numpy.float32]:
    """
    Distances of queries to chosen rows.

    Args:
        queries: float32 [nq, d], or [d] for one query.
        rows: float32, float16 or uint8 [n, d], C-contiguous.
        offsets: int64 [m], each within 0 .. n - 1.
        metric, row_scale: as in `flat_search`; the distances are bit-identical to its.

    Returns:
        float32 [nq, m], or [m] for one query.

    Raises:
        ValueError: a wrong dtype, shape or value, or an offset outside the rows.
    """

def lvq_stride(dims: int, bits: int, alignment: int) -> int:
    """
    Bytes from row to row of LVQ codes.

    Args:
        dims: of the encoded rows.
        bits: 4 or 8 per dimension.
        alignment: the bytes are a multiple of it.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

def lvq_encode(rows: numpy.typing.NDArray[numpy.float32], bits: int, clip: bool, norms: numpy.typing.NDArray[numpy.float32] | None, out: numpy.typing.NDArray[numpy.uint8], stride: int, pool: ThreadPool | None = None) -> None:
    """
    Encode centred rows with a step and a bias of their own (arXiv 2304.04759, definition 1).

    Args:
        rows: float32 [n, d], C-contiguous.
        bits: 4 or 8 per dimension.
        clip: shrink the range of a row for the least squared error.
        norms: float32 [n], stored with the rows; None stores the squared lengths of what the codes stand for.
        out: uint8 [at least n * stride], written to.
        stride: bytes from row to row, see `lvq_stride`.
        pool: whose threads share the work.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

def lvq_encode_residual(rows: numpy.typing.NDArray[numpy.float32], first: numpy.typing.NDArray[numpy.uint8], first_bits: int, first_stride: int, bits: int, norms: numpy.typing.NDArray[numpy.float32] | None, out: numpy.typing.NDArray[numpy.uint8], stride: int, pool: ThreadPool | None = None) -> None:
    """
    Encode what the codes of rows leave of them: the second level (arXiv 2304.04759, definition 2).

    Args:
        rows: float32 [n, d], C-contiguous, as given to `lvq_encode`.
        first: uint8 [at least n * first_stride], as `lvq_encode` wrote them with `first_bits`.
        bits: 4 or 8 per dimension.
        norms: float32 [n], stored with the rows; None stores by how much the second level changes the squared
            lengths, so that the estimates of both levels add up.
        out: uint8 [at least n * stride], written to.
        stride: bytes from row to row, see `lvq_stride`.
        pool: whose threads share the work.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

def lvq_decode(codes: numpy.typing.NDArray[numpy.uint8], count: int, dims: int, bits: int, stride: int) -> numpy.typing.NDArray[numpy.float32]:
    """
    The rows that codes stand for, float32 [count, dims].

    Args:
        codes: uint8 [at least count * stride], as `lvq_encode` wrote them.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

class SimHashEncoder:
    """
    MUVERA's fixed-dimensional encodings of token matrices (arXiv 2405.19504, section 2).

    Args:
        planes: float32 [repetitions * bits, d]; a token's cell is the string of the signs of its products.
        projections: float32 [repetitions * p, d], as they are applied; None is the identity, p = d.
        repetitions: at least 1.

    Raises:
        ValueError: a wrong dtype or shape, or more than 16 bits; says what was expected and what came.
    """

    def __init__(self, planes: numpy.typing.NDArray[numpy.float32], projections: numpy.typing.NDArray[numpy.float32] | None, repetitions: int) -> None: ...

    @property
    def width(self) -> int:
        """Dimensions of the encodings."""

    def encode_queries(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
        """
        The sums of the tokens of each cell, projected: float32 [n, width].

        Args:
            tokens: float32 [T, d], the matrices back to back.
            offsets: int64 [n + 1], matrix i is tokens[offsets[i]:offsets[i + 1]].
            pool: whose threads share the work; the result does not depend on them.
            cancel: polled now and then.

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

    def encode_documents(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], fill: bool = True, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
        """
        The means of the tokens of each cell, projected: float32 [n, width].

        Args:
            tokens, offsets, pool, cancel: as in `encode_queries`. A matrix without tokens is encoded as zeros.
            fill: an empty cell has the token whose bits differ from the cell's in the fewest places, the first of
                several; otherwise zeros.

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

class CellProjection:
    """
    One matrix per cell, packed for products; `LearnedCells.encode_documents` applies it.

    Args:
        codes: int8 [cells, width, at least d].
        scales: float32 [cells, width]; row j of a cell's matrix is scales[j] * codes[j].
        dimensions: d, of the tokens.

    Raises:
        ValueError: a wrong dtype or shape; says what was expected and what came.
    """

    def __init__(self, codes: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], dimensions: int) -> None: ...

class LearnedCells:
    """
    Encodings with one repetition over learned cells.

    A token belongs to the cell whose centre it has the largest product with.

    Args:
        centres: float32 [cells, d].
        mean: float32 [d], subtracted from the tokens of documents, which changes no ranking by MaxSim.

    Raises:
        ValueError: a wrong dtype or shape; says what was expected and what came.
    """

    def __init__(self, centres: numpy.typing.NDArray[numpy.float32], mean: numpy.typing.NDArray[numpy.float32]) -> None: ...

    def assign(self, tokens: numpy.typing.NDArray[numpy.float32], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.int32]:
        """The cell of each token of float32 [T, d]: int32 [T]."""

    def blocks(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
        """
        What the cells of documents hold, float32 [n, cells * d].

        The mean of the document's tokens weighted by exp(40 <token, centre>), less `mean`; weights below 1/256 of the
        cell's largest are left out, and a document without tokens has zeros.

        Args:
            tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`.

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

    def encode_documents(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], projection: CellProjection, origin: numpy.typing.NDArray[numpy.float32], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
        """
        The blocks of documents, projected, less `origin`: float32 [n, width], the blocks never all in memory.

        Args:
            tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`.
            projection: of these cells.
            origin: float32 [width].

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

    def encode_queries(self, tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], codes: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], sums: numpy.typing.NDArray[numpy.int32], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
        """
        The sums over the tokens of queries, each projected by its cell's matrix: float32 [n, width].

        Args:
            tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`. Tokens are quantised to int8.
            codes: int8 [cells, width, d rounded up to a multiple of 64], zeros beyond d.
            scales: float32 [cells, width]; row j of a cell's matrix is scales[j] * codes[j].
            sums: int32 [cells, width], the sums of the codes.

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

def responses(asking: numpy.typing.NDArray[numpy.float32], tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
    """
    The largest inner product of each asking token with any token of each matrix: float32 [n, m].

    MaxSim is the sum of these over the tokens of a query.

    Args:
        asking: float32 [m, d].
        tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`; no matrix may be without tokens.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def pool_sets(tokens: numpy.typing.NDArray[numpy.float32], offsets: numpy.typing.NDArray[numpy.int64], out_offsets: numpy.typing.NDArray[numpy.int64], kept: int, normalize: bool, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
    """
    Token matrices with fewer tokens (arXiv 2409.14683): float32 [T', d].

    The first tokens stay as they are; of the others, Ward's clusters on 1 - cosine become one mean each, in the
    order of their first tokens. Where more tokens are wanted than there are, they are repeated.

    Args:
        tokens, offsets, pool, cancel: as in `SimHashEncoder.encode_queries`.
        out_offsets: int64 [n + 1], matrix i gets out_offsets[i + 1] - out_offsets[i] tokens; 0 for one that has
            none.
        kept: first tokens that stay as they are.
        normalize: means are brought to unit length.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

NO_NEIGHBOUR: int = 4294967295

def link_clusters(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], cluster_starts: numpy.typing.NDArray[numpy.int64], probes: numpy.typing.NDArray[numpy.int32], candidates: int, degree: int, alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None, progress: Callable[[float], object] | None = None) -> numpy.typing.NDArray[numpy.uint32]:
    """
    Link every vector to its nearest within the clusters around it, pruned.

    Args:
        vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
        scales: float32 [n], of one step of each vector.
        cluster_starts: int64 [c + 1]; the vectors lie in the order of their clusters.
        probes: int32 [c, p], the clusters searched for the vectors of one.
        candidates: nearest vectors found before pruning.
        degree: most links of a vector.
        alpha: of the pruning, on squared distances, at least 1.
        pool: whose threads share the work; the result does not depend on them.
        cancel: polled now and then.
        progress: called with the share done, from any thread.

    Returns:
        uint32 [n, degree], nearest first, padded with NO_NEIGHBOUR.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def link_candidates(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], first: int, candidates: numpy.typing.NDArray[numpy.int64], degree: int, alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.uint32]:
    """
    Prune given candidates of the vectors from `first` on.

    Args:
        vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
        scales: float32 [n], of one step of each vector.
        first: vector that candidates[0] belongs to.
        candidates: int64 [m, c], vectors; negative ones, repeated ones and the vector itself are passed over.
        degree: most links of a vector.
        alpha: of the pruning, on squared distances, at least 1.
        pool: whose threads share the work; the result does not depend on them.
        cancel: polled now and then.

    Returns:
        uint32 [m, degree], nearest first, padded with NO_NEIGHBOUR.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def add_reverse(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], neighbours: numpy.typing.NDArray[numpy.uint32], alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> None:
    """
    Join every list with the vectors that point to its owner, and prune what is too long, in place.

    Args:
        vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
        scales: float32 [n], of one step of each vector.
        neighbours: uint32 [n, degree], nearest first, padded with NO_NEIGHBOUR, as it will be again; of no use
            after a cancellation.
        alpha: of the pruning, on squared distances, at least 1.
        pool: whose threads share the work; the result does not depend on them.
        cancel: polled now and then.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def connect_and_order(neighbours: numpy.typing.NDArray[numpy.uint32], entry: int) -> tuple[numpy.typing.NDArray[numpy.uint32], int]:
    """
    Make every node reachable from one, and number the nodes breadth first.

    Args:
        neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed where a node was out of reach.
        entry: the node to start from.

    Returns:
        uint32 [n], the node to be stored at each place, and how many nodes had to be linked.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

class GraphAdaptiveWindow:
    """
    How wide each walk is, by how far the nearest nodes are when the 12 nearest have been expanded.

    exp(bias + the weighted sum of the distances, by codes, of the 1st, 5th and 12th nearest node), these divided
    by the weight of the query's norms: for l2 1, for inner products with a `query_mean` the query's length.

    Args:
        least: bound of the width, at least k and 12.
        most: bound of the width, at least `least`.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, weights: tuple[float, float, float], bias: float, least: int, most: int) -> None: ...

    def width(self, distances: tuple[float, float, float], weight: float = 1.0) -> int:
        """The width of a walk that sees these distances by codes."""

class GraphFilterPlan:
    """
    How searches of one k and `ef` with a filter are answered.

    Args:
        k: how many, at least 1.
        ef: of a search without a filter.
        rows_most: up to so many allowed rows the full rows are to be scanned.
        codes_most: up to so many their codes are; the graph is walked for more.
        after_scan: candidates re-scored with the secondary codes, and with the full rows, after a scan.
        after_walk: the same after a walk.
        expansions_least, expansions_per_row: a walk gives up at so many expanded nodes, and so many for each
            allowed row.
        agreement_least: see Graph.search.
        in_flight: queries a thread takes turns between.
        adaptive: see Graph.search; where every row is allowed. Where not, windows are 1.2 times as wide.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, k: int, ef: int, rows_most: int, codes_most: int, after_scan: tuple[int, int], after_walk: tuple[int, int], expansions_least: float, expansions_per_row: float, agreement_least: float, in_flight: int = 3, adaptive: GraphAdaptiveWindow | None = None) -> None: ...

    @staticmethod
    def window(k: int, ef: int, allowed: int, count: int) -> int:
        """
        How many allowed nodes are to be nearer than all that are left when a walk ends.
        """

class Graph:
    """
    A searchable graph over arrays that it keeps alive; any number of threads may search it.

    Args:
        neighbours: uint32 [n, degree], nodes, padded with NO_NEIGHBOUR; never read as a whole, other numbers are
            passed over.
        entries: uint32 [e], nodes every search starts from.
        row_of: uint32 [n], the row each node stands for.
        primary: uint8 [n * primary_stride + 64], codes of the projected rows, what the traversal reads; None:
            it reads the full rows.
        secondary: uint8 [n * secondary_stride + 64], codes of the whole rows, for re-ranking.
        secondary_is_residual: secondary codes are of what the primary ones leave of the rows.
        rows: float32, float16 or uint8 [m, d], the full rows, for the last re-ranking.
        row_scale: float32 [m], factor of each row's distance.
        metric: 'l2' (squared Euclidean) or 'ip' (negated inner product).
        mean: float32 [d], subtracted from rows before they were multiplied by `scale` and encoded.
        projection: int8 [primary_dims, d rounded up to 64], the query's side; None: primary codes are of
            whole rows.
        projection_sums: int32 [primary_dims], sums of the projection's rows.
        projection_scales: float32 [primary_dims], of one step of the projection's rows.
        query_mean: float32 [d], the mean of queries of unit length, by which the codes' norms were made; None:
            by the mean of the rows.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

    def __init__(self, neighbours: numpy.typing.NDArray[numpy.uint32], entries: numpy.typing.NDArray[numpy.uint32], row_of: numpy.typing.NDArray[numpy.uint32], primary: numpy.typing.NDArray[numpy.uint8] | None, primary_bits: int, primary_dims: int, primary_stride: int, secondary: numpy.typing.NDArray[numpy.uint8] | None, secondary_bits: int, secondary_stride: int, secondary_is_residual: bool, rows: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8] | None, row_scale: numpy.typing.NDArray[numpy.float32] | None, metric: str, mean: numpy.typing.NDArray[numpy.float32], scale: float, projection: numpy.typing.NDArray[numpy.int8] | None, projection_sums: numpy.typing.NDArray[numpy.int32] | None, projection_scales: numpy.typing.NDArray[numpy.float32] | None, query_mean: numpy.typing.NDArray[numpy.float32] | None = None) -> None: ...

    def search(self, queries: numpy.typing.NDArray[numpy.float32], k: int, ef: int, rerank_secondary: int, rerank_exact: int, in_flight: int = 3, scan: bool = False, allow: numpy.typing.NDArray[numpy.uint64] | None = None, expansions_most: int = 9223372036854775807, agreement_least: float = 0.0, adaptive: GraphAdaptiveWindow | None = None, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32], tuple[int, int, int]]:
        """
        The k nearest rows the graph leads to.

        Args:
            queries: float32 [nq, d], C-contiguous.
            k: how many, at least 1.
            ef: the traversal ends when the nearest `ef` nodes have been expanded, at least k; with `allow`, all nodes
                that are no further than the nearest `ef` allowed ones.
            rerank_secondary: candidates re-scored with the secondary codes.
            rerank_exact: of those, re-scored with the full rows.
            in_flight: queries a thread takes turns between.
            scan: score every allowed code row instead of walking the graph.
            allow: uint64 [ceil(m / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
            expansions_most: with `allow`, a query that would expand so many nodes gets no answer.
            agreement_least: nor does one if the distances of its candidates correlate less with those that a
                re-ranking finds.
            adaptive: without `allow`, by what an `ef` of at least 12 is replaced for each query.
            pool: whose threads share the queries.
            cancel: polled once per 64 queries.

        Returns:
            rows int64 [nq, k], -1 pads; distances float32 [nq, k], +inf pads, up to a constant of the query where
            there are no full rows; code rows scored and nodes expanded by walking, and queries with fewer than
            k rows.

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

    def search_filtered(self, queries: numpy.typing.NDArray[numpy.float32], plan: GraphFilterPlan, allow: numpy.typing.NDArray[numpy.uint64], pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32], int] | None:
        """
        What `search` finds by the plan for as many rows as are allowed.

        Returns:
            rows int64 [nq, k] and distances float32 [nq, k] as of `search`, and queries with fewer than k rows; None
            where the plan is a scan of the full rows, which is not the graph's.

        Raises:
            ValueError: a wrong dtype, shape or value; says what was expected and what came.
            Cancelled: `cancel` was set.
        """

def drop_nodes(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], neighbours: numpy.typing.NDArray[numpy.uint32], place: numpy.typing.NDArray[numpy.uint32], candidates: int, alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.uint32]:
    """
    The lists of the nodes that stay when others leave a graph, linked past those that leave.

    Args:
        vectors: int8 [m, d rounded up to 64], zero-padded, C-contiguous; those that stay come first, in order.
        scales: float32 [m], of one step of each vector.
        neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR.
        place: uint32 [n], numbers 0, 1, ... of the nodes that stay, NO_NEIGHBOUR for those that leave.
        candidates: nearest nodes that take part when a list is pruned again.
        alpha: of the pruning, on squared distances, at least 1.
        pool: whose threads share the work; the result does not depend on them.
        cancel: polled now and then.

    Returns:
        uint32 [nodes that stay, degree], padded with NO_NEIGHBOUR; as they were where no neighbour leaves.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def add_nodes(vectors: numpy.typing.NDArray[numpy.int8], scales: numpy.typing.NDArray[numpy.float32], first: int, forward: numpy.typing.NDArray[numpy.uint32], neighbours: numpy.typing.NDArray[numpy.uint32], alpha: float, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> None:
    """
    Give some nodes their lists, and every node these name an edge back; prune what becomes too long.

    Args:
        vectors: int8 [n, d rounded up to 64], zero-padded, C-contiguous.
        scales: float32 [n], of one step of each vector.
        first: node that forward[0] belongs to.
        forward: uint32 [m, degree], padded with NO_NEIGHBOUR.
        neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed.
        alpha: of the pruning, on squared distances, at least 1.
        pool: whose threads share the work; the result does not depend on them.
        cancel: polled now and then.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def raise_in_degrees(neighbours: numpy.typing.NDArray[numpy.uint32], least: int) -> int:
    """
    Put nodes that few lists name into the lists of their own neighbours, for a neighbour that many name.

    Args:
        neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed.
        least: lists that should name every node.

    Returns:
        How many lists were changed.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

def name_nodes(neighbours: numpy.typing.NDArray[numpy.uint32], least: int, nodes: numpy.typing.NDArray[numpy.uint32], by: numpy.typing.NDArray[numpy.int64]) -> None:
    """
    Put nodes into the lists of given others, for a neighbour that more than 2 * least lists name.

    Args:
        neighbours: uint32 [n, degree], padded with NO_NEIGHBOUR; changed.
        least: lists that should name every node.
        nodes: uint32 [m].
        by: int64 [m, c], whose lists are to name each; -1 pads.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

def graph_range_search(graph: Graph, queries: numpy.typing.NDArray[numpy.float32], radius: float, ef: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The rows within a distance that the graph leads to.

    Args:
        graph: with full rows.
        queries: float32 [nq, d], C-contiguous.
        radius: the largest distance, in that of the graph.
        ef: a query ends after as many rows in a row beyond the radius, and one more for every 8 within it.
        allow: uint64 [ceil(m / 64)]; bit i % 64 of word i // 64 allows row i. None allows all.
        pool: whose threads share the queries; the result does not depend on them.
        cancel: polled before each query.

    Returns:
        offsets int64 [nq + 1]; rows int64 and distances float32 [offsets[nq]], exact, those of query i from
        offsets[i] to offsets[i + 1], by distance, then row.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

class GraphRowStream:
    """
    All rows in nearly ascending distance from a query, as many at a time as are asked for.

    Not for two threads at once; any number of streams may read one graph.

    Args:
        graph: with full rows; kept alive.
        query: float32 [d]; copied.
        ef: rows known beyond those handed out.
        allow: uint64 [ceil(m / 64)]; bit i % 64 of word i // 64 allows row i. None allows all. Copied.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """

    def __init__(self, graph: Graph, query: numpy.typing.NDArray[numpy.float32], ef: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None) -> None: ...

    def next(self, count: int) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
        """
        The next `count` rows int64 [m] and their exact distances float32 [m].

        Fewer where no more are left.
        """

def maxsim_search(queries: numpy.typing.NDArray[numpy.float32], query_offsets: numpy.typing.NDArray[numpy.int64], tokens: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], encoding: str, offsets: numpy.typing.NDArray[numpy.int64] | None, tokens_per_document: int, k: int, allow: numpy.typing.NDArray[numpy.uint64] | None = None, metric: str = 'ip', threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The exact k best documents of each query by MaxSim (arXiv 2004.12832).

    Equal scores go by number, and the result is the same for any number of threads and for any batch a
    query comes in. Codes are scored as what they stand for, against query tokens quantised to 8 bits.

    Args:
        queries: float32 [Q, d], tokens of all queries back to back, C-contiguous.
        query_offsets: int64 [nq + 1], ascending from 0 to Q.
        tokens: float32 or float16 [T, d], or uint8 [T, row bytes] as `lvq_encode` wrote them with
            `lvq_stride` or more; may be read-only or a memory map.
        encoding: 'float32', 'float16', 'lvq8' or 'lvq4'.
        offsets: int64 [n + 1], ascending from 0 to T; None where all documents are of one size.
        tokens_per_document: that size, a divisor of T; ignored where there are offsets.
        k: how many, at least 1.
        allow: uint64 [ceil(n / 64)]; bit i % 64 of word i // 64 allows document i. None allows all.
        metric: 'ip', or for float tokens 'l2' or 'l1': similarity is then the negative squared Euclidean distance
            or the negative sum of absolute differences.
        threads: how many may share the work, the calling one included; small scans use fewer.
        pool: whose threads help; None starts and ends them within the call.
        cancel: polled once per batch of documents.

    Returns:
        documents int64 [nq, k], -1 pads, and distances (-MaxSim) float32 [nq, k], +inf pads; best first.
        Empty documents are never among them.

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
        Cancelled: `cancel` was set.
    """

def maxsim_rerank(queries: numpy.typing.NDArray[numpy.float32], query_offsets: numpy.typing.NDArray[numpy.int64], tokens: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], encoding: str, offsets: numpy.typing.NDArray[numpy.int64] | None, tokens_per_document: int, candidates: numpy.typing.NDArray[numpy.int64], k: int, threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float32]]:
    """
    The k best of each query's candidates by MaxSim, as `maxsim_search` among those.

    Args:
        candidates: int64 [nq, c] documents, -1 pads; one named twice counts once.
        All others: as in `maxsim_search`.

    Returns:
        documents int64 [nq, k] and distances float32 [nq, k], as `maxsim_search`.

    Raises:
        ValueError, Cancelled: as `maxsim_search`.
    """

def maxsim_scores(queries: numpy.typing.NDArray[numpy.float32], query_offsets: numpy.typing.NDArray[numpy.int64], tokens: numpy.typing.NDArray[numpy.float32] | numpy.typing.NDArray[numpy.float16] | numpy.typing.NDArray[numpy.uint8], encoding: str, offsets: numpy.typing.NDArray[numpy.int64] | None, tokens_per_document: int, candidates: numpy.typing.NDArray[numpy.int64], threads: int = 1, pool: ThreadPool | None = None, cancel: CancelFlag | None = None) -> numpy.typing.NDArray[numpy.float32]:
    """
    MaxSim of each query with its candidates.

    Args:
        candidates: int64 [nq, c] documents, -1 pads.
        All others: as in `maxsim_search`.

    Returns:
        float32 [nq, c]; -inf for pads and empty documents.

    Raises:
        ValueError, Cancelled: as `maxsim_search`.
    """

def carve_queries(queries: numpy.typing.NDArray[numpy.float32], query_offsets: numpy.typing.NDArray[numpy.int64], threshold: float) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.int64]]:
    """
    Query ball carving (arXiv 2405.19504, C.3): sums in place of groups of a query's tokens.

    A group is the first token not yet in one, with all such tokens whose inner product with it is at least
    `threshold`.

    Args:
        queries, query_offsets: as in `maxsim_search`.
        threshold: inner product.

    Returns:
        queries float32 [Q', d] and offsets int64 [nq + 1].

    Raises:
        ValueError: a wrong dtype, shape or value; says what was expected and what came.
    """
