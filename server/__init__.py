"""Nearfield server: the REST API, the command line and the settings around an engine database."""
