"""Durable state: the directory lock, the catalogue, the SQLite point store, and checksummed segment files."""
