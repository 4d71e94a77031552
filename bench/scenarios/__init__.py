"""Whole-service measurements: over HTTP, and with filters."""
