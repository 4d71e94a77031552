"""Nearfield engine: storage, filters, search and the native core, usable without a server."""
