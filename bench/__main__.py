"""`python -m nearfield.bench`, the same as `nearfield bench`."""

import typer

from nearfield.bench.command import bench

app = typer.Typer(add_completion=False)
app.command()(bench)

if __name__ == "__main__":
    app()
