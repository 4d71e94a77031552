"""Reports of recorded measurements: a terminal table, plots, and one self-contained HTML page."""
