"""Micro benchmarks of the native core, each a module to run: `python -m nearfield.bench.micro.<name>`."""
