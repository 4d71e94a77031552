"""Segments: the growing one, sealed ones, and the immutable set a query pins."""
