"""musicvae play."""

from __future__ import annotations

from typing import Literal

import click

from musicvae.cli import options

PORT = 8421


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 takes one that is free."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Others than this machine's own let everybody in the network use the page.",
)
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser. [default: yes]")
@options.precision
def command(
    models: tuple[str, ...], port: int, host: str, browser: bool, precision: Literal["int8", "float32"]
) -> None:
    """Open a page to hear, walk and bend what models make.

    MODEL is a bundled name or a folder that `musicvae export` wrote; the page offers those that are named and those
    that ship. It is served by this machine for this machine. Ctrl-C ends it.
    """
    import ipaddress
    import threading
    import webbrowser

    from musicvae.errors import MissingExtraError

    try:
        from musicvae.web.app import create_app
        from musicvae.web.guard import hosts_of
        from musicvae.web.models import open_models
        from musicvae.web.server import address, listen, serve
    except ModuleNotFoundError as error:
        raise MissingExtraError("The page", "web") from error

    opened = open_models(models, precision)
    with listen(host, port) as listening:
        here = address(listening)
        if not ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
            click.echo(f"Warning: listening on {host}: everybody in the network can use this page.", err=True)

        def ready() -> None:
            click.echo(f"{here}  (Ctrl-C ends it)")
            if browser:
                threading.Thread(target=webbrowser.open, args=(here,), daemon=True).start()  # some wait for the browser

        serve(create_app(opened, hosts=hosts_of(host)), listening, ready)
