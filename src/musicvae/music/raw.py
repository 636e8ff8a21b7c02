"""What a file says before it is quantised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import ReadError
from musicvae.music.score import Change

__all__ = ["RawNotes", "Track"]


class Track(NamedTuple):
    """One instrument of a file."""

    program: int
    """General MIDI program, 0–127; of drums 0."""
    is_drum: bool
    """Whether its pitches are drums (MIDI channel 10)."""


@dataclass(frozen=True, slots=True, eq=False)
class RawNotes:
    """The notes of all tracks, in the ticks of the file and in any order within a track."""

    start: NDArray[np.int64]
    """(N,) onset in ticks, at least 0."""
    stop: NDArray[np.int64]
    """(N,) end in ticks, at least `start`."""
    pitch: NDArray[np.int64]
    """(N,) MIDI note number, 0–127."""
    velocity: NDArray[np.int64]
    """(N,) MIDI velocity, 1–127."""
    track: NDArray[np.int64]
    """(N,) index into `tracks`, ascending."""
    tracks: tuple[Track, ...]
    """The tracks in the order of the file; some may have no notes."""
    ticks_per_beat: int
    """Ticks a quarter note, at least 1."""
    meters: tuple[tuple[int, int, int], ...] = ()
    """(tick, beats a bar, note value of a beat) of each meter mark, as the file has them; none means 4/4."""
    tempos: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    """(M, 2) tick and quarter notes a minute of each tempo mark, by tick; what none covers is 120."""
    length: int | None = None
    """Ticks to the end of the last bar, where the file says so."""
    changes: tuple[Change, ...] = ()
    """What the reader already changed or passed over."""

    @property
    def tempo(self) -> float:
        """Quarter notes a minute that half of the piece, up to the end of the last note, does not exceed."""
        if len(self.tempos) == 1 and self.tempos[0, 0] == 0:
            return float(self.tempos[0, 1])
        if not len(self.tempos):
            return 120.0
        end = int(self.stop.max(initial=0))
        begins, bpm = np.clip(self.tempos[:, 0].astype(np.int64), 0, end), self.tempos[:, 1]
        if begins[0] > 0:
            begins, bpm = np.concatenate(([0], begins)), np.concatenate(([120.0], bpm))
        spans = np.diff(np.concatenate((begins, [max(end, int(begins[-1]))])))
        order = np.argsort(bpm, kind="stable")
        half = np.searchsorted(np.cumsum(spans[order]), spans.sum() / 2)
        return float(bpm[order][min(int(half), len(order) - 1)])

    def select(self, keep: NDArray[np.bool_]) -> RawNotes:
        """Return the notes where `keep` (N,) is true; tracks and marks stay."""
        start, stop, pitch, velocity, track = (
            c[keep] for c in (self.start, self.stop, self.pitch, self.velocity, self.track)
        )
        return replace(self, start=start, stop=stop, pitch=pitch, velocity=velocity, track=track)

    def of_tracks(self, source: str, chosen: Callable[[Track], bool], wanted: str, advice: str) -> RawNotes:
        """Return the notes of the `chosen` tracks; raises ReadError where there are none.

        The error says that there is nothing of what was `wanted`, what is there instead, and the `advice`. It is also
        raised for notes that no sound file has: times that wrapped around, a velocity of 0.
        """
        flags = [chosen(t) for t in self.tracks]
        kept = self if all(flags) else self.select(np.array(flags, dtype=np.bool_)[self.track])
        if not len(kept.start):
            raise self._nothing(source, wanted, advice)
        if kept.start.min() < 0 or (kept.stop < kept.start).any():
            raise ReadError(source, f"has times beyond {2**31 - 1} ticks, where they wrap around. The file is damaged")
        if kept.velocity.min() < 1:
            silent = int((kept.velocity < 1).sum())
            raise ReadError(source, f"has {silent} notes of velocity 0. The file is damaged")
        return kept

    def _nothing(self, source: str, wanted: str, advice: str) -> ReadError:
        """Return the error for a file without the notes `wanted`, which counts those that it has instead."""
        found: Counter[str] = Counter()
        for track, notes in zip(self.tracks, self.counts.tolist(), strict=True):
            found["drums" if track.is_drum else f"program {track.program}"] += notes
        others = sorted(((n, name) for name, n in found.items() if n), key=lambda item: -item[0])
        if not others:
            return ReadError(source, "is well formed but has no notes, or none of them ends")
        listed = ", ".join(f"{name} ×{count}" for count, name in others)
        return ReadError(source, f"has no {wanted} (found: {listed}). {advice}")

    @property
    def counts(self) -> NDArray[np.int64]:
        """(tracks,) notes of each track."""
        return np.bincount(self.track, minlength=len(self.tracks))


def of_programs(raw: RawNotes, source: str, programs: Collection[int]) -> RawNotes:
    """Return the notes of `programs`, of drums none; raises ReadError where there are none."""
    return raw.of_tracks(
        source,
        lambda track: not track.is_drum and track.program in programs,
        f"notes of {programs_text(programs)}",
        "Choose others with --programs; drums are not read",
    )


def join_tracks(columns: Sequence[Sequence[NDArray[np.integer]]]) -> tuple[NDArray[np.int64], ...]:
    """Return the four columns of all tracks, each track's after that of the one before, and of each note its track."""
    if not columns:
        return tuple(np.zeros(0, dtype=np.int64) for _ in range(5))
    track = np.repeat(np.arange(len(columns)), [len(c[0]) for c in columns])
    return *(np.concatenate(column, dtype=np.int64) for column in zip(*columns, strict=True)), track


def programs_text(programs: Collection[int]) -> str:
    """Return e.g. `programs 0–7, 24` for a collection of program numbers."""
    numbers = sorted(set(programs))
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    listed = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in spans)
    return f"program{'s' if len(numbers) > 1 else ''} {listed or '(none chosen)'}"
