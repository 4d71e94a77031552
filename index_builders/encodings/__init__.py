"""Vectors as codes of a few bits per dimension; each of these encodes and decodes numpy arrays."""

from nearfield.index_builders.encodings.lvq import LvqCodes, LvqEncoding, TwoLevelCodes
from nearfield.index_builders.encodings.means import Means

__all__ = ["LvqCodes", "LvqEncoding", "Means", "TwoLevelCodes"]
