"""`python -m nearfield.bench`, the same as `nearfield bench`."""

import typer

from nearfield.bench.command import bench

if __name__ == "__main__":
    typer.run(bench)
