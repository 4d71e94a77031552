"""Which index a vector's segments are to have, for vectors and multi-vectors alike."""

from typing import Final

from nearfield.engine.errors import InvalidRequest, Unprocessable
from nearfield.engine.index.registry import Registry
from nearfield.engine.index.spec import IndexConfig, IndexSpec
from nearfield.engine.schema import VectorSpec

_SCAN: Final = "flat"
_POLICY: Final = "auto"


def resolve_index(registry: Registry, vector: VectorSpec, count: int | None) -> IndexSpec | None:
    """The concrete spec that a vector's index config means for a segment; None for an exact scan.

    Args:
        count: rows of the segment; None for the largest. A segment that outgrows the memory its index may
            take is scanned.

    Raises:
        InvalidRequest: unknown kind or parameter, or a distance the kind does not compute.
        Unprocessable: `count` is None, and no index fits the memory that is allowed.
    """
    if vector.multivector is None:
        try:
            spec = registry.resolve(vector.index, count, vector.size, vector.distance.metric)
        except Unprocessable:
            if count is None:
                raise
            return None
        return None if spec.kind == _SCAN else spec
    wanted = IndexConfig.parse(vector.index)
    if wanted.kind == _SCAN or (wanted.kind == _POLICY and not vector.distance.larger_is_nearer):
        return None
    if not vector.distance.larger_is_nearer:
        raise InvalidRequest(
            f"indexes over multi-vectors compute Cosine and Dot, not {vector.distance}", "index.kind"
        )
    return registry.resolve_multivector(vector.index)
