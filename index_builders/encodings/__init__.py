"""Encodings: compact forms of rows that distances are computed from."""
