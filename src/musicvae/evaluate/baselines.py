"""Clips that are wrong in one way each: what every measure of music ought to tell from music."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import ConfigError
from musicvae.music.score import PARTS, Score, one_key_one_note

__all__ = ["BASELINES", "change_pitches", "random_notes", "shuffle_bars"]

DRUMS = PARTS.index("drums")


def shuffle_bars(clips: Sequence[Score], rng: np.random.Generator) -> list[Score]:
    """Return the clips with their bars in random order.

    Notes keep their lengths, but end with the clip or where their key is struck again.
    """
    return [_reordered(clip, rng.permutation(clip.bars)) for clip in clips]


def change_pitches(clips: Sequence[Score], rng: np.random.Generator, share: float = 0.1) -> list[Score]:
    """Return the clips with a share of their notes (at least one) at another pitch, drums aside.

    New pitches are drawn evenly from the range of the clip. Raises ConfigError for a share outside 0–1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share is {share}; wanted 0 (none) to 1 (all)")
    found = []
    for clip in clips:
        pitched = np.flatnonzero(clip.part != DRUMS)
        pitch = clip.pitch.copy()
        if len(pitched):
            low, high = int(pitch[pitched].min()), int(pitch[pitched].max())
            low, high = (low, high) if high > low else (max(low - 1, 0), min(high + 1, 127))
            chosen = rng.choice(pitched, max(round(share * len(pitched)), 1), replace=False)
            drawn = rng.integers(low, high, len(chosen))  # one pitch fewer than there are: not the one that was
            pitch[chosen] = drawn + (drawn >= pitch[chosen])
        found.append(_like(clip, clip.onset, pitch, clip.duration, clip.velocity, clip.part))
    return found


def random_notes(clips: Sequence[Score], rng: np.random.Generator) -> list[Score]:
    """Return clips of as many notes as these, each note drawn on its own.

    Pitch, length, velocity and place in the bar are each drawn from their histogram over all the clips' notes of that
    part, and the bar evenly: every histogram is right, and nothing fits together. A key that is struck twice at once is
    struck once.
    """
    notes = [np.stack([*clip.columns, clip.onset % clip.steps_per_bar]) for clip in clips if len(clip)]
    every = np.concatenate(notes, axis=1) if notes else np.zeros((6, 0), dtype=np.int32)
    found = []
    for clip in clips:
        columns: list[NDArray[np.integer]] = [np.zeros(0, dtype=np.int64)] * 5
        for part in np.unique(clip.part):
            pool, n = every[:, every[4] == part], int((clip.part == part).sum())
            place, pitch, duration, velocity = (rng.choice(pool[k], n) for k in (5, 1, 2, 3))
            onset = rng.integers(0, clip.bars, n) * clip.steps_per_bar + place
            fresh = (onset, pitch, duration, velocity, np.full(n, part))
            columns = [np.concatenate(pair) for pair in zip(columns, fresh, strict=True)]
        found.append(_like(clip, *columns))
    return found


BASELINES: Mapping[str, Callable[[Sequence[Score], np.random.Generator], list[Score]]] = MappingProxyType(
    {
        "shuffled bars": shuffle_bars,
        "random notes": random_notes,
        "10 % of pitches changed": change_pitches,
    }
)
"""What makes each baseline of real clips."""


def _reordered(clip: Score, place: NDArray[np.integer]) -> Score:
    """Return the clip with bar b at `place[b]`."""
    onset = place[clip.onset // clip.steps_per_bar] * clip.steps_per_bar + clip.onset % clip.steps_per_bar
    return _like(clip, onset, clip.pitch, clip.duration, clip.velocity, clip.part)


def _like(clip: Score, *columns: NDArray[np.integer]) -> Score:
    """Return a Score of these columns, as long as the clip and as keyboards play it: nothing else gives it away."""
    onset, pitch, duration, velocity, part = columns
    duration = np.minimum(duration, clip.bars * clip.steps_per_bar - onset)
    struck = one_key_one_note(onset, pitch.astype(np.int64) + 128 * part, duration, velocity)
    return Score.of(
        struck.onset,
        struck.pitch & 127,
        struck.duration,
        struck.velocity,
        struck.pitch >> 7,
        bars=clip.bars,
        steps_per_beat=clip.steps_per_beat,
        meter=clip.meter,
        tempo=clip.tempo,
    )
