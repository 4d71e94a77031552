"""Index protocol, registry and specification; the builders themselves live in `nearfield.index_builders`."""
