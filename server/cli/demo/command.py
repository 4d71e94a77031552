"""The `demo` command."""

import os
import platform
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from nearfield.engine.errors import DirectoryLocked
from nearfield.server.cli import console
from nearfield.server.cli.demo.client import COLLECTION, DemoClient, Hit
from nearfield.server.cli.demo.corpus import Document, module_names, read_corpus
from nearfield.server.cli.demo.server_process import ServerProcess, free_port
from nearfield.server.cli.demo.vectoriser import FIT_STEPS, TextVectoriser
from nearfield.server.cli.progress import SecondsColumn
from nearfield.server.settings import Settings

TEXT_CHARS = 1_500
"""How much of a long text counts for its vector."""
QUESTION = "run a command in a subprocess and get its output"
FILTERED_QUESTION = "compress bytes"
SIMILAR_TO = "json.loads"
SCORE_CHARS, TITLE_CHARS, SUMMARY_CHARS_MIN, GAP_CHARS = 5, 34, 20, 2


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop the server after the searches.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Data directory (default: nearfield/demo in the cache directory).", show_default=False
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port (default: 6333, or the next free one).")
    ] = None,
) -> None:
    """Start a server, fill a collection with real texts, and search it.

    The texts are the documentation strings of the Python that runs this, made into vectors by a small text
    vectoriser that is part of the demo; nothing is downloaded. NEARFIELD_DATA and others count as for serve.
    """
    given: dict[str, Any] = {
        name: value for name, value in (("data", data), ("port", port)) if value is not None
    }
    settings = Settings(**given)
    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as stack:
        try:
            server = _start(settings, stack)
            client = DemoClient(server.url, settings.api_key)
            stack.callback(client.close)
            documents, texts = _fill(client)
            similar = _search(client, documents, texts)
            console.out.print(Text("\nRepeat the last one:", style="bold"))
            console.out.print(client.curl(similar), soft_wrap=True, markup=False)
            if once:
                return
            console.out.print(f"\nThe server goes on at [bold]{server.url}[/] (docs: {server.url}/docs).")
            console.out.print("Ctrl-C stops it.")
            server.wait()
        except KeyboardInterrupt:
            console.note("\nstopping")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _start(settings: Settings, stack: ExitStack) -> ServerProcess:
    """The server, on the chosen or usual directory; on a temporary one where another demo holds the usual."""
    port = free_port(settings.host, settings.port)
    if settings.port not in (0, port):
        console.note(f"port {settings.port} is taken; using {port}")
    chosen = "data" in settings.model_fields_set
    data = settings.data if chosen else _cache_directory()
    try:
        server = ServerProcess(data, settings.host, port)
    except DirectoryLocked:
        if chosen:
            raise
        console.note(f"{data} is in use by another demo; using a temporary directory")
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearfield-demo-")))
        server = ServerProcess(data, settings.host, port)
    stack.callback(server.stop)
    console.out.print(f"[bold]Nearfield[/] at [bold]{server.url}[/]")
    console.out.print(f"data in {escape(str(data))}\n", soft_wrap=True)
    return server


def _cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nearfield" / "demo"


def _fill(client: DemoClient) -> tuple[list[Document], TextVectoriser]:
    """Reads the texts, makes their vectors and uploads both."""
    texts = TextVectoriser()
    with _steps() as progress:
        names = module_names()
        reading = progress.add_task("reading", total=len(names), note="")
        documents = read_corpus(lambda name: progress.advance(reading))
        count = f"{len(documents):,} texts of Python {platform.python_version()}"
        progress.update(reading, note=count)
        fitting = progress.add_task("vectors", total=FIT_STEPS, note="")
        vectors = texts.fit([_text(document) for document in documents], lambda: progress.advance(fitting))
        progress.update(fitting, note=f"{texts.size} dimensions each")
        sending = progress.add_task("upload", total=len(documents), note="")
        client.create(texts.size)
        began = time.perf_counter()
        client.upload(documents, vectors, lambda count: progress.advance(sending, count))
        rate = len(documents) / (time.perf_counter() - began)
        progress.update(sending, note=f"{rate:,.0f} points/s into {COLLECTION!r}")
    return documents, texts


def _text(document: Document) -> str:
    return f"{document.title} {document.title} {document.text[:TEXT_CHARS]}"


@contextmanager
def _steps() -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(bar_width=20, complete_style="cyan", finished_style="green"),
        SecondsColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console.out,
    ) as progress:
        yield progress


def _search(client: DemoClient, documents: list[Document], texts: TextVectoriser) -> dict[str, Any]:
    """Three searches; returns the body of the last."""
    question, filtered = texts.transform([QUESTION, FILTERED_QUESTION])
    _show(f"“{QUESTION}”", *client.search(question))
    only = {"must": [{"key": "kind", "match": {"value": "function"}}]}
    _show(f"“{FILTERED_QUESTION}”, functions only", *client.search(filtered, filter=only))
    titles = [document.title for document in documents]
    known = titles.index(SIMILAR_TO) if SIMILAR_TO in titles else 0
    _show(f"similar to {titles[known]}, by its id", *client.search(known))
    return {"query": known, "limit": 5, "with_payload": ["title", "summary"]}


def _show(what: str, hits: list[Hit], seconds: float) -> None:
    table = Table(
        title=Text.assemble((what, "bold"), (f"  {console.duration(seconds)}", "dim")),
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        padding=(0, GAP_CHARS, 0, 0),
        show_header=False,
    )
    titles = min(TITLE_CHARS, max((len(hit.title) for hit in hits), default=0))
    rest = max(SUMMARY_CHARS_MIN, console.out.width - SCORE_CHARS - titles - 2 * GAP_CHARS)
    for width, style in ((SCORE_CHARS, "cyan"), (titles, ""), (rest, "dim")):
        table.add_column(width=width, style=style, no_wrap=True, overflow="ellipsis")
    for hit in hits:
        table.add_row(f"{hit.score:.3f}", Text(hit.title), Text(hit.summary))
    console.out.print()
    console.out.print(table)
