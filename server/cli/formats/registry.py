"""Which module reads and writes which extension."""

from collections.abc import Mapping
from pathlib import Path

from nearfield.server.cli.formats.base import FileError, ReadOptions, Sink, Source, VectorShape

KNOWN = ".npy, .fvecs, .bvecs, .ivecs, .hdf5, .h5, .parquet, .jsonl"


def open_source(path: Path, options: ReadOptions) -> Source:
    """The points of a file, by its extension.

    Raises:
        FileError: no such file, an unknown extension, or a damaged file.
    """
    if not path.is_file():
        raise FileError(path, "is a directory" if path.is_dir() else "no such file")
    match path.suffix.lower():
        case ".npy":
            from nearfield.server.cli.formats import npy

            return npy.open_source(path, options)
        case ".fvecs" | ".bvecs" | ".ivecs":
            from nearfield.server.cli.formats import vecs

            return vecs.open_source(path, options)
        case ".hdf5" | ".h5":
            from nearfield.server.cli.formats import hdf5

            return hdf5.open_source(path, options)
        case ".parquet":
            from nearfield.server.cli.formats import parquet

            return parquet.ParquetSource(path, options)
        case ".jsonl":
            from nearfield.server.cli.formats import jsonl

            return jsonl.JsonlSource(path, options)
    raise FileError(path, f"unknown extension {path.suffix!r}; known: {KNOWN}")


def open_sink(path: Path, vectors: Mapping[str, VectorShape], resume: dict[str, int] | None = None) -> Sink:
    """A new file of the format its extension names.

    Args:
        vectors: what every point may have; matrix formats take exactly one.
        resume: bytes to keep per file, from an earlier sink's `mark`.

    Raises:
        FileError: an unknown extension, or several vectors for a format that holds one.
    """
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        from nearfield.server.cli.formats import jsonl

        return jsonl.JsonlSink(path, resume)
    if suffix == ".parquet":
        from nearfield.server.cli.formats import parquet

        return parquet.ParquetSink(path, vectors)
    if suffix not in {".npy", ".fvecs", ".bvecs", ".ivecs", ".hdf5", ".h5"}:
        raise FileError(path, f"unknown extension {path.suffix!r}; known: {KNOWN}")
    if any(shape.multivector for shape in vectors.values()):
        raise FileError(path, "holds one vector per point: export multi-vectors to parquet or jsonl")
    if len(vectors) != 1:
        names = ", ".join(repr(name) for name in vectors)
        raise FileError(
            path, f"holds one vector per point: pick one of {names} with --using, or use parquet or jsonl"
        )
    (shape,) = vectors.values()
    if suffix == ".npy":
        from nearfield.server.cli.formats import npy

        return npy.NpySink(path, shape.size, shape.datatype, resume)
    if suffix in {".hdf5", ".h5"}:
        from nearfield.engine.schema import Distance
        from nearfield.server.cli.formats import hdf5

        return hdf5.Hdf5Sink(path, shape.size, shape.datatype, shape.distance or Distance.EUCLID)
    from nearfield.server.cli.formats import vecs

    return vecs.VecsSink(path, shape.size, resume)
