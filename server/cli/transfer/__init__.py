"""Moving points between files and collections: the targets, the pipeline and its checkpoints."""
