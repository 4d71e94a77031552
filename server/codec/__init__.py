"""Bytes of a request to what the engine takes, and what it gives to bytes of an answer."""
