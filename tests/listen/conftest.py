from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")

from musicvae.listen.design import Clip, Item, Source, Test, plan
from musicvae.listen.make import CLIPS, TEST, clip_path
from musicvae.music.render import RATE, wav_bytes

Test.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for tests
LABELS = ("Grandmother's songs", "Deep Bach 9000", "A third one")


def make_test(design: str = "human-or-machine", sources: int = 2, clips: int = 4, trials: int = 4, **more: Any) -> Test:
    """A test whose clips have no sound yet. Clip c of source s is s · clips + c; then practice, then catch trials."""
    first = sources * clips
    each = 2 if design == "pairs" else 1
    owner = [*np.repeat(np.arange(sources), clips).tolist(), *range(each), -1, -1, -1, -1]
    return Test(
        design=design,
        sources=tuple(Source(LABELS[i], "machine" if i else "human", f"/home/{i}") for i in range(sources)),
        clips=tuple(Clip(f"t{i * 7919:06x}", source, f"song {i}", 120.0) for i, source in enumerate(owner)),
        sets=tuple(map(tuple, plan(design, sources, clips, trials, np.random.default_rng(1)))),
        catches=tuple(Item(tuple(range(at, at + each))) for at in range(first + each, first + each + 4, each)),
        practice=Item(tuple(range(first, first + each))),
        **{"seconds": 1.0, "seed": 0, "settings": {}, **more},
    )


@pytest.fixture(scope="session")
def toy_test() -> Callable[..., Test]:
    """Make a test: `toy_test(design, sources, clips, trials)`."""
    return make_test


@pytest.fixture
def test_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a test whose clips are short tones: `test_folder(design, …)`."""

    def write(*settings: Any, **more: Any) -> Path:
        test = make_test(*settings, **more)
        folder = tmp_path / "listening"
        (folder / CLIPS).mkdir(parents=True)
        at = np.arange(round(test.seconds * RATE)) / RATE
        for i, clip in enumerate(test.clips):
            tone = 0.1 * np.sin(2 * np.pi * (220 + 20 * i) * at).astype(np.float32)
            clip_path(folder, clip.token).write_bytes(wav_bytes(np.stack([tone, tone])))
        test.save(folder / TEST)
        return folder

    return write
