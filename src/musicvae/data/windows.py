"""Which stretches of a song make a clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_ONSETS_PER_BAR", "valid_windows"]

MIN_ONSETS_PER_BAR = 2
"""A clip has at least this many notes a bar on average: 32 in 16 bars."""


def valid_windows(
    notes_per_bar: NDArray[np.integer], first_bar: NDArray[np.integer], bars: NDArray[np.integer], length: int
) -> NDArray[np.int64]:
    """Return the first bar of every clip of `length` bars, ascending.

    notes_per_bar (all bars of all songs), first_bar and bars (songs). A clip lies within one song, has at least
    MIN_ONSETS_PER_BAR notes a bar on average and never two empty bars running (paper, appendix A: "more than one
    bar of consecutive rests"). Clips start at every bar and overlap.
    """
    total = len(notes_per_bar)
    if total < length:
        return np.zeros(0, dtype=np.int64)
    notes = np.concatenate([[0], np.cumsum(notes_per_bar)])
    empty = np.asarray(notes_per_bar) == 0
    pairs = np.concatenate([[0], np.cumsum(empty[:-1] & empty[1:]), [0]])  # pairs[b]: empty pairs that begin before b
    pairs[-1] = pairs[-2]
    start = np.arange(total - length + 1)
    last_bar = np.repeat(np.asarray(first_bar, dtype=np.int64) + bars, bars)  # of the song each bar belongs to
    valid = (
        (start + length <= last_bar[: len(start)])
        & (notes[start + length] - notes[start] >= MIN_ONSETS_PER_BAR * length)
        & (pairs[start + length - 1] == pairs[start])
    )
    return np.flatnonzero(valid)
