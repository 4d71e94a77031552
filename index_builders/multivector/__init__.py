"""Indexes over documents of many vectors: fixed-dimensional encodings, candidates by them, MaxSim after."""
