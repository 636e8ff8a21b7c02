"""What stands in front of every route: who may ask, how long it may take, what every answer says."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import sys
import traceback
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musicvae.web.fields import RequestError

__all__ = ["HEADERS", "Guard", "hosts_of"]

log = logging.getLogger("musicvae.web")

HEADERS = {
    # No inline scripts or styles, nothing from elsewhere; blob: is what the page made itself, such as a WAV file.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "font-src 'self'; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=(), midi=(self)",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer carries."""

SECONDS = 20.0
"""Time budget of a request."""
SOUND_SECONDS = 30.0
"""The same where sound is made."""


class Guard:
    """Checks the Host and Origin headers, adds HEADERS, ends what takes too long, and turns bugs into one line."""

    def __init__(self, app: ASGIApp, hosts: Collection[str], seconds: float = SECONDS) -> None:
        """`hosts` are names that the server goes by; "*" among them stands for every address that is a number."""
        self.app, self.hosts, self.seconds = app, frozenset(hosts), seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._admit(Headers(scope=scope))
            seconds = SOUND_SECONDS if scope["path"] == "/api/wav" else self.seconds
            async with asyncio.timeout(seconds):
                await self.app(scope, receive, answer)
        except RequestError as problem:
            if not begun:
                await problem.answer(scope, receive, answer)
        except TimeoutError:
            if not begun:
                slow = RequestError(503, f"this took longer than {seconds:g} seconds", headers={"Retry-After": "1"})
                await slow.answer(scope, receive, answer)
        except Exception as error:
            where = traceback.extract_tb(sys.exc_info()[2])[-1]
            what = " ".join(str(error).split())[:200]
            place = f"{where.filename}:{where.lineno}"
            log.error("%s %s: %s: %s (%s)", scope["method"], scope["path"][:80], type(error).__name__, what, place)
            if not begun:
                bug = RequestError(
                    500, "something went wrong in the server; this is a bug of musicvae", hint="Report it."
                )
                await bug.answer(scope, receive, answer)

    def _admit(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._is_ours(_name(host)):
            # A page elsewhere may have its own name point to this machine; a browser then says that name here.
            raise RequestError(
                421, "this server does not go by that name", hint="Open the address that musicvae printed."
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise RequestError(403, "pages of other origins may not use this server")

    def _is_ours(self, name: str) -> bool:
        if name in self.hosts:
            return True
        if "*" not in self.hosts:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def hosts_of(host: str) -> set[str]:
    """Return the names that a server that listens on `host` goes by.

    Only names can be made to point elsewhere; so whoever listens on all addresses is asked by any number.
    """
    ours = {"localhost", "127.0.0.1", "::1", host.lower()}
    if host in ("0.0.0.0", "::", ""):
        name = socket.gethostname().lower()
        ours |= {"*", name, f"{name}.local"}
    return ours


def _name(host: str) -> str:
    """Return a Host header without port and brackets; nothing where it makes no sense."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower() if "@" not in host else ""
    except ValueError:
        return ""
