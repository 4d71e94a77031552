"""The command line. Start here: `main`, then `app.COMMANDS`."""


def main() -> None:
    """Runs the `nearfield` command."""
    from nearfield.server.cli.app import run

    run()
