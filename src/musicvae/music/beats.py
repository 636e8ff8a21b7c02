"""Beats that people marked, where a file's own are not those of the music.

POP909 (Wang et al., ISMIR 2020) is of that kind: its MIDI files are recordings against a clock, most of them in 1/4 and
all of their notes beside the beat, and a `beat_midi.txt` in the folder of each song says when the beats are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import ReadError
from musicvae.music.raw import RawNotes
from musicvae.music.score import Change

__all__ = ["BEATS", "LARGEST_BEATS", "Beats", "beats_beside", "onto_beats", "read_beats"]

BEATS = "beat_midi.txt"
"""Name of the file of beats, which stands in the folder of the MIDI file that it is of."""
LARGEST_BEATS = 2**20
"""Bytes that it may have. Those of POP909 have 20,000 at most."""

TICKS_PER_BEAT = 480
SHORTEST = 0.01
"""Seconds that a beat lasts at least."""
EARLY = 0.125
"""Beats by which the first note may come before its bar without another bar before that one."""


class Beats(NamedTuple):
    """When the beats of a song are."""

    seconds: NDArray[np.float64]
    """(B,) ascending, at least 2."""
    first: NDArray[np.int64]
    """(D,) indices of the beats that begin a bar, ascending, at least 1."""


def beats_beside(path: str | Path) -> bytes | None:
    """Return what the file of beats beside a music file holds; None where there is none, or it cannot be opened."""
    if str(path).lower().endswith(".npz"):  # a piano roll's grid is its own
        return None
    try:
        with Path(path).with_name(BEATS).open("rb") as file:
            return file.read(LARGEST_BEATS + 1)
    except (OSError, ValueError):
        return None


def read_beats(data: bytes, source: str) -> Beats:
    """Read beats as POP909 has them; `source` is the music that they are of.

    A line a beat: its time in seconds, and columns of 1 and 0, the last of which is 1 where a bar begins. Raises
    ReadError.
    """
    if len(data) > LARGEST_BEATS:
        raise ReadError(source, f"{BEATS} beside it is larger than {LARGEST_BEATS // 2**20} MB; wanted a line a beat")
    rows: list[tuple[float, float]] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            seconds, *flags = map(float, words)
        except ValueError:
            flags = []
        if not flags or not np.isfinite(seconds) or (rows and seconds < rows[-1][0] + SHORTEST):
            wanted = "wanted a time in seconds, later than the line before's, and 1 where a bar begins or 0"
            raise ReadError(source, f"line {number} of {BEATS} beside it is {line[:40]!r}; {wanted}")
        rows.append((seconds, flags[-1]))
    table = np.array(rows).reshape(-1, 2)
    first = np.flatnonzero(table[:, 1] > 0)
    if len(table) < 2 or not len(first):
        raise ReadError(
            source,
            f"{BEATS} beside it has {len(table)} beats and {len(first)} bars; wanted 2 and 1 or more. "
            "Without the file, the beats of the MIDI file count",
        )
    return Beats(table[:, 0], first)


def onto_beats(raw: RawNotes, beats: Beats) -> RawNotes:
    """Return the notes with the beats where people marked them, bars in quarter notes and one tempo.

    Between beats, time is divided evenly; before the first and after the last, the beats next to it go on. Bars before
    the first that is marked are as long as that one.
    """
    if (raw.start < 0).any() or (raw.stop < raw.start).any():
        return raw  # damaged, which is said of it later
    seconds, first = beats
    before, after = seconds[1] - seconds[0], seconds[-1] - seconds[-2]
    per_bar = np.diff(np.append(first, len(seconds))) if len(first) > 1 else np.array([4])
    start, stop = (_seconds(raw, ticks) for ticks in (raw.start, raw.stop))
    earliest = min(float(start.min(initial=seconds[0])), float(seconds[0]))
    lead = first[0] + (seconds[0] - earliest) / before  # beats before the first bar that is marked
    shift = max(int(np.ceil((lead - EARLY) / per_bar[0])), 0) * int(per_bar[0]) - int(first[0])

    def ticks_at(time: NDArray[np.float64]) -> NDArray[np.int64]:
        at = np.interp(time, seconds, np.arange(len(seconds)))
        at += np.minimum(time - seconds[0], 0) / before + np.maximum(time - seconds[-1], 0) / after
        return np.round((at + shift) * TICKS_PER_BEAT).astype(np.int64)

    begins = np.concatenate(([0], first[1:] + shift)) * TICKS_PER_BEAT
    changed = np.flatnonzero(np.diff(per_bar[: len(first)], prepend=0))  # the last bar's length is not known
    if len(first) > 1 and changed[-1] == len(first) - 1:
        changed = changed[:-1]
    tempo = 60.0 / float(np.median(np.diff(seconds)))
    return replace(
        raw,
        start=np.maximum(ticks_at(start), 0),
        stop=np.maximum(ticks_at(stop), 0),
        ticks_per_beat=TICKS_PER_BEAT,
        meters=tuple((int(begins[i]), int(per_bar[i]), 4) for i in changed),
        tempos=np.array([[0.0, tempo]]),
        length=None,
        changes=(*raw.changes, Change(f"placed: on the beats of {BEATS}", len(raw.start))),
    )


def _seconds(raw: RawNotes, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ticks of a file as seconds, by its tempo marks."""
    marks = raw.tempos if len(raw.tempos) and raw.tempos[0, 0] <= 0 else np.vstack(([[0.0, 120.0]], raw.tempos))
    begins, per_tick = marks[:, 0], 60.0 / (marks[:, 1] * raw.ticks_per_beat)
    at = np.concatenate(([0.0], np.cumsum(np.diff(begins) * per_tick[:-1])))
    mark = np.maximum(np.searchsorted(begins, ticks, side="right") - 1, 0)
    return np.asarray(at[mark] + (ticks - begins[mark]) * per_tick[mark])
