"""The application on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from musicvae.errors import MusicVAEError

__all__ = ["address", "listen", "network_address", "serve"]

CONNECTIONS = 256
"""Connections and requests at once; those beyond get 503."""
PATIENCE = 10.0
"""Seconds in which the head of a request must have come; the guard has its own for bodies."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. Raises MusicVAEError where that is not possible."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind)
    except (OSError, UnicodeError) as error:
        what = getattr(error, "strerror", None) or error
        raise MusicVAEError(f"{host}: is no address of this machine ({what}). Try --host 127.0.0.1") from None
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would share the port with another server
            found.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(128)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise MusicVAEError(
                f"port {port} of {host} is taken, perhaps by another `musicvae play`. "
                "Choose another with --port, or any that is free with --port 0"
            ) from None
        raise MusicVAEError(
            f"port {port} of {host} cannot be used ({error.strerror}). Choose another with --port"
        ) from None
    return found


def address(listening: socket.socket) -> str:
    """Return the address that a browser on this machine opens."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def network_address(listening: socket.socket) -> str | None:
    """Return the address that other machines open, or None where none can."""
    host, port = listening.getsockname()[:2]
    if host not in ("0.0.0.0", "::"):
        return None if ipaddress.ip_address(host.partition("%")[0]).is_loopback else address(listening)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(("192.0.2.1", 9))  # sends nothing: it only asks which of our addresses leads out
        return f"http://{way.getsockname()[0]}:{port}/"
    return None


def serve(app: Starlette, listening: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C; `ready` is called once requests are answered."""
    if hasattr(signal, "SIGPIPE"):
        # The command line lets a closed pipe end it; here a client that hangs up must not.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    config = uvicorn.Config(
        app,
        http=_Patient,
        log_config=None,
        log_level="error",  # not for every scanner that speaks no HTTP
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=2,
    )
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, ready).run(sockets=[listening])


class _Patient(H11Protocol):
    """Hangs up on a client that begins a request and does not go on: each holds one of the CONNECTIONS."""

    patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.patience = self.loop.call_later(PATIENCE, transport.close)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of a head, if it is not whole; a byte now and then does not prolong it."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.stop_waiting()
        elif self.patience is None:
            self.patience = self.loop.call_later(PATIENCE, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self.stop_waiting()
        super().connection_lost(exc)

    def stop_waiting(self) -> None:
        """Take a head as whole."""
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self.ready()
