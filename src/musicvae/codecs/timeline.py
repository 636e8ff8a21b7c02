"""Lines of steps on which voices lie one after another, so that all are encoded at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Timeline", "line_length", "phrase_bars", "phrases"]


class Timeline(NamedTuple):
    """Voices as tokens, one after another on one line of steps."""

    tokens: NDArray[np.integer]
    """(total_steps,) a token a step."""
    phrases: NDArray[np.int64]
    """(P, 2) first bar on the line, and bars, of each stretch without a rest of a bar or more; in order."""


def phrases(
    onset: NDArray[np.int64], end: NDArray[np.int64], voice: NDArray[np.int64], per_bar: int
) -> NDArray[np.int64]:
    """Return for each note (N,), in order, the number of its phrase.

    A phrase ends where the next note of the voice begins a bar or more after the end of the last, as in the published
    implementation (`gap_bars=1`), or where the voice ends.
    """
    new = np.ones(len(onset), dtype=np.bool_)
    new[1:] = (onset[1:] - end[:-1] >= per_bar) | (np.diff(voice) != 0)
    return np.cumsum(new) - 1


def phrase_bars(
    onset: NDArray[np.int64], end: NDArray[np.int64], phrase: NDArray[np.int64], per_bar: int
) -> NDArray[np.int64]:
    """Return (P, 2) first bar and bars of each phrase: from the bar of its first note to that of its last end."""
    first = np.flatnonzero(np.diff(phrase, prepend=-1))
    last = np.append(first[1:], len(phrase)) - 1
    begins = onset[first] // per_bar
    return np.stack((begins, -(-end[last] // per_bar) - begins), axis=1) if len(first) else np.zeros((0, 2), np.int64)


def line_length(first_step: NDArray[np.integer], steps: NDArray[np.integer]) -> int:
    """Return the steps of a line on which voices begin at `first_step` and are `steps` long."""
    return int(first_step[-1] + steps[-1]) if len(first_step) else 0
