"""Transforms: learned maps of rows and queries into a smaller space."""
