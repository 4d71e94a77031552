"""Benchmarks: data sets, peers, load generation and reports."""
