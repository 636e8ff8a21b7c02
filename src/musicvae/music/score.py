"""The Score: notes on a grid, immutable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.errors import CodecError

__all__ = ["GRIDS", "PARTS", "Change", "Clips", "Reading", "Report", "Score", "Struck", "one_key_one_note"]

T = TypeVar("T", bound="Score | Sequence[Score]")

PARTS = ("piano", "melody", "bass", "drums")
"""Names of the parts; `Score.part` holds indices into this tuple."""

GRIDS = (4, 8, 12, 24)
"""Steps a quarter note that a Score may have."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Notes on a grid, sorted by onset, then part, then pitch, then duration.

    The columns are read-only int32 arrays of one length. `Score.of` builds one from anything
    array-like; the constructor expects columns that are already sorted and checked.
    """

    onset: NDArray[np.int32]
    """(N,) first step of each note, counted from the start; below bars · steps_per_bar."""
    pitch: NDArray[np.int32]
    """(N,) MIDI note number, 0–127."""
    duration: NDArray[np.int32]
    """(N,) length in steps, at least 1; may reach beyond the last bar."""
    velocity: NDArray[np.int32]
    """(N,) MIDI velocity, 1–127."""
    part: NDArray[np.int32]
    """(N,) index into PARTS."""
    bars: int
    """Length in bars, rests at the end included."""
    steps_per_beat: int = 4
    """Steps a quarter note: 4 (16th notes), 8, 12 or 24."""
    meter: tuple[int, int] = (4, 4)
    """Beats a bar and the note value of a beat."""
    tempo: float = 120.0
    """Quarter notes a minute."""

    @classmethod
    def of(
        cls,
        onset: ArrayLike,
        pitch: ArrayLike,
        duration: ArrayLike,
        velocity: ArrayLike = 80,
        part: ArrayLike = 0,
        *,
        bars: int | None = None,
        steps_per_beat: int = 4,
        meter: tuple[int, int] = (4, 4),
        tempo: float = 120.0,
    ) -> Score:
        """Build a Score from columns in any order; scalars are repeated.

        Without `bars`, the length is as many bars as the onsets reach into (at least one).
        Raises CodecError for a value outside the ranges given at the fields.
        """
        given = (np.asarray(c, dtype=np.int64) for c in (onset, pitch, duration, velocity, part))
        columns = [np.atleast_1d(c) for c in np.broadcast_arrays(*given)]
        if steps_per_beat not in GRIDS:
            raise CodecError(f"steps_per_beat is {steps_per_beat}; wanted one of {', '.join(map(str, GRIDS))}")
        per_bar = steps_per_bar(steps_per_beat, meter)
        if bars is None:
            bars = 1 + int(columns[0].max(initial=0)) // per_bar
        if not 1 <= bars * per_bar <= 2**30:
            raise CodecError(f"bars is {bars}; wanted 1 to {2**30 // per_bar}")
        if not 0 < tempo < float("inf"):
            raise CodecError(f"tempo is {tempo}; wanted a positive number of quarter notes a minute")
        limits = (("onset", 0, bars * per_bar - 1), ("pitch", 0, 127), ("duration", 1, 2**30), ("velocity", 1, 127))
        for (name, low, high), column in zip((*limits, ("part", 0, len(PARTS) - 1)), columns, strict=True):
            bad = np.flatnonzero((column < low) | (column > high))
            if bad.size:
                raise CodecError(f"{name} of note {bad[0]} is {column[bad[0]]}; wanted {low} to {high}")
        order = np.lexsort((columns[2], columns[1], columns[4], columns[0]))
        o, p, d, v, k = (frozen(c[order]) for c in columns)
        return cls(o, p, d, v, k, bars=bars, steps_per_beat=steps_per_beat, meter=meter, tempo=float(tempo))

    def __len__(self) -> int:
        """Return the number of notes."""
        return len(self.onset)

    def __eq__(self, other: object) -> bool:
        """Compare notes, length, grid and meter; the tempo to a thousandth of a beat a minute."""
        if not isinstance(other, Score):
            return NotImplemented
        return (
            (self.bars, self.steps_per_beat, self.meter) == (other.bars, other.steps_per_beat, other.meter)
            and abs(self.tempo - other.tempo) < 1e-3
            and all(np.array_equal(a, b) for a, b in zip(self.columns, other.columns, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash

    def __repr__(self) -> str:
        bars = f"{self.bars} bars of {self.meter[0]}/{self.meter[1]}"
        return f"Score({len(self)} notes, {bars}, {self.steps_per_beat} steps a beat, {self.tempo:g} bpm)"

    def _repr_html_(self) -> str:
        """Return the piano roll and a player, which notebooks show."""
        from musicvae.music.html import score_html

        return score_html(self)

    @property
    def columns(self) -> tuple[NDArray[np.int32], ...]:
        """Onset, pitch, duration, velocity and part."""
        return self.onset, self.pitch, self.duration, self.velocity, self.part

    @property
    def steps_per_bar(self) -> int:
        """Steps a bar."""
        return steps_per_bar(self.steps_per_beat, self.meter)

    @property
    def seconds(self) -> float:
        """Length of all bars, in seconds."""
        return self.bars * self.steps_per_bar / self.steps_per_beat * 60.0 / self.tempo

    def select(self, keep: NDArray[np.bool_]) -> Score:
        """Return the notes where `keep` (N,) is true; the length stays."""
        onset, pitch, duration, velocity, part = (frozen(c[keep]) for c in self.columns)
        return replace(self, onset=onset, pitch=pitch, duration=duration, velocity=velocity, part=part)

    def cut(self, first: int, bars: int) -> Score:
        """Return `bars` bars from bar `first` (counted from 0) as a Score of its own.

        Notes that begin in them are kept whole, save that they end with the last bar. Bars beyond
        the end are rests.
        """
        start, stop = first * self.steps_per_bar, (first + bars) * self.steps_per_bar
        inside = self.select((self.onset >= start) & (self.onset < stop))
        duration = np.minimum(inside.duration, stop - inside.onset).astype(np.int32)
        return replace(inside, onset=frozen(inside.onset - np.int32(start)), duration=frozen(duration), bars=bars)

    def transpose(self, semitones: int) -> Score:
        """Return the Score moved by `semitones`; raises CodecError if a pitch leaves 0–127."""
        return Score.of(
            self.onset,
            self.pitch + semitones,
            self.duration,
            self.velocity,
            self.part,
            bars=self.bars,
            steps_per_beat=self.steps_per_beat,
            meter=self.meter,
            tempo=self.tempo,
        )

    def save(self, path: str | Path) -> Path:
        """Write a MIDI file (see `musicvae.music.midi.write_midi`) and return its path."""
        from musicvae.music.midi import write_midi  # symusic is loaded only when a file is written

        return write_midi(self, path)


class Change(NamedTuple):
    """One kind of change that reading made."""

    reason: str
    """What was done and why, e.g. `dropped: pitch outside 21–108`."""
    notes: int
    """How many notes it touched; 0 where it is about the file as a whole."""


class Report(NamedTuple):
    """What reading one file kept, changed and dropped."""

    source: str
    """The file as the user named it."""
    notes_found: int
    """Notes of the chosen programs in the file."""
    notes_kept: int
    """Notes in the Score."""
    changes: tuple[Change, ...]
    """What was changed or dropped and why, in the order in which it happened."""

    def __str__(self) -> str:
        """Return the report as one line, without the name of the source."""
        parts = [f"{self.notes_kept} of {self.notes_found} notes"]
        parts += [f"{c.reason} ({c.notes})" if c.notes else c.reason for c in self.changes]
        return "; ".join(parts)


class Reading(NamedTuple):
    """A Score and the report of how it was read."""

    score: Score
    report: Report

    def _repr_html_(self) -> str:
        """Return the report, the piano roll and a player, which notebooks show."""
        from musicvae.music.html import score_html

        said = f"{self.report.source}: {self.report}"
        return f"<p>{escape(said)}</p>{score_html(self.score, title=self.report.source)}"


class Clips(list[T]):
    """Clips, or rows of them: a list that notebooks show as piano rolls with players."""

    def _repr_html_(self) -> str:
        from musicvae.music.html import clips_html

        return clips_html(self)


class Struck(NamedTuple):
    """Notes as keyboards play them; see `one_key_one_note`. Columns (M,), sorted by keyboard, onset and pitch."""

    onset: NDArray[np.int64]
    pitch: NDArray[np.int64]
    duration: NDArray[np.int64]
    velocity: NDArray[np.int64]
    merged: int
    """Notes that became one with another."""
    cut: int
    """Notes that end earlier than they did."""


def one_key_one_note(onset: ArrayLike, pitch: ArrayLike, duration: ArrayLike, velocity: ArrayLike) -> Struck:
    """Let notes (N,) share one keyboard: what MIDI can say of a part, and what a piano can play.

    Notes with one onset and pitch become one, as long and as loud as the longest and the loudest of them; a note that
    still sounds when its key is struck again ends there. Onsets are at least 0. Pitches from 128 up are keys of further
    keyboards: pitch p of keyboard k is 128 k + p.
    """
    onset, pitch, duration, velocity = (np.asarray(c, dtype=np.int64) for c in (onset, pitch, duration, velocity))
    span = 1 + int(onset.max(initial=0)) + int(duration.max(initial=0))
    place = ((pitch >> 7) * span + onset) * 128 + (pitch & 127)  # in the order wanted
    order = np.argsort(place, kind="stable")  # files are nearly in order, which this kind of sort makes use of
    place, onset, pitch, duration, velocity = (c[order] for c in (place, onset, pitch, duration, velocity))
    new = np.ones(len(place), dtype=np.bool_)
    np.not_equal(place[1:], place[:-1], out=new[1:])
    first = np.flatnonzero(new)
    merged = len(new) - len(first)
    if merged:
        onset, pitch = onset[first], pitch[first]
        duration, velocity = np.maximum.reduceat(duration, first), np.maximum.reduceat(velocity, first)
    # Key by key, in one number a note: those of two keys are further apart than any note is long.
    by_key = np.argsort(pitch.astype(np.min_scalar_type(int(pitch.max(initial=0)))), kind="stable")
    number, length = (pitch * span + onset)[by_key], duration[by_key]
    gap = number[1:] - number[:-1]
    cut = int(np.count_nonzero(length[:-1] > gap))
    np.minimum(length[:-1], gap, out=length[:-1])
    duration[by_key] = length
    return Struck(onset, pitch, duration, velocity, merged, cut)


def steps_per_bar(steps_per_beat: int, meter: tuple[int, int]) -> int:
    """Return the steps a bar; raises CodecError if the meter does not fit the grid."""
    steps, rest = divmod(4 * steps_per_beat * meter[0], meter[1])
    if rest or steps < 1:
        raise CodecError(
            f"a bar of {meter[0]}/{meter[1]} is not a whole number of steps at {steps_per_beat} steps a beat"
        )
    return steps


def frozen(column: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return a column as Scores have it: int32, read-only."""
    result = np.ascontiguousarray(column, dtype=np.int32)
    result.setflags(write=False)
    return result
