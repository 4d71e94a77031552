"""Builder of kind `muvera`: encodings of token matrices, and an index of them for candidates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nearfield.engine.errors import Corrupted
from nearfield.engine.index.calibration import Calibration
from nearfield.engine.index.multivector import MultiVectorIndex
from nearfield.engine.index.protocol import BuildContext, ExtendingBuilder, IndexBuilder, VectorIndex
from nearfield.engine.multivector.token_rows import TokenRows
from nearfield.index_builders.base_rows import report
from nearfield.index_builders.files import open_header
from nearfield.index_builders.flat import FlatBuilder
from nearfield.index_builders.graph.builder import graph_builder
from nearfield.index_builders.multivector.byte_rows import ByteScale
from nearfield.index_builders.multivector.calibration import calibrate
from nearfield.index_builders.multivector.code_rows import FORMAT_VERSION as CODES_VERSION
from nearfield.index_builders.multivector.code_rows import KIND as CODES
from nearfield.index_builders.multivector.code_rows import CodeScale, CodeScan, strides_of
from nearfield.index_builders.multivector.drift import Learned, misfit
from nearfield.index_builders.multivector.encoded import EncodedDocuments
from nearfield.index_builders.multivector.index import (
    CALIBRATED_KNOB,
    CANDIDATE_FOLDER,
    FORMAT_VERSION,
    KIND,
    PLANES,
    MuveraIndex,
    document_facts,
)
from nearfield.index_builders.multivector.learned import LearnedEncoding, learn
from nearfield.index_builders.multivector.simhash import PROFILES, SimHashEncoding
from nearfield.index_builders.params import BoolParam, ChoiceParam, FloatParam, IntParam, parse

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
    BoolParam("calibrate", True),
    FloatParam("target_recall", 0.98, 0.01, 1.0),
)

# Decision 0013: fewer documents than this have too little to learn from.
_LEARN_DOCUMENTS: Final = 256
_CELLS: Final = 256
_CELLS_OF_MANY: Final = 512
_MANY_DOCUMENTS: Final = 4_000
_TOKENS_PER_CELL: Final = 20
_GRAPH_DOCUMENTS: Final = 100_000
# Decision 0029: of learned encodings the scan reads a quarter.
_GRAPH_DOCUMENTS_LEARNED: Final = 200_000
_GRAPH_WIDTH_MAX: Final = 1_024
# A document has 512 bytes either way: four bits a dimension and some more (code_rows.py), or a byte a
# dimension and codes of 192 bytes for the traversal.
_FLAT_WIDTH: Final = 960
_GRAPH_WIDTH: Final = 320
# Decision 0019: an encoding learned from few documents gains by more, until the sample is full.
_GROWTH_MOST: Final = 1.5
# A calibration holds until so large a share of the documents is new to it.
_ENTERED_MOST: Final = 0.125
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
        sketch to that many. Both: `structure` flat, graph or auto (a graph from 200,000 documents on, of
        simhash from 100,000); `calibrate`: whether recall is measured by the number of candidates; and what
        a search does by default:
        `candidates`, or if null as many as `target_recall` needs.
        """
        return parse(self.kind, PARAMS, params)

    def estimate_bytes(self, count: int, dimensions: int, params: Mapping[str, Any]) -> int:
        """Encodings, their graph's codes and links, and what encodes queries."""
        learned = _learns(count, params)
        width = _width(count, params) if learned else _simhash_width(dimensions, params)
        structure = _structure(count, width, params)
        total = count * (sum(strides_of(width)) if learned and structure == "flat" else width)
        if structure == "graph":
            total += graph_builder().estimate_bytes(count, width, _graph_params(width))
        if learned:
            code_dimensions = -(-dimensions // 64) * 64
            total += _cells(count, params) * (width * (code_dimensions + 8) + 8 * dimensions)
        return int(total)

    def build(self, documents: TokenRows, params: Mapping[str, Any], context: BuildContext) -> MuveraIndex:
        """See MultiVectorIndexBuilder.build."""
        encoding = self.encoding(documents, params, context)
        scanned = _structure(documents.count, encoding.width, params) == "flat"
        encoded = EncodedDocuments.encode(encoding, documents, scanned, context)
        inner, learned = _inner(encoded, params, context), None
        if isinstance(encoding, LearnedEncoding):
            learned = Learned(documents.count, misfit(encoded, inner, documents, context))
        index = MuveraIndex(documents, encoded, inner, params, learned)
        return _calibrated(index, documents, params, context)

    def extend(
        self,
        previous: MultiVectorIndex,
        origin: NDArray[np.int64],
        documents: TokenRows,
        params: Mapping[str, Any],
        context: BuildContext,
    ) -> MuveraIndex | None:
        """See ExtendingMultiVectorBuilder; None where documents have drifted away from what was learned."""
        assert isinstance(previous, MuveraIndex)
        learned = previous.learned
        if not _still_suits(previous, documents, params):
            return None
        encoded = previous.encoded.carried_over(origin, documents, context)
        inner = _inner(encoded, params, context, (previous.inner, origin))
        if learned is not None and learned.has_drifted(misfit(encoded, inner, documents, context)):
            return None
        index = MuveraIndex(documents, encoded, inner, params, learned)
        entered = previous.entered + int(np.count_nonzero(origin < 0))
        if entered <= _ENTERED_MOST * documents.count and previous.calibration is not None:
            return index.calibrated(previous.calibration, entered)
        return _calibrated(index, documents, params, context)

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
        planes: tuple[NDArray[np.uint8], ...] = (load(PLANES[0]),)
        folder = directory / CANDIDATE_FOLDER
        scale: ByteScale | CodeScale
        inner: VectorIndex
        if facts["candidates"] == CODES:
            open_header(folder, CODES, CODES_VERSION)
            planes = (*planes, load(PLANES[1]))
            scale, inner = CodeScale(load("spread")), CodeScan(*planes)
        else:
            builder, inner_params = _inner_builder(facts["candidates"], encoding.width)
            scale, inner = (
                ByteScale(load("lowest"), load("step")),
                builder.open(folder, planes[0], "ip", inner_params),
            )
        encoded = EncodedDocuments(encoding, scale, planes)
        learned = None if facts["learned"] is None else Learned(**facts["learned"])
        index = MuveraIndex(documents, encoded, inner, params, learned)
        measured = facts["calibration"]
        calibration = None if measured is None else Calibration.from_json(measured, CALIBRATED_KNOB)
        return index.calibrated(calibration, facts["entered"])


def _learns(count: int, params: Mapping[str, Any]) -> bool:
    return params["cells"] == "kmeans" or (params["cells"] == "auto" and count >= _LEARN_DOCUMENTS)


def _cells(count: int, params: Mapping[str, Any]) -> int:
    if params["cell_count"] is not None:
        return int(params["cell_count"])
    return _CELLS_OF_MANY if count >= _MANY_DOCUMENTS else _CELLS


def _width(count: int, params: Mapping[str, Any]) -> int:
    if params["dimensions"] is not None:
        return int(params["dimensions"])
    return _GRAPH_WIDTH if _structure(count, _GRAPH_WIDTH, params) == "graph" else _FLAT_WIDTH


def _structure(count: int, width: int, params: Mapping[str, Any]) -> str:
    if params["structure"] != "auto":
        return str(params["structure"])
    least = _GRAPH_DOCUMENTS_LEARNED if _learns(count, params) else _GRAPH_DOCUMENTS
    return "graph" if count >= least and width <= _GRAPH_WIDTH_MAX else "flat"


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


def _inner_builder(structure: str, width: int) -> tuple[IndexBuilder, Mapping[str, Any]]:
    if structure == "graph":
        return graph_builder(), _graph_params(width)
    flat = FlatBuilder()
    return flat, flat.parse_params({})


def _inner(
    encoded: EncodedDocuments,
    params: Mapping[str, Any],
    context: BuildContext,
    before: tuple[VectorIndex, NDArray[np.int64]] | None = None,
) -> VectorIndex:
    """The index of the encodings: that of others, changed (see ExtendingBuilder), or a new one."""
    rows, width = encoded.planes[0], encoded.encoding.width
    if isinstance(encoded.scale, CodeScale):
        return CodeScan(*encoded.planes)
    builder, inner_params = _inner_builder(_structure(len(rows), width, params), width)
    inner_context = BuildContext(context.threads, context.seed, None, None, context.cancel)
    if before is not None and isinstance(builder, ExtendingBuilder):
        changed = builder.extend(*before, rows, "ip", inner_params, inner_context)
        if changed is not None:
            return changed
    return builder.build(rows, "ip", inner_params, inner_context)


def _still_suits(index: MuveraIndex, documents: TokenRows, params: Mapping[str, Any]) -> bool:
    """Whether an index made now would be of the same kind, and not learn from far more."""
    count, encoding = documents.count, index.encoded.encoding
    learns = _learns(int(np.count_nonzero(np.diff(documents.bounds()))), params)
    if learns != (index.learned is not None) or documents.dimensions != encoding.dimensions:
        return False
    if index.is_graph != (_structure(count, encoding.width, params) == "graph"):
        return False
    if index.learned is None:
        return True
    most: int = params["sample_documents"]
    return min(count, most) <= _GROWTH_MOST * index.learned.documents


def _calibrated(
    index: MuveraIndex, documents: TokenRows, params: Mapping[str, Any], context: BuildContext
) -> MuveraIndex:
    if params["calibrate"]:
        index = index.calibrated(calibrate(index, documents, context))
    report(context, 1.0)
    return index
