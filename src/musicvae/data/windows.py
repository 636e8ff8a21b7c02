"""Which stretches of a song make a clip, and which of them are the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIN_ONSETS_PER_BAR",
    "first_of_each",
    "joined_keys",
    "phrase_windows",
    "ragged",
    "valid_windows",
    "window_keys",
]

MIN_ONSETS_PER_BAR = 2
"""A piano clip has at least this many notes a bar on average: 32 in 16 bars."""


def valid_windows(
    notes_per_bar: NDArray[np.integer], first_bar: NDArray[np.integer], bars: NDArray[np.integer], length: int
) -> NDArray[np.int64]:
    """Return the first bar of every piano clip of `length` bars, ascending.

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


def ragged(first: NDArray[np.integer], count: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return first[0], first[0] + 1, … (count[0] numbers), then the same of first[1], and so on."""
    count = np.asarray(count, np.int64)
    offset = np.asarray(first, np.int64) - (np.cumsum(count) - count)
    found: NDArray[np.int64] = np.arange(int(count.sum())) + np.repeat(offset, count)
    return found


def phrase_windows(phrases: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """Return the first bar of every clip of `length` bars that lies within one of `phrases` (P, 2: first bar, bars)."""
    return ragged(phrases[:, 0], np.maximum(phrases[:, 1].astype(np.int64) - length + 1, 0))


# Multipliers of splitmix64 (Steele et al. 2014), and an odd one to weigh a bar by its place.
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STEP = np.uint64(0x9E3779B97F4A7C15)
_PLACE = 0xD1342543DE82EF95


def window_keys(
    line: NDArray[np.integer],
    steps_per_bar: int,
    starts: NDArray[np.int64],
    length: int,
    *,
    note_on: int | None = None,
) -> NDArray[np.uint64]:
    """Return a 64-bit hash of the tokens of each clip; those of equal clips are equal.

    line (steps,) tokens of one or two bytes, starts (n,) first bars, `length` in bars. With `note_on`, the tokens from
    there up begin a note, and what stands before the first of them in a clip counts as 0: that is how a melody clip
    opens. Two different clips of two million have the same hash with odds of 1 in 10 million.
    """
    bars = line.reshape(-1, steps_per_bar)
    whole = _bar_keys(bars)
    # hash of a clip: the sum of each bar's times a power of _PLACE for its place; prefix sums give all clips at once
    power = _powers(_PLACE, len(bars) + 1)
    inverse = _powers(pow(_PLACE, -1, 2**64), len(bars) + 1)
    before = np.zeros(len(bars) + 1, np.uint64)
    np.cumsum(whole * power[:-1], out=before[1:])
    stops = starts + length
    if note_on is None:
        return (before[stops] - before[starts]) * inverse[starts]
    begins = bars >= note_on
    has = begins.any(axis=1)
    opened = np.where(np.logical_or.accumulate(begins[has], axis=1), bars[has], 0).astype(line.dtype)
    opening = np.zeros(len(bars), np.uint64)
    opening[has] = _bar_keys(opened)
    # the first bar from each one on in which a note begins; `len(bars)` where none does
    index = np.where(has, np.arange(len(bars)), len(bars))
    first = np.minimum.accumulate(index[::-1])[::-1][starts]
    sounds = first < stops
    first = np.where(sounds, first, starts)  # a clip without a beginning is all rests
    keys = (before[stops] - before[first + 1] + opening[first] * power[first]) * inverse[starts]
    return np.where(sounds, keys, np.uint64(0))


def first_of_each(keys: NDArray[np.uint64], rank: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each key (n,) where it stands for the first time, in the order of `rank` (n,) and then of place."""
    order = np.argsort(rank, kind="stable")
    _, first, which = np.unique(keys[order], return_index=True, return_inverse=True)
    found = np.empty(len(keys), np.int64)
    found[order] = order[first[which]]
    return found


def joined_keys(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one hash for the hashes (n, streams) of the voices of each clip."""
    return _of_words(keys)


def _bar_keys(bars: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return a hash of each bar (bars, steps); 0 for a bar of zeros."""
    words = np.ascontiguousarray(bars).view(np.uint64)  # a bar has 16, 32, 48 or 96 steps: whole words
    keys = _of_words(words)
    keys -= _of_words(np.zeros((1, words.shape[1]), np.uint64))
    return keys


def _of_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    keys = np.zeros(len(words), np.uint64)
    for column in words.T:
        keys += _STEP
        keys ^= column
        for shift, factor in zip((30, 27), _MIX, strict=True):
            keys ^= keys >> np.uint64(shift)
            keys *= factor
        keys ^= keys >> np.uint64(31)
    return keys


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)
