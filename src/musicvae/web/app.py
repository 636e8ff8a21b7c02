"""The routes of the playground; docs/web.md is their description."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import musicvae
from musicvae.codecs.protocol import METER
from musicvae.config import TEMPERATURE
from musicvae.evaluate.reconstruction import count_notes
from musicvae.latent import slerp
from musicvae.music.score import PARTS, Change, Reading, Score
from musicvae.runtime.engine import Model
from musicvae.runtime.sampling import generators
from musicvae.web.batches import Batches, Line
from musicvae.web.clips import (
    MAX_NOTES,
    MAX_SECONDS,
    MAX_SOUND_NOTES,
    NOWHERE,
    TEMPO,
    Drawn,
    clip_json,
    joined,
    noise,
    parse_clips,
)
from musicvae.web.fields import BODY_BYTES, Answer, Fields, RequestError, query_fields, read_body, read_fields
from musicvae.web.files import HANDLERS, Files
from musicvae.web.guard import SECONDS, Guard, hosts_of
from musicvae.web.models import MOST_OF_AN_ATTRIBUTE, model_json
from musicvae.web.reading import Wanted
from musicvae.web.uploads import Reader

__all__ = ["STATIC", "create_app"]

STATIC = Path(__file__).parent / "static"
"""The page."""

MOST = 64
"""Most clips of one request."""
WINDOWS = 32
"""Most windows of an uploaded file."""
HOTTEST = 2.0
"""Highest temperature: noise takes over far below it."""
SEED = 2**53 - 1
"""Highest seed: the last whole number that scripts of a page can tell from the next."""

MIDI_TYPES = ("application/octet-stream", "audio/midi", "audio/mid", "audio/x-midi", "audio/sp-midi")
DRAWING = ("model", "temperature", "seed")
POINTS = (*DRAWING, "index")


def create_app(
    models: Mapping[str, Model],
    *,
    hosts: Collection[str] = (),
    static: Path = STATIC,
    seconds: float = SECONDS,
) -> Starlette:
    """Return the application for these models, the first of which is the default.

    `hosts` are the names that the server goes by (default: this machine's own), `seconds` is the time budget of a
    request, a quarter of it for reading a file.
    """
    playground = Playground(models, static, seconds)
    post = {
        "generate": playground.generate,
        "decode": playground.decode,
        "walk": playground.walk,
        "bend": playground.bend,
        "vary": playground.vary,
        "encode": playground.encode,
        "midi": playground.midi,
        "wav": playground.wav,
    }
    app = Starlette(
        routes=[
            Route("/", playground.page, methods=["GET"]),
            Route("/static/{name:path}", playground.static_file, methods=["GET"]),
            Route("/api/models", playground.list_models, methods=["GET"]),
            *(Route(f"/api/{name}", endpoint, methods=["POST"]) for name, endpoint in post.items()),
        ],
        middleware=[Middleware(Guard, hosts=hosts or hosts_of("127.0.0.1"), seconds=seconds)],
        exception_handlers=HANDLERS,
        lifespan=playground.lifespan,
    )
    app.router.redirect_slashes = False  # a redirect would be made of the Host header
    app.state.playground = playground
    return app


class Playground:
    """Everything that lives as long as the server: the models and the threads that compute."""

    def __init__(self, models: Mapping[str, Model], static: Path, seconds: float) -> None:
        self.models, self.files = dict(models), Files(static)
        self.default = next(iter(self.models))
        self.batches = Batches()
        ways = {
            way: Wanted(model.codec.parts, model.codec.config.steps_per_beat, any_meter)
            for name, model in self.models.items()
            for way, any_meter in ((f"0 {name}", False), (f"1 {name}", True))
        }
        self.reader = Reader(ways, seconds=seconds / 4)
        self.reading, self.sound = Line("reading", 8), Line("sound", 4)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Stop the threads and the reader at the end."""
        yield
        self.batches.close()
        self.reading.close()
        self.sound.close()
        self.reader.close()

    # ------------------------------------------------------------------------------------------- the page
    async def page(self, request: Request) -> Response:
        """Answer `GET /`."""
        return self.files.answer(request, "index.html")

    async def static_file(self, request: Request) -> Response:
        """Answer `GET /static/{name}`."""
        return self.files.answer(request, request.path_params["name"])

    async def list_models(self, request: Request) -> Response:
        """Answer `GET /api/models`."""
        limits = {
            "body_bytes": BODY_BYTES,
            "n": MOST,
            "temperature": HOTTEST,
            "windows": WINDOWS,
            "notes": MAX_NOTES,
            "seconds": MAX_SECONDS,
            "sound_notes": MAX_SOUND_NOTES,
            "tempo": TEMPO,
        }
        models = [model_json(name, model) for name, model in self.models.items()]
        return Answer(
            {
                "version": musicvae.__version__,
                "default": self.default,
                "parts": PARTS,
                "models": models,
                "limits": limits,
            }
        )

    # -------------------------------------------------------------------------------------- points → clips
    async def generate(self, request: Request) -> Response:
        """Answer `POST /api/generate`."""
        fields = await read_fields(request, (*DRAWING, "n"))
        drawn = self._drawn(fields)
        each = generators(drawn.seed, fields.whole("n", 1, MOST, 4))
        z = await self.batches.settle(drawn.model, drawn.model.prior(each))
        scores = await self.batches.decode(drawn.model, z, each, drawn.temperature)
        rows = enumerate(zip(scores, z, strict=True))
        return Answer({"clips": [clip_json(drawn.name, score, drawn.facts(point, i)) for i, (score, point) in rows]})

    async def decode(self, request: Request) -> Response:
        """Answer `POST /api/decode`."""
        fields = await read_fields(request, (*POINTS, "z"))
        drawn = self._drawn(fields)
        return Answer({"clips": await self._clips(drawn, fields.points("z", drawn.model.z, 1, MOST))})

    async def walk(self, request: Request) -> Response:
        """Answer `POST /api/walk`."""
        fields = await read_fields(request, (*POINTS, "corners", "at"))
        drawn = self._drawn(fields)
        corners = fields.points("corners", drawn.model.z, 2, 4)
        if len(corners) == 3:
            raise RequestError(400, "corners has 3 entries; wanted 2 or 4", field="corners")
        across, *down = fields.numbers("at", len(corners) // 2, 0, 1)
        left, right = (slerp(a, b, down[0]) for a, b in zip(corners[:2], corners[2:], strict=True)) if down else corners
        (clip,) = await self._clips(drawn, slerp(left, right, across)[None])
        return Answer({"clip": clip})

    async def bend(self, request: Request) -> Response:
        """Answer `POST /api/bend`."""
        fields = await read_fields(request, (*POINTS, "z", "amounts"))
        drawn = self._drawn(fields)
        z = fields.point("z", drawn.model.z)
        moved = drawn.model.move(z, fields.amounts("amounts", drawn.model.attributes, MOST_OF_AN_ATTRIBUTE))
        before, after = await self._decode(drawn, np.stack([z, moved]))
        counts = count_notes(before, after)
        far = float(np.linalg.norm(moved - z))
        distance = {
            "latent": round(far, 4),
            "relative": round(far / np.sqrt(2 * drawn.model.z), 4),
            "notes_kept": counts.matched,
            "notes_before": counts.reference,
            "notes_after": counts.estimate,
        }
        return Answer({"clip": clip_json(drawn.name, after, drawn.facts(moved)), "distance": distance})

    async def vary(self, request: Request) -> Response:
        """Answer `POST /api/vary`."""
        fields = await read_fields(request, (*POINTS, "z", "amount", "n", "targets"))
        drawn = self._drawn(fields)
        z = fields.point("z", drawn.model.z)
        amount, n = fields.number("amount", 0, 1, 0.3), fields.whole("n", 1, MOST, 8)
        targets = drawn.model.prior(generators(fields.whole("targets", 0, SEED, drawn.seed), n))
        return Answer({"clips": await self._clips(drawn, np.stack([slerp(z, t, amount) for t in targets]))})

    def _drawn(self, fields: Fields, temperature: float = TEMPERATURE) -> Drawn:
        name = fields.get("model", self.default)
        if not isinstance(name, str) or name not in self.models:
            raise RequestError(
                404, "there is no such model", hint=f"There are: {', '.join(self.models)}.", field="model"
            )
        index = fields.get("index", None)
        return Drawn(
            name,
            self.models[name],
            fields.number("temperature", 0, HOTTEST, temperature),
            fields.whole("seed", 0, SEED, 0),
            index if index is None else fields.whole("index", 0, MOST - 1),
        )

    async def _decode(self, drawn: Drawn, z: NDArray[np.float32]) -> list[Score]:
        return await self.batches.decode(drawn.model, z, noise(drawn, len(z)), drawn.temperature)

    async def _clips(self, drawn: Drawn, z: NDArray[np.float32]) -> list[dict[str, Any]]:
        scores = await self._decode(drawn, z)
        return [clip_json(drawn.name, score, drawn.facts(point)) for score, point in zip(scores, z, strict=True)]

    # -------------------------------------------------------------------------------------- files ⇄ clips
    async def encode(self, request: Request) -> Response:
        """Answer `POST /api/encode`."""
        fields = query_fields(request, (*DRAWING, "any_meter"))
        drawn = self._drawn(fields, temperature=0.0)
        any_meter = fields.whole("any_meter", 0, 1, 0)
        body = await read_body(request, MIDI_TYPES)
        reading = await self.reading.run(self.reader.read, f"{any_meter} {drawn.name}", body)
        cut = await self.reading.run(_cut, drawn.model, reading)
        z = await self.batches.encode(drawn.model, cut.whole)
        copies = [replace(copy, tempo=reading.score.tempo) for copy in await self._decode(drawn, z)]
        windows = [
            {
                "first_bar": first,
                "original": clip_json(drawn.name, window, NOWHERE),
                "reconstruction": clip_json(drawn.name, copy, drawn.facts(point)),
                "changes": _changes(changes),
                "notes_kept": count_notes(window, copy).matched,
            }
            for first, window, changes, point, copy in zip(cut.starts, cut.windows, cut.changes, z, copies, strict=True)
        ]
        return Answer(
            {
                "bars": reading.score.bars,
                "notes_found": reading.report.notes_found,
                "notes_kept": reading.report.notes_kept,
                "tempo": reading.score.tempo,
                "changes": _changes(reading.report.changes),
                "windows": windows,
                "windows_left_out": cut.left_out,
            }
        )

    async def midi(self, request: Request) -> Response:
        """Answer `POST /api/midi`."""
        from musicvae.music.midi import midi_bytes  # loads symusic

        content = await self.sound.run(midi_bytes, await _music(request))
        return _file_answer(content, "audio/midi", "musicvae.mid")

    async def wav(self, request: Request) -> Response:
        """Answer `POST /api/wav`."""
        score = await _music(request)
        if score.seconds > MAX_SECONDS:
            raise RequestError(400, f"the music lasts {score.seconds:.0f} seconds; wanted at most {MAX_SECONDS}")
        if len(score) > MAX_SOUND_NOTES:
            raise RequestError(413, f"the music has {len(score):,} notes; wanted at most {MAX_SOUND_NOTES:,} for sound")
        return _file_answer(await self.sound.run(_wav, score), "audio/wav", "musicvae.wav")


class Cut(NamedTuple):
    """Music in windows of a model."""

    whole: Score
    """All windows together."""
    starts: list[int]
    """The first bar of each window in the file."""
    windows: list[Score]
    changes: list[tuple[Change, ...]]
    """What the model's tokens cannot hold of each."""
    left_out: int
    """Windows beyond the most that are taken."""


def _cut(model: Model, reading: Reading) -> Cut:
    """Cut music into the windows that `Model.encode` takes of it, up to WINDOWS of them."""
    score = reading.score
    if score.meter != METER:
        raise RequestError(
            422,
            f"the file is in {score.meter[0]}/{score.meter[1]}; the model knows 4/4 alone",
            hint="Ask again with any_meter=1 to count its bars in 4/4 all the same.",
            field="any_meter",
        )
    found = model.starts(score)
    whole = score.cut(found[0], WINDOWS * model.bars)
    starts = [first for first in found if first < found[0] + whole.bars]
    windows = [score.cut(first, model.bars) for first in starts]
    changes = [model.codec.encode(window).changes for window in windows]
    return Cut(whole, starts, windows, changes, len(found) - len(starts))


def _changes(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
    return [{"reason": change.reason, "notes": change.notes} for change in changes]


async def _music(request: Request) -> Score:
    """Return the Score of a request for a file."""
    fields = await read_fields(request, ("clip", "clips"))
    if ("clip" in fields.content) == ("clips" in fields.content):
        raise RequestError(400, "wanted either clip or clips")
    if "clip" in fields.content:
        return parse_clips([fields.get("clip")], "clip")[0]
    return joined(parse_clips(fields.list("clips", 1, MOST), "clips"))


def _wav(score: Score) -> bytes:
    from musicvae.music.render import render, wav_bytes

    return wav_bytes(render(score))


def _file_answer(content: bytes, media_type: str, name: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
