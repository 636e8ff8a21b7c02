"""The files of a page, and errors that come from no route: what all pages of musicvae share."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from musicvae.errors import MusicVAEError
from musicvae.web.fields import RequestError

__all__ = ["HANDLERS", "Files"]


class Files:
    """Static files of one folder or several; of two with one name, that of the first."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def answer(self, request: Request, name: str) -> Response:
        """Return a file, or 304 where the browser has it; raises HTTPException 404."""
        # A name from outside is only ever compared with the names that are there.
        found = {p.relative_to(f).as_posix(): p for f in self.folders[::-1] for p in f.rglob("*") if p.is_file()}
        if name not in found:
            raise HTTPException(404)
        content = found[name].read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=_media_type(name), headers=headers)


def _media_type(name: str) -> str:
    """Return the type of a static file; those of scripts are not left to what the machine has registered."""
    known = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".html": "text/html"}
    known |= {".svg": "image/svg+xml", ".json": "application/json", ".webmanifest": "application/manifest+json"}
    suffix = Path(name).suffix.lower()
    return known.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


# ----------------------------------------------------------------------------------------------------- errors
def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.answer


def _our_error(_: Request, error: Exception) -> Response:
    return RequestError(422, str(error)).answer


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing at this address", 405: f"this address does not answer {request.method[:20]}"}
    hint = f"Use {error.headers['Allow']}." if error.headers and "Allow" in error.headers else ""
    what = said.get(error.status_code, error.detail)
    return RequestError(error.status_code, what, hint=hint, headers=error.headers).answer


HANDLERS: dict[Any, Any] = {HTTPException: _http_error, MusicVAEError: _our_error, RequestError: _problem}
"""What Starlette answers errors with."""
