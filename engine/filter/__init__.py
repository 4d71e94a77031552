"""Payload filters: the expression tree, its parser, and its evaluation to bitmaps of rows."""
