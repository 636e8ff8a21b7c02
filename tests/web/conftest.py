from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from musicvae.music import Score
from musicvae.runtime.engine import Model, load
from musicvae.web.app import create_app

HERE = "http://127.0.0.1:8421"
# The time budget is 600 seconds here: machines that run tests may be slow.


class Api(TestClient):
    """A client of the application that answers with what came back."""

    def ask(self, name: str, expect: int = 200, **fields: Any) -> Any:
        """Post JSON and return JSON."""
        answer = self.post(f"/api/{name}", json=fields)
        assert answer.status_code == expect, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def toy_models(toy_bundle: Callable[..., Path]) -> dict[str, Model]:
    """A piano with two attribute vectors, and a flat melody model."""
    models = {
        "piano": load(toy_bundle(), threads=1),
        "melody": load(toy_bundle(kind="melody", decoder="flat"), threads=1),
    }
    size = models["piano"].z
    models["piano"].attributes = {
        "density": np.linspace(-1, 1, size, dtype=np.float32),
        "register": np.ones(size, dtype=np.float32),
    }
    return models


@pytest.fixture(scope="session")
def api(toy_models: dict[str, Model]) -> Iterator[Api]:
    """A client; its server goes on for the whole session."""
    with Api(create_app(toy_models, seconds=600), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="session")
def z_text() -> Callable[[Any], str]:
    """Write a point as the API has it."""
    return lambda z: base64.urlsafe_b64encode(np.asarray(z, dtype="<f4").tobytes()).decode().rstrip("=")


@pytest.fixture(scope="session")
def z_values() -> Callable[[str], Any]:
    """Read a point as the API has it."""
    return lambda text: np.frombuffer(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), dtype="<f4")


@pytest.fixture(scope="session")
def client() -> Callable[..., Api]:
    """Make a client of an application of its own: `client(models, **settings of create_app)`."""
    return lambda models, **settings: Api(create_app(models, **{"seconds": 600, **settings}), base_url=HERE)


# ------------------------------------------------------------------------------------------ the page in a browser
@pytest.fixture(scope="module")
def address(toy_models: dict[str, Model], serving: Callable[..., Any]) -> Iterator[str]:
    """A server on a port of its own."""
    with serving(create_app(toy_models, seconds=600)) as address:
        yield address


@pytest.fixture
def fresh(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Make tabs, each of a visitor who has never been here."""
    from browser import Tab

    contexts: list[Any] = []

    def make(width: int = 1440, height: int = 900, **settings: Any) -> Tab:
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **settings))
        return Tab(contexts[-1].new_page(), address)

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def tab(fresh: Callable[..., Any]) -> Iterator[Any]:
    """A tab that must not have complained in the end."""
    made = fresh()
    yield made
    assert made.complaints == []


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A MIDI file: five bars of piano at 90."""
    onset = np.arange(0, 80, 4)
    score = Score.of(onset, 48 + onset % 24, 3, 60 + onset % 50, bars=5, tempo=90)
    return score.save(tmp_path_factory.mktemp("song") / "song.mid").read_bytes()
