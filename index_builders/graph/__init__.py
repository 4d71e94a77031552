"""The compressed graph: built and searched on LVQ codes of LeanVec-projected rows."""
