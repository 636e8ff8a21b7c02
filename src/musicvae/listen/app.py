"""The server of the listening test.

Browsers learn the number of a trial, the random names of its clips, and the question: no labels, no trials to come, not
whether an answer was right. They keep a key, which is all that a listener is known by.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from musicvae.errors import DataError
from musicvae.listen.design import DESIGNS, EXPERIENCE, Test
from musicvae.listen.make import ANSWERS, TEST, clip_path
from musicvae.listen.store import Listener, Store
from musicvae.web.batches import Line
from musicvae.web.fields import Answer, RequestError, read_fields
from musicvae.web.files import HANDLERS, Files
from musicvae.web.guard import Guard, hosts_of

__all__ = ["create_app"]

STATIC = Path(__file__).parent / "static"
"""The page. What it shares with that of `musicvae play` is in the second folder."""
SHARED = Path(__file__).parents[1] / "web" / "static"

SECONDS = 120.0
"""Time budget of a request: a clip has some megabytes, and a wireless network may be shared by twenty."""
HEARD = 10.0
"""Seconds of each clip that must have been heard before an answer; less where the clip is shorter."""
OVERHEAD = 8.0
"""Seconds that a trial takes besides its clips."""


def create_app(folder: Path, *, hosts: Collection[str] = ()) -> Starlette:
    """Return the application for the test in a folder; raises DataError where there is none."""
    room = Room(folder)
    app = Starlette(
        routes=[
            Route("/", room.page, methods=["GET"]),
            Route("/static/{name:path}", room.static_file, methods=["GET"]),
            Route("/clip/{token}.wav", room.clip, methods=["GET"]),
            Route("/api/test", room.about, methods=["GET"]),
            Route("/api/begin", room.begin, methods=["POST"]),
            Route("/api/state", room.state, methods=["POST"]),
            Route("/api/answer", room.answer, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, hosts=hosts or hosts_of("127.0.0.1"), seconds=SECONDS)],
        exception_handlers=HANDLERS,
        lifespan=room.lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would be made of the Host header
    return app


class Room:
    """Everything that lives as long as the server."""

    def __init__(self, folder: Path) -> None:
        self.test = Test.load(folder / TEST)
        self.design = DESIGNS[self.test.design]
        self.clips = {clip.token: clip_path(folder, clip.token) for clip in self.test.clips}
        for path in self.clips.values():
            if not path.is_file():
                raise DataError(f"{path}: is missing. Make the test anew in another folder")
        self.store = Store(folder / ANSWERS)
        self.line = Line("answers", 256)
        self.files = Files(STATIC, SHARED)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Close the file of the answers in the end."""
        yield
        await self.line.run(self.store.close)
        self.line.close()

    # ------------------------------------------------------------------------------------------- the page
    async def page(self, request: Request) -> Response:
        """Answer `GET /`."""
        return self.files.answer(request, "index.html")

    async def static_file(self, request: Request) -> Response:
        """Answer `GET /static/{name}`."""
        return self.files.answer(request, request.path_params["name"])

    async def clip(self, request: Request) -> Response:
        """Answer `GET /clip/{token}.wav`. No date and no tag: files have those of when they were made."""
        path = self.clips.get(request.path_params["token"])
        if path is None:
            raise HTTPException(404)
        return Response(await asyncio.to_thread(path.read_bytes), media_type="audio/wav")

    async def about(self, request: Request) -> Response:
        """Answer `GET /api/test`: what a listener is told before."""
        seconds = (self.test.trials + 1) * (self.design.clips * self.test.seconds + OVERHEAD)
        return Answer(
            {
                "about": self.design.about,
                "experience": EXPERIENCE,
                "trials": self.test.trials,
                "minutes": max(round(seconds / 60), 1),
            }
        )

    # ----------------------------------------------------------------------------------------- the listener
    async def begin(self, request: Request) -> Response:
        """Answer `POST /api/begin`: a new listener."""
        fields = await read_fields(request, ("experience",))
        experience = fields.whole("experience", 0, len(EXPERIENCE) - 1)
        key = await self.line.run(self.store.begin, experience, self.test.places)
        return Answer({"listener": key, **self._state(await self._known(key))})

    async def state(self, request: Request) -> Response:
        """Answer `POST /api/state`: where the listener is."""
        fields = await read_fields(request, ("listener",))
        return Answer(self._state(await self._known(fields.get("listener"))))

    async def answer(self, request: Request) -> Response:
        """Answer `POST /api/answer`: keep an answer, say where the listener is then.

        The first answer to a trial stands; to send it once more, or from a second window, does no harm.
        """
        fields = await read_fields(request, ("listener", "number", "answer"))
        listener = await self._known(fields.get("listener"))
        number = fields.whole("number", 0, self.test.trials)
        values = [value for value, _ in self.design.choices]
        answer = fields.whole("answer", min(values), max(values))
        if number > listener.answered:
            first = f"trial {listener.answered} comes first"
            raise RequestError(409, first, hint="Load the page again.", field="number")
        await self.line.run(self.store.answer, listener.number, number, answer)
        return Answer(self._state(await self._known(fields.get("listener"))))

    async def _known(self, key: Any) -> Listener:
        listener = await self.line.run(self.store.listener, key) if isinstance(key, str) else None
        if listener is None:
            raise RequestError(404, "nobody with this key takes the test", hint="Begin anew.", field="listener")
        return listener

    def _state(self, listener: Listener) -> dict[str, Any]:
        """Return what the browser shows next, and nothing that it need not know."""
        trials = self.test.session(listener.place)
        number = listener.answered
        if number >= len(trials):
            return {"done": True, "of": self.test.trials}
        choices = [{"value": value, "text": text} for value, text in self.design.choices]
        if self.design.clips == 1 and listener.place // len(self.test.sets) % 2:
            choices.reverse()  # which button comes first is balanced, too
        return {
            "done": False,
            "number": number,
            "of": self.test.trials,
            "clips": [self.test.clips[i].token for i in trials[number].clips],
            "question": self.design.question,
            "choices": choices,
            "hear": round(min(HEARD, 0.9 * self.test.seconds), 2),
        }
