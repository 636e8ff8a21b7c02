"""Many requests, one batch: what is joined, in which order, and that nobody hears of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from musicvae.music import Score
from musicvae.runtime.engine import Model
from musicvae.runtime.sampling import generators, prior
from musicvae.web import batches as module
from musicvae.web.batches import QUEUE, Batches, Line
from musicvae.web.fields import RequestError


class Gate:
    """Holds batches up until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        decode = module._decode

        def wait(batch: Any) -> Any:
            self.reached.set()
            assert self.open.wait(60)
            return decode(batch)

        monkeypatch.setattr(module, "_decode", wait)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def points(model: Model, n: int, seed: int = 0) -> tuple[Any, Any]:
    noise = generators(seed, n)
    return prior(noise, model.z), noise


def run(work: Callable[[Batches], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        batches = Batches()
        try:
            return await work(batches)
        finally:
            batches.close()

    return asyncio.run(main())


async def until(happened: threading.Event) -> None:
    assert await asyncio.to_thread(happened.wait, 60)


def test_points_that_come_during_a_batch_are_the_next_one(toy_models, gate):
    model = toy_models["piano"]

    async def work(batches: Batches) -> list[int]:
        first = asyncio.create_task(batches.decode(model, *points(model, 1), 0.7))
        await until(gate.reached)
        others = [asyncio.create_task(batches.decode(model, *points(model, n, n), 0.0)) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *others)
        return list(batches.sizes)

    assert run(work) == [1, 6]


def test_a_single_point_does_not_wait_for_somebodys_64(toy_models, gate):
    model = toy_models["piano"]

    async def work(batches: Batches) -> tuple[list[str], list[int]]:
        done: list[str] = []

        async def ask(name: str, n: int) -> None:
            await batches.decode(model, *points(model, n), 0.0)
            done.append(name)

        tasks = [asyncio.create_task(ask("first", 1))]
        await until(gate.reached)
        for name, n in (("many", 64), ("one", 1), ("two", 2)):
            tasks.append(asyncio.create_task(ask(name, n)))
            await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
        return done, list(batches.sizes)

    done, sizes = run(work)
    assert done == ["first", "one", "two", "many"]
    assert sizes == [1, 32, 32, 3]


def test_of_two_models_that_is_next_which_is_due_first(toy_models, gate):
    piano, melody = toy_models["piano"], toy_models["melody"]

    async def work(batches: Batches) -> list[str]:
        done: list[str] = []

        async def ask(model: Model, name: str, n: int) -> None:
            await batches.decode(model, *points(model, n), 0.0)
            done.append(name)

        tasks = [asyncio.create_task(ask(piano, "first", 1))]
        await until(gate.reached)
        for model, name, n in ((piano, "piano", 64), (melody, "melody", 40)):
            tasks.append(asyncio.create_task(ask(model, name, n)))
            await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
        assert list(batches.sizes) == [1, 32, 8, 32, 32]
        return done

    assert run(work) == ["first", "melody", "piano"]


def test_nobody_waits_for_ever(toy_models):
    model = toy_models["piano"]

    async def work(batches: Batches) -> int:
        many = asyncio.create_task(batches.decode(model, *points(model, 64), 0.0))

        async def impatient() -> None:  # 80 of them: more single points at any time than a batch takes
            while not many.done() and len(batches.sizes) < 100:
                await batches.decode(model, *points(model, 1), 0.0)

        await asyncio.gather(*(impatient() for _ in range(80)))
        assert many.done()
        return len(batches.sizes)

    assert 4 < run(work) < 30


@pytest.mark.parametrize("name", ["piano", "melody"])
def test_a_clip_does_not_depend_on_who_else_is_there(toy_models, name):
    model = toy_models[name]
    rng = np.random.default_rng(3)
    asked = [(int(rng.integers(1, 9)), int(seed), float(rng.choice([0, 0.5, 0.9, 1.4]))) for seed in range(20)]
    alone = [model.sample(n, seed=seed, temperature=t) for n, seed, t in asked]

    async def work(batches: Batches) -> list[list[Score]]:
        waiting = [batches.decode(model, *points(model, n, seed), t) for n, seed, t in asked]
        found = await asyncio.gather(*waiting)
        assert len(batches.sizes) == -(-sum(n for n, _, _ in asked) // 32)  # they were together
        return found

    assert run(work) == alone


def test_the_same_over_http(api, toy_models):
    def ask(seed: int) -> list[Any]:
        clips = api.ask("generate", n=1 + seed % 5, seed=seed, temperature=0.1 * (seed % 15))["clips"]
        return [clip["notes"] for clip in clips]

    alone = [ask(seed) for seed in range(30)]
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(ask, range(30))) == alone


def test_too_many_points_are_refused_until_there_is_room(toy_models, gate):
    model = toy_models["piano"]

    async def work(batches: Batches) -> None:
        first = asyncio.create_task(batches.decode(model, *points(model, 1), 0.0))
        await until(gate.reached)
        held = [asyncio.create_task(batches.decode(model, *points(model, 64), 0.0)) for _ in range(QUEUE // 64)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await batches.decode(model, *points(model, 1), 0.0)
        assert refused.value.status == 503
        assert refused.value.headers == {"Retry-After": "1"}
        for task in held:
            task.cancel()  # as the time budget does
        await asyncio.gather(*held, return_exceptions=True)
        last = asyncio.create_task(batches.decode(model, *points(model, 1), 0.0))
        gate.open.set()
        await asyncio.gather(first, last)
        assert list(batches.sizes) == [1, 1]  # nothing was computed for those that had gone

    run(work)


def test_an_error_reaches_all_who_wait_and_the_next_batch_goes_on(toy_models, monkeypatch):
    model, decode = toy_models["piano"], module._decode

    async def work(batches: Batches) -> None:
        monkeypatch.setattr(module, "_decode", lambda batch: 1 / 0)
        waiting = [batches.decode(model, *points(model, n), 0.0) for n in (1, 40)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(e) for e in found] == [ZeroDivisionError] * 2
        monkeypatch.setattr(module, "_decode", decode)
        assert len(await batches.decode(model, *points(model, 2), 0.0)) == 2

    run(work)


def test_a_line_has_room_for_few_and_knows_when_work_is_over():
    async def main() -> None:
        line, go = Line("test", 2), threading.Event()
        waiting = [asyncio.create_task(line.run(go.wait, 60)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="too many"):
            await line.run(go.wait, 60)
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        with pytest.raises(RequestError, match="too many"):  # the thread still works on what nobody waits for
            await line.run(go.wait, 60)
        go.set()
        assert await waiting[1]
        assert await line.run(divmod, 7, 2) == (3, 1)
        line.close()

    asyncio.run(main())
