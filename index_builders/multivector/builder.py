"""Builder of kind `muvera`: encodings of token matrices, and an index of them for candidates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted, InvalidRequest
from nearfield.engine.index.protocol import BuildContext, IndexBuilder
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.files import open_header
from nearfield.index_builders.flat import FlatBuilder
from nearfield.index_builders.graph.builder import graph_builder
from nearfield.index_builders.multivector.byte_rows import ByteScale
from nearfield.index_builders.multivector.encoding import parts
from nearfield.index_builders.multivector.index import (
    CANDIDATE_FOLDER,
    FORMAT_VERSION,
    KIND,
    MuveraIndex,
    document_facts,
)
from nearfield.index_builders.multivector.learned import LearnedEncoding, learn
from nearfield.index_builders.multivector.simhash import PROFILES, SimHashEncoding
from nearfield.index_builders.params import ChoiceParam, IntParam, parse

PARAMS: Final = (
    ChoiceParam("cells", "auto", ("auto", "kmeans", "simhash")),
    IntParam("cell_count", None, 2, 4_096),
    IntParam("dimensions", None, 8, 65_536),
    IntParam("sample_documents", 4_096, 2, 100_000),
    ChoiceParam("profile", "default", tuple(PROFILES)),
    IntParam("repetitions", None, 1, 256),
    IntParam("bits", None, 0, 12),
    IntParam("projected", None, 1, 4_096),
    ChoiceParam("structure", "auto", ("auto", "flat", "graph")),
    IntParam("candidates", None, 1, 100_000),
)

# Decision 0013: fewer documents than this have too little to learn from.
_LEARN_DOCUMENTS: Final = 256
_CELLS: Final = 256
_CELLS_OF_MANY: Final = 512
_MANY_DOCUMENTS: Final = 4_000
_TOKENS_PER_CELL: Final = 20
_GRAPH_DOCUMENTS: Final = 100_000
_GRAPH_WIDTH_MAX: Final = 1_024
# With codes of 192 bytes for the traversal a document has 512 bytes either way.
_FLAT_WIDTH: Final = 512
_GRAPH_WIDTH: Final = 320
_RANGE_DOCUMENTS: Final = 1_024
_RANGE_MARGIN: Final = 0.1
# Codes of fewer dimensions lose a sixth of the candidates: they are ranked by small differences.
_GRAPH_PARAMS: Final[dict[str, Any]] = {
    "primary_encoding": "lvq4",
    "secondary_encoding": "none",
    "calibrate": False,  # its searches say how many candidates they want
}


class MuveraBuilder:
    """Learns the encoding or generates it, encodes every document, and indexes the encodings."""

    kind = KIND
    format_version = FORMAT_VERSION

    def parse_params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """`cells` kmeans, simhash or auto (learned from 256 documents on).

        kmeans: `cell_count`, `dimensions` of the encodings, `sample_documents` learned from. simhash:
        `profile` small, default or high, or `repetitions`, `bits` and `projected`; `dimensions` adds a count
        sketch to that many. Both: `structure` flat, graph or auto (from 100,000 documents on), and the
        default of `candidates` (null: 50 to 100, with the number of documents).
        """
        return parse(self.kind, PARAMS, params)

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Encodings, their graph's codes and links, and what encodes queries."""
        learned = _learns(count, params)
        width = _width(count, params) if learned else _simhash_width(dimensions, params)
        total = count * width
        if _structure(count, width, params) == "graph":
            total += graph_builder().estimate_bytes(count, width, _graph_params(width))
        if learned:
            code_dimensions = -(-dimensions // 64) * 64
            total += _cells(count, params) * (width * (code_dimensions + 8) + 8 * dimensions)
        return int(total)

    def build(self, documents: TokenRows, params: Mapping[str, Any], context: BuildContext) -> MuveraIndex:
        """See MultiVectorIndexBuilder.build."""
        return self.build_with(self.encoding(documents, params, context), documents, params, context)

    def encoding(
        self, documents: TokenRows, params: Mapping[str, Any], context: BuildContext
    ) -> SimHashEncoding | LearnedEncoding:
        """The encoding that these documents call for, learned where there is enough to learn from."""
        with_tokens = int(np.count_nonzero(np.diff(documents.bounds())))
        if _learns(with_tokens, params) and with_tokens > 1:
            most = max(documents.token_count // _TOKENS_PER_CELL, 2)
            cells = min(_cells(documents.count, params), most)
            width = _width(documents.count, params)
            return learn(documents, cells, width, params["sample_documents"], context)
        repetitions, bits, projected = _simhash_shape(params)
        return SimHashEncoding.generate(
            documents.dimensions, repetitions, bits, projected, params["dimensions"] or 0, context.seed
        )

    def build_with(
        self,
        encoding: SimHashEncoding | LearnedEncoding,
        documents: TokenRows,
        params: Mapping[str, Any],
        context: BuildContext,
    ) -> MuveraIndex:
        """An index with an encoding that exists already: new documents need no learning.

        Raises:
            InvalidRequest: the encoding is of tokens of other dimensions.
        """
        if encoding.dimensions != documents.dimensions:
            raise InvalidRequest(
                f"encoding: expected tokens of {documents.dimensions} dimensions, got {encoding.dimensions}"
            )
        scale, rows = _encoded(encoding, documents, context)
        structure = _structure(documents.count, encoding.width, params)
        builder = _inner_builder(structure)
        inner_params = _graph_params(encoding.width) if structure == "graph" else {}
        inner_context = BuildContext(context.threads, context.seed, None, None, context.cancel)
        inner = builder.build(rows, "ip", builder.parse_params(inner_params), inner_context)
        report(context, 1.0)
        return MuveraIndex(documents, encoding, scale, rows, inner, params["candidates"])

    def open(self, directory: Path, documents: TokenRows, params: Mapping[str, Any]) -> MuveraIndex:
        """See MultiVectorIndexBuilder.open."""
        facts = open_header(directory, KIND, FORMAT_VERSION)
        for name, found in document_facts(documents).items():
            if facts[name] != found:
                raise Corrupted(
                    f"the index in {directory} is of documents with {name} {facts[name]}, got {found}"
                )

        def load(name: str) -> NDArray[Any]:
            array: NDArray[Any] = np.load(directory / f"{name}.npy", mmap_mode="r")
            return array

        encoding: SimHashEncoding | LearnedEncoding
        if facts["cells"] == SimHashEncoding.cells:
            encoding = SimHashEncoding.open(load, facts["encoding"])
        else:
            encoding = LearnedEncoding.open(load)
        rows, builder = load("rows"), _inner_builder(facts["candidates"])
        inner_params = _graph_params(encoding.width) if facts["candidates"] == "graph" else {}
        inner = builder.open(directory / CANDIDATE_FOLDER, rows, "ip", builder.parse_params(inner_params))
        scale = ByteScale(load("lowest"), load("step"))
        return MuveraIndex(documents, encoding, scale, rows, inner, params["candidates"])


def _learns(count: int, params: Mapping[str, Any]) -> bool:
    return params["cells"] == "kmeans" or (params["cells"] == "auto" and count >= _LEARN_DOCUMENTS)


def _cells(count: int, params: Mapping[str, Any]) -> int:
    if params["cell_count"] is not None:
        return int(params["cell_count"])
    return _CELLS_OF_MANY if count >= _MANY_DOCUMENTS else _CELLS


def _width(count: int, params: Mapping[str, Any]) -> int:
    if params["dimensions"] is not None:
        return int(params["dimensions"])
    graph = params["structure"] == "graph" or (params["structure"] == "auto" and count >= _GRAPH_DOCUMENTS)
    return _GRAPH_WIDTH if graph else _FLAT_WIDTH


def _structure(count: int, width: int, params: Mapping[str, Any]) -> str:
    if params["structure"] != "auto":
        return str(params["structure"])
    return "graph" if count >= _GRAPH_DOCUMENTS and width <= _GRAPH_WIDTH_MAX else "flat"


def _simhash_shape(params: Mapping[str, Any]) -> tuple[int, int, int]:
    repetitions, bits, projected = PROFILES[params["profile"]]
    return (
        params["repetitions"] or repetitions,
        bits if params["bits"] is None else params["bits"],
        params["projected"] or projected,
    )


def _simhash_width(dimensions: int, params: Mapping[str, Any]) -> int:
    repetitions, bits, projected = _simhash_shape(params)
    return int(params["dimensions"] or repetitions * 2**bits * min(projected, dimensions))


def _graph_params(width: int) -> dict[str, Any]:
    return dict(graph_builder().parse_params({**_GRAPH_PARAMS, "reduced_dimensions": width}))


def _inner_builder(structure: str) -> IndexBuilder:
    return graph_builder() if structure == "graph" else FlatBuilder()


def _encoded(
    encoding: SimHashEncoding | LearnedEncoding, documents: TokenRows, context: BuildContext
) -> tuple[ByteScale, NDArray[np.uint8]]:
    """All documents as bytes; the range of each dimension is that of a sample, and a margin."""
    scale = _scale(encoding, documents, context)
    rows = np.empty((documents.count, encoding.width), np.uint8)
    for first, sets in parts(documents):
        report(context, 0.4 + 0.4 * first / documents.count)
        rows[first : first + len(sets[1]) - 1] = scale.encode(encoding.documents(sets, context))
    if isinstance(encoding, LearnedEncoding):
        encoding.forget_rows()
    return scale, rows


def _scale(
    encoding: SimHashEncoding | LearnedEncoding, documents: TokenRows, context: BuildContext
) -> ByteScale:
    with_tokens = np.flatnonzero(np.diff(documents.bounds()))
    if not len(with_tokens):
        return ByteScale.spanning(np.zeros(encoding.width, np.float32), np.zeros(encoding.width, np.float32))
    step = -(-len(with_tokens) // _RANGE_DOCUMENTS)
    sample = documents.take(with_tokens[::step])
    encoded = np.concatenate([encoding.documents(sets, context) for _, sets in parts(sample)])
    least, most = encoded.min(axis=0), encoded.max(axis=0)
    margin = np.float32(_RANGE_MARGIN) * (most - least)
    return ByteScale.spanning(least - margin, most + margin)
