"""Put the notes of a file on a grid, and count everything that this changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import CodecError, ReadError
from musicvae.music.raw import RawNotes
from musicvae.music.score import GRIDS, PARTS, Change, Reading, Report, Score, frozen, one_key_one_note, steps_per_bar

__all__ = ["MAX_BARS", "Placed", "place", "quantize"]

MAX_BARS = 10_000
"""Longest Score that is read. Legal MIDI may put a note 139,810 bars after the others."""


class _Stretch(NamedTuple):
    """Part of a piece in one meter."""

    start: int
    stop: float  # infinite in the last stretch
    meter: tuple[int, int]


class Placed(NamedTuple):
    """Notes on a grid, not yet those of one keyboard. Columns (N,), by track as they came."""

    onset: NDArray[np.int64]
    pitch: NDArray[np.int64]
    duration: NDArray[np.int64]
    velocity: NDArray[np.int64]
    track: NDArray[np.int64]
    meter: tuple[int, int]
    steps_per_beat: int
    tempo: float
    least: int
    """Bars that the file says it has, 0 where it does not say."""
    changes: list[Change]

    @property
    def columns(self) -> tuple[NDArray[np.int64], ...]:
        """Onset, pitch, duration and velocity."""
        return self[:4]

    @property
    def per_bar(self) -> int:
        """Steps a bar."""
        return steps_per_bar(self.steps_per_beat, self.meter)

    def bars(self, onset: NDArray[np.integer]) -> int:
        """Return how many bars a Score with these onsets has: as many as they reach into, or as the file says."""
        return min(max(1 + int(onset.max(initial=0)) // self.per_bar, self.least), MAX_BARS)

    def scores(self, columns: Sequence[NDArray[np.int64]], parts: Sequence[int]) -> list[Score]:
        """Return a Score for each keyboard, of the part given for it (index into PARTS), all of them of one length.

        `columns` are onset, pitch, duration and velocity, pitch p of keyboard k as 128 k + p. What sharing a keyboard
        changes (see `one_key_one_note`) is added to `changes`.
        """
        struck = one_key_one_note(*columns)
        _count(self.changes, "merged: same key on the same step", struck.merged)
        _count(self.changes, "cut: its key is struck again", struck.cut)
        bars = self.bars(struck.onset)
        edges = [0, *np.searchsorted(struck.pitch >> 7, np.arange(len(parts)), side="right").tolist()]
        # Sorted and in range already, hence not by way of `Score.of`.
        onset, pitch, duration, velocity = map(frozen, (struck.onset, struck.pitch & 127, *struck[2:4]))
        scores = []
        for part, first, stop in zip(parts, edges[:-1], edges[1:], strict=True):
            scores.append(
                Score(
                    onset[first:stop],
                    pitch[first:stop],
                    duration[first:stop],
                    velocity[first:stop],
                    frozen(np.full(stop - first, part)),
                    bars=bars,
                    steps_per_beat=self.steps_per_beat,
                    meter=self.meter,
                    tempo=self.tempo,
                )
            )
        return scores


def quantize(raw: RawNotes, source: str, steps_per_beat: int = 4, any_meter: bool = False) -> Reading:
    """Put all notes on a grid as one piano part; see `place`.

    Notes that fall on the same step of the same key become one; a note that still sounds when its key is struck again
    ends there. The Score is as many bars long as the onsets reach into, or as the file says. Raises ReadError.
    """
    placed = place(raw, source, steps_per_beat, any_meter)
    (score,) = placed.scores(placed.columns, [PARTS.index("piano")])
    return Reading(score, Report(source, len(raw.start), len(score), tuple(placed.changes)))


def place(raw: RawNotes, source: str, steps_per_beat: int = 4, any_meter: bool = False) -> Placed:
    """Put notes on a grid of `steps_per_beat` steps a quarter note (4, 8, 12 or 24).

    Onset and length are rounded to the nearest step each, half a step upwards, and a note lasts one step at least.
    Where meters change, the longest stretch in 4/4 is kept, or else the longest of all; with `any_meter` bars are
    counted in 4/4 from the start whatever the file says. Raises ReadError if no note is left or the meter does not fit
    the grid.
    """
    if steps_per_beat not in GRIDS:
        raise CodecError(f"steps_per_beat is {steps_per_beat}; wanted one of {', '.join(map(str, GRIDS))}")
    changes = list(raw.changes)
    ticks = raw.ticks_per_beat
    stretch, notes = _Stretch(0, math.inf, (4, 4)), raw
    if not any_meter:
        stretch, notes = _choose_meter(raw, steps_per_beat, changes)
    try:
        per_bar = steps_per_bar(steps_per_beat, stretch.meter)
    except CodecError as error:
        raise ReadError(source, f"{error}. Count bars in 4/4 instead with --any-meter, or use a finer grid") from error

    last = MAX_BARS * per_bar
    onset, moved = _round(notes.start - stretch.start, steps_per_beat, ticks)
    if far := int(np.count_nonzero(onset >= last)):
        _count(changes, f"dropped: begins after bar {MAX_BARS}", far)
        notes = notes.select(onset < last)
        onset, moved = _round(notes.start - stretch.start, steps_per_beat, ticks)
    if not len(onset):
        raise ReadError(source, "has no notes left: " + "; ".join(f"{c.reason} ({c.notes})" for c in changes))
    duration, rounded = _round(notes.stop - notes.start, steps_per_beat, ticks)

    _count(changes, "moved: onset off the grid", moved)
    _count(changes, "rounded: length off the grid", rounded)
    _count(changes, "lengthened: shorter than half a step", int(np.count_nonzero(duration < 1)))
    _count(changes, f"cut: longer than {MAX_BARS} bars", int(np.count_nonzero(duration > last)))
    duration = np.minimum(np.maximum(duration, 1), last)

    least = 0
    if raw.length is not None and stretch.start == 0 and stretch.stop == math.inf:
        least = raw.length * steps_per_beat // (ticks * per_bar)
    return Placed(
        onset,
        notes.pitch,
        duration,
        notes.velocity,
        notes.track,
        stretch.meter,
        steps_per_beat,
        raw.tempo,
        least,
        changes,
    )


def _round(ticks: NDArray[np.int64], steps_per_beat: int, ticks_per_beat: int) -> tuple[NDArray[np.int64], int]:
    """Return ticks as steps, halves upwards, and how many were off the grid.

    In whole numbers, so that every machine agrees.
    """
    exact = ticks * steps_per_beat
    steps = (exact + ticks_per_beat // 2) // ticks_per_beat
    return steps, int(np.count_nonzero(steps * ticks_per_beat != exact))


def _count(changes: list[Change], reason: str, notes: int) -> None:
    if notes:
        changes.append(Change(reason, notes))


def _choose_meter(raw: RawNotes, steps_per_beat: int, changes: list[Change]) -> tuple[_Stretch, RawNotes]:
    """Return the stretch to keep and the notes in it; report what is left out."""
    stretches = _stretches(raw, changes)
    if len(stretches) == 1:
        return stretches[0], raw
    end = int(raw.stop.max())
    bounds = np.array([s.start for s in stretches[1:]], dtype=np.int64)
    # A note up to half a step early is rounded to the first step of the stretch that it leads.
    early = raw.ticks_per_beat // (2 * steps_per_beat)
    owner = np.searchsorted(bounds, raw.start + early, side="right")
    notes = np.bincount(owner, minlength=len(stretches))

    def rank(i: int) -> tuple[bool, bool, float]:
        stretch = stretches[i]
        length = min(stretch.stop, max(end, stretch.start)) - stretch.start
        whole = stretch.stop == math.inf or length >= _bar_ticks(stretch.meter, raw.ticks_per_beat)
        return bool(notes[i]), bool(notes[i]) and whole and stretch.meter == (4, 4), length

    best = max(range(len(stretches)), key=rank)
    left: dict[str, int] = {}
    for i, stretch in enumerate(stretches):
        if i != best and notes[i]:
            name = f"{stretch.meter[0]}/{stretch.meter[1]}"
            left[name] = left.get(name, 0) + int(notes[i])
    kept = stretches[best]
    begins = 1 + sum(_bars_in(s, raw.ticks_per_beat) for s in stretches[:best])
    for name, count in left.items():
        what = f"another stretch of {name}" if name == f"{kept.meter[0]}/{kept.meter[1]}" else f"in {name}"
        changes.append(Change(f"dropped: {what}; kept is {kept.meter[0]}/{kept.meter[1]} from bar {begins}", count))
    return kept, raw.select(owner == best)


def _stretches(raw: RawNotes, changes: list[Change]) -> list[_Stretch]:
    """Return the parts of the piece in one meter each; what no meter mark covers is 4/4."""
    begins: dict[int, tuple[int, int]] = {0: (4, 4)}
    odd: list[str] = []
    for tick, beats, value in sorted(raw.meters, key=lambda m: m[0]):
        if beats < 1 or value < 1 or value & (value - 1) or tick < 0:
            odd.append(f"{beats}/{value} at tick {tick}")
        else:
            begins[tick] = (beats, value)  # the last of several at one tick counts
    if odd:
        more = f" and {len(odd) - 1} others mean" if len(odd) > 1 else " means"
        changes.append(Change(f"ignored: meter {odd[0]}{more} nothing", 0))
    stretches: list[_Stretch] = []
    for tick, meter in begins.items():
        if stretches:
            before = stretches[-1]
            # The same meter again, on a bar line, changes nothing; off it, the bars are counted anew.
            on_bar_line = math.isclose((tick - before.start) % _bar_ticks(meter, raw.ticks_per_beat), 0)
            if meter == before.meter and on_bar_line:
                continue
            stretches[-1] = before._replace(stop=tick)
        stretches.append(_Stretch(tick, math.inf, meter))
    return stretches


def _bar_ticks(meter: tuple[int, int], ticks_per_beat: int) -> float:
    return 4 * ticks_per_beat * meter[0] / meter[1]


def _bars_in(stretch: _Stretch, ticks_per_beat: int) -> int:
    return math.ceil((stretch.stop - stretch.start) / _bar_ticks(stretch.meter, ticks_per_beat))
