"""Points of many requests, decoded together.

One thread computes; while it does, the points that come in gather, and the next batch is made of them. A clip is the
same whatever else is in its batch, because each draws from a generator of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from musicvae.music.score import Score
from musicvae.runtime.engine import BATCH, Model
from musicvae.runtime.sampling import draw_tokens, generators
from musicvae.web.fields import RequestError

__all__ = ["QUEUE", "Batches", "Line"]

P = ParamSpec("P")
T = TypeVar("T")

QUEUE = 512
"""Points that may wait, of all requests together: some three seconds of work on two cores."""

PATIENCE = 8
"""A request stands behind those that come up to one batch later for each of so many points that it has.

So a single point need not wait for somebody's 64, and nobody waits for ever.
"""

RETRY_SECONDS = 1


class _Request:
    """The points of one request, and the clips that they have become."""

    def __init__(
        self, model: Model, z: NDArray[np.float32], noise: Sequence[np.random.Generator], temperature: float, now: int
    ) -> None:
        self.model, self.z, self.noise, self.temperature = model, z, noise, temperature
        self.due = now + len(z) / PATIENCE
        self.taken = 0
        self.clips: list[Score] = []
        self.done: asyncio.Future[list[Score]] = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> int:
        """Points that no batch has taken yet; none once nobody waits for them any more."""
        return 0 if self.done.done() else len(self.z) - self.taken


class Batches:
    """Decodes the points of all requests on one thread, up to BATCH at once."""

    def __init__(self) -> None:
        self.sizes: deque[int] = deque(maxlen=1000)
        """How many points each of the last batches had."""
        self._requests: list[_Request] = []
        self._done = 0
        self._encoding = 0
        self._thread = ThreadPoolExecutor(1, "musicvae-batches")
        self._runs: asyncio.Task[None] | None = None

    async def decode(
        self, model: Model, z: NDArray[np.float32], noise: Sequence[np.random.Generator], temperature: float
    ) -> list[Score]:
        """Decode z (n, Z), each with its own generator of `noise`; raises RequestError 503 where too many wait."""
        self._make_room(len(z))
        request = _Request(model, z, noise, temperature, self._done)
        self._requests.append(request)
        if self._runs is None or self._runs.done():
            self._runs = asyncio.create_task(self._run())
        return await request.done  # cancelled with the request that waits for it

    async def settle(self, model: Model, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Send z (n, Z) through the model as often as it says (see `Model.settle`), in batches with all others'.

        Raises RequestError 503 where too many wait.
        """
        for _ in range(model.bundle.config.sample.settle):
            clips = await self.decode(model, z, generators(0, len(z)), 0.0)  # at 0 noise decides nothing
            z = await self._between(len(z), model.settle_once, z, clips)
        return z

    async def encode(self, model: Model, music: Score) -> NDArray[np.float32]:
        """Return the latent vectors (windows, Z) of music, computed between two batches; raises RequestError 503."""
        return await self._between(-(-music.bars // model.bars), model.encode, music)

    async def _between(self, clips: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Encode so many clips between two batches."""
        self._make_room(clips)
        self._encoding += clips
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
        finally:
            self._encoding -= clips

    def _make_room(self, points: int) -> None:
        if sum(r.waiting for r in self._requests) + self._encoding + points > QUEUE:
            raise busy()

    def close(self) -> None:
        """Stop after the batch in hand."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            self._done += 1
            self.sizes.append(len(batch))
            try:
                clips = await loop.run_in_executor(self._thread, _decode, batch)
            except Exception as error:
                for request, _ in batch:
                    if not request.done.done():
                        request.done.set_exception(error)
                continue
            for (request, _), clip in zip(batch, clips, strict=True):
                request.clips.append(clip)  # in order: each batch takes the next points of a request
                if len(request.clips) == len(request.z) and not request.done.done():
                    request.done.set_result(request.clips)

    def _take(self) -> list[tuple[_Request, int]]:
        """Return the next batch: the points that are due first, and others of the same model."""
        self._requests = sorted((r for r in self._requests if r.waiting), key=lambda r: r.due)
        batch: list[tuple[_Request, int]] = []
        for request in self._requests:
            if request.model is self._requests[0].model:
                count = min(request.waiting, BATCH - len(batch))
                batch += [(request, request.taken + i) for i in range(count)]
                request.taken += count
        return batch


def _decode(batch: Sequence[tuple[_Request, int]]) -> list[Score]:
    model = batch[0][0].model
    z = np.stack([request.z[i] for request, i in batch])
    temperatures = np.array([request.temperature for request, _ in batch])
    tokens = draw_tokens(model.backend, z, [request.noise[i] for request, i in batch], temperatures)
    return [model.codec.decode(clip) for clip in tokens]


class Line:
    """Work that goes on one thread of its own, one piece after another, with room for few to wait."""

    def __init__(self, name: str, room: int) -> None:
        self._thread = ThreadPoolExecutor(1, f"musicvae-{name}")
        self._room, self._inside = room, 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work when it is its turn; raises RequestError 503 where there is no room."""
        if self._inside >= self._room:
            raise busy()
        self._inside += 1
        future = asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))
        future.add_done_callback(self._out)  # not when the request gives up: the thread goes on
        return await asyncio.shield(future)

    def _out(self, future: asyncio.Future[Any]) -> None:
        self._inside -= 1
        if not future.cancelled():
            future.exception()  # seen, even if nobody waits any more

    def close(self) -> None:
        """Stop after the work in hand."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def busy() -> RequestError:
    """Return the answer to a request that there is no room for."""
    return RequestError(
        503,
        "too many requests are waiting",
        hint=f"Ask again in {RETRY_SECONDS} s.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
