"""Every limit of the engine, named with its unit. The server's own limits are in `server/settings.py`."""

from typing import Final

COLLECTION_NAME_CHARS_MAX: Final = 255
VECTOR_NAME_CHARS_MAX: Final = 255
VECTORS_PER_POINT_MAX: Final = 64
VECTOR_DIMENSIONS_MAX: Final = 65_536
DOCUMENT_VECTORS_MAX: Final = 65_536
"""Vectors of one document, or one query, of a multi-vector."""
DOCUMENT_BYTES_MAX: Final = 32 * 2**20
"""Bytes of all vectors of one document, or one query, as float32."""
POINT_ID_MAX: Final = 2**64 - 1

BATCH_POINTS_MAX: Final = 100_000
PAYLOAD_BYTES_MAX: Final = 4 * 2**20
PAYLOAD_DEPTH_MAX: Final = 64

SEARCH_LIMIT_MAX: Final = 100_000
RANGE_ROWS_MAX: Final = 2**26
"""Rows that one range search may find, of all its queries: 768 MiB of ids and distances."""
SEARCH_BATCH_MAX: Final = 1_024
PREFETCH_QUERIES_MAX: Final = 64
"""Prefetches of one search, on all levels."""
PREFETCH_DEPTH_MAX: Final = 8
CACHED_ROWS_MAX: Final = 2**18
"""Rows of a collection whose ids and versions searches keep at hand: about 250 bytes each."""
SCROLL_LIMIT_MAX: Final = 100_000
FILTER_CONDITIONS_MAX: Final = 4_096
FILTER_DEPTH_MAX: Final = 32
FILTER_ANSWERS_BYTES_MAX: Final = 16 * 2**20
"""What filters found is kept up to here for each collection, a bit a row and filter, until its next write."""

WAITING_WRITES_MAX: Final = 1_024
WAITING_WRITES_BYTES_MAX: Final = 256 * 2**20
"""Vector and payload bytes of all waiting writes of a collection."""
GROUP_COMMIT_POINTS_MAX: Final = 20_000

WAL_CHECKPOINT_BYTES: Final = 32 * 2**20
"""Size of a database's write-ahead log at which it is moved into the database."""
VECTOR_CHUNK_BYTES: Final = 64 * 2**20
"""Raw vector bytes of one entry of `vector_chunks`; SQLite takes a little less than 1 GB."""
GROWING_BYTES_SEAL: Final = 32 * 2**20
"""Raw vector bytes in the growing segment at which it is sealed."""
SEALED_ROWS_MAX: Final = 5_000_000
"""Rows beyond which merging stops making a segment larger."""
FROZEN_SEGMENTS_MAX: Final = 2
"""Frozen segments waiting to be sealed at which writers wait: bounds the memory of a load."""
INDEX_ROWS_MIN: Final = 10_000
"""Sealed segments with fewer rows are scanned: a scan that small is as fast and is exact."""
MULTIVECTOR_INDEX_ROWS_MIN: Final = 1_000
"""The same for multi-vectors."""
SETTLE_ROWS_MIN: Final = 1_000
"""Fewer growing rows stay growing when writing pauses: their scan costs less than an index search."""
INDEX_BYTES_OPEN_MAX: Final = 256 * 2**20
"""Index files that must be read are opened with their collection up to this size; else it scans meanwhile."""
DELETED_SHARE_VACUUM: Final = 0.2
"""Share of dead rows in a sealed segment at which it is rewritten."""
SEALED_SEGMENTS_TARGET: Final = 4
"""Merging starts when a collection has more sealed segments than this."""
