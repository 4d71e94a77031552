"""Readers and writers of the files `nearfield import` and `export` know, one module per format."""
