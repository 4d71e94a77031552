"""Options that import and export share, and the target they name."""

from pathlib import Path
from typing import Annotated

import typer

from nearfield.server.cli import console
from nearfield.server.cli.transfer.target import Target

LOCAL_SERVER = "http://127.0.0.1:6333"

CollectionName = Annotated[str, typer.Option("--collection", "-c", help="Name of the collection.")]
Url = Annotated[
    str | None,
    typer.Option(help=f"Server that has the collection (default: {LOCAL_SERVER}).", show_default=False),
]
Data = Annotated[
    Path | None,
    typer.Option(help="Data directory to open directly, instead of a server's URL.", show_default=False),
]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar="NEARFIELD_API_KEY", help="Key, if the server wants one.", show_default=False),
]


def open_target(url: str | None, data: Path | None, collection: str, api_key: str | None) -> Target:
    """The collection that the options mean; a local server's where they mean none."""
    if url and data:
        console.fail("give either --url or --data, not both", console.Exit.USAGE)
    if data is not None:
        from nearfield.server.cli.transfer.embedded import EmbeddedCollection

        return EmbeddedCollection(data, collection)
    from nearfield.server.cli.transfer.remote import RemoteCollection

    return RemoteCollection(url or LOCAL_SERVER, collection, api_key)
