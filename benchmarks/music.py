"""Music made up on the spot, with as many notes a bar as real music has, so that everything runs everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicvae.music.score import PARTS, Score

_LOG_MEAN, _LOG_SPREAD = 2.2, 0.75
"""Logarithm of a song's piano notes a bar: mean and standard deviation between songs, about as in LPD-cleansed."""
_WITHIN = 8.0
"""Shape of the Gamma that the mean of a bar's notes, a Poisson number, follows: bars differ by some third of it."""
_EMPTY = 0.1
"""Share of bars in which no piano note begins."""


def song(seed: int, bars: int = 80, density: float | None = None) -> Score:
    """Return a song with a piano, a melody, a bass and drums.

    The piano has `density` notes a bar on average: from 2 to 40, and 11 in the mean of many songs, if not given. The
    others play all the time, so that their phrases are as long as the song.
    """
    rng = np.random.default_rng([9, seed])
    density = density or float(np.clip(rng.lognormal(_LOG_MEAN, _LOG_SPREAD), 2, 40))
    notes = rng.poisson(density * rng.gamma(_WITHIN, 1 / _WITHIN, bars)).clip(1, 60)
    notes[rng.random(bars) < _EMPTY] = 0
    notes[1:][notes[:-1] == 0] |= 2  # never two empty bars running, which no clip may have
    bar = np.repeat(np.arange(bars), notes)
    onset = 16 * bar + 2 * rng.integers(0, 8, len(bar)) + (rng.random(len(bar)) < 0.2)
    columns: list[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], str]] = []
    columns.append((onset, rng.integers(36, 96, len(onset)), rng.integers(1, 9, len(onset)), "piano"))
    for name, low, high, every in (("melody", 60, 84, 2), ("bass", 28, 48, 4)):
        begins = np.flatnonzero(rng.random(16 * bars // every) < 0.6) * every
        columns.append((begins, rng.integers(low, high, len(begins)), np.full(len(begins), every), name))
    hits = np.flatnonzero(rng.random(16 * bars) < 0.5)
    columns.append((hits, rng.choice([36, 38, 42, 46, 49], len(hits)), np.ones(len(hits), int), "drums"))
    begins, pitch, duration, part = (
        np.concatenate(column)
        for column in zip(*((o, p, d, np.full(len(o), PARTS.index(k))) for o, p, d, k in columns), strict=True)
    )
    return Score.of(begins, pitch, duration, rng.integers(40, 110, len(begins)), part, bars=bars, tempo=100)


def write_songs(folder: Path, songs: int, bars: int = 80) -> Path:
    """Write songs as MIDI files to a new folder and return it."""
    folder.mkdir(parents=True)
    for seed in range(songs):
        song(seed, bars).save(folder / f"{seed:05}.mid")
    return folder


def data_set(folder: str, songs: int, bars: int = 80) -> None:
    """Make a prepared data set of songs made up."""
    from musicvae.data.prepare import prepare

    sources = write_songs(Path(folder).with_name("songs"), songs, bars)
    prepare([sources], folder)
