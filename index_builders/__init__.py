"""Index builders: ways to turn a matrix of vectors into a searchable, immutable index."""
