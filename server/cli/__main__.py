"""`python -m nearfield.server.cli`, the same as `nearfield`."""

from nearfield.server.cli import main

main()
