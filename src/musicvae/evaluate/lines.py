"""Lines of notes that music is compared by, and what they are compared as: two bytes a note.

The lines of a part, each in order of onset, then pitch, no note twice:

    piano          `notes`: all of them; `skyline`: those above which no other begins or still sounds
    melody, bass   one under the name of the part: the highest of the notes that begin together, as their codec has it
    drums          `drums`: hits of the codec's nine classes

The skyline (after Uitdenbogerd and Zobel 1999) finds a tune under which another accompaniment was put.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs.drums import CLASSES
from musicvae.data.dataset import Dataset
from musicvae.data.layout import SPLITS
from musicvae.data.windows import ragged
from musicvae.music.score import PARTS, Score, steps_per_bar

__all__ = ["LINES", "Chunk", "Notes", "intervals", "line", "own", "pitches", "voices"]

LINES = {"piano": ("notes", "skyline"), "melody": ("melody",), "bass": ("bass",), "drums": ("drums",)}
"""The lines of each part."""
MOST_STEPS = 254
"""An onset that comes later after the one before counts as so many steps: 16 bars on the usual grid."""
END = 255
"""Stands for the steps to the next onset after the last note of a song."""

CHUNK = 2**19
"""Notes of a data set that are looked at at once, so that memory stays small."""
CELLS = 2**23
"""Steps of sounding notes that are looked at at once, likewise."""

_FIRST = np.full(128, -1)
for _pitches in CLASSES.values():
    _FIRST[list(_pitches)] = _pitches[0]


class Notes(NamedTuple):
    """Notes of songs that are numbered from 0. Columns (N,)."""

    song: NDArray[np.integer]
    onset: NDArray[np.integer]
    pitch: NDArray[np.integer]
    duration: NDArray[np.integer]

    def take(self, which: NDArray[Any]) -> Notes:
        """Return those notes."""
        return Notes(*(column[which] for column in self))


def line(notes: Notes, name: str) -> Notes:
    """Return the notes of a line, by song, onset and pitch; none stands there twice."""
    if name == "drums":
        notes = notes._replace(pitch=_FIRST[notes.pitch])
        notes = notes.take(notes.pitch >= 0)
    if not len(notes.song):
        return notes
    if name == "skyline":
        notes = notes.take(_on_top(notes))
    span = int(notes.onset.max()) + 1
    at = notes.song.astype(np.int64) * span + notes.onset
    _, which = np.unique(at * 128 + notes.pitch, return_index=True)
    if name in ("melody", "bass"):  # the last of each onset, which is the highest
        which = which[np.append(np.diff(at[which]) != 0, True)]
    return notes.take(which)


def _on_top(notes: Notes) -> NDArray[np.bool_]:
    """Tell of each note whether no higher one begins with it or still sounds."""
    lengths = np.zeros(int(notes.song.max()) + 1, np.int64)
    np.maximum.at(lengths, notes.song, notes.onset + 1)
    first = np.cumsum(lengths) - lengths
    begin = first[notes.song] + notes.onset
    sounding = np.minimum(notes.duration, (first + lengths)[notes.song] - begin)
    highest = np.zeros(int(lengths.sum()), np.uint8)
    piece = np.cumsum(sounding) // CELLS
    for some in np.split(np.arange(len(begin)), np.flatnonzero(np.diff(piece)) + 1):
        at = ragged(begin[some], sounding[some])
        np.maximum.at(highest, at, np.repeat(notes.pitch[some].astype(np.uint8), sounding[some]))
    return np.asarray(notes.pitch == highest[begin])


def pitches(notes: Notes) -> NDArray[np.uint16]:
    """Return of each note of a line its pitch and the steps to the next one, a byte each."""
    last = np.append(np.diff(notes.song) != 0, True)[: len(notes.song)]
    until = np.minimum(np.diff(notes.onset, append=0), MOST_STEPS)
    return (notes.pitch.astype(np.int64) << 8 | np.where(last, END, until)).astype(np.uint16)


def intervals(steps: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return of each note the steps to the next one and how much higher that is, a byte each.

    After the last note of a song the second byte means nothing; the first is END, which stands in no clip.
    """
    until, interval = steps.astype(np.int64) & 255, np.diff(steps.astype(np.int64) >> 8, append=0) + 128
    both: NDArray[np.int64] = until << 8 | interval
    return both.astype(np.uint16)


Chunk = tuple[NDArray[np.int64], Notes]
"""Some songs, or voices of songs: the number (n,) of each, and their notes, whose `song` counts them from 0."""


def own(songs: Sequence[Score], part: str) -> Iterator[Chunk]:
    """Yield the notes of a part of each song."""
    for number, score in enumerate(songs):
        mine = score.select(score.part == PARTS.index(part))
        yield np.array([number]), Notes(np.zeros(len(mine), np.int64), mine.onset, mine.pitch, mine.duration)


def voices(dataset: Dataset, part: str, parts: Sequence[str], split: str) -> Iterator[Chunk]:
    """Yield the voices of a part, of the songs of a split that have all parts; of drums, those of a song are one."""
    found = dataset.voices_of(parts)
    mine = (found.part == parts.index(part)) & (dataset.songs["split"][found.song] == SPLITS.index(split))
    song, first_bar, bars = found.song[mine], found.first_bar[mine], found.bars[mine]
    begin, end = dataset.bars[first_bar], dataset.bars[first_bar + bars]
    number = np.cumsum(np.diff(song, prepend=-1) != 0) - 1 if part == "drums" else np.arange(len(song))
    heads = np.flatnonzero(np.diff(number, prepend=-1))
    chunk = (np.cumsum(end - begin) // CHUNK)[heads]  # of each number: that of its first voice
    edges = np.flatnonzero(np.diff(chunk, prepend=-1)).tolist()
    for one, other in itertools.pairwise([*edges, len(heads)]):
        low, high = heads[one], heads[other] if other < len(heads) else len(song)
        those = slice(int(low), int(high))
        notes = dataset.notes[ragged(begin[those], (end - begin)[those])]
        bar = ragged(first_bar[those], bars[those])  # among all bars
        per_bar = dataset.bars[bar + 1] - dataset.bars[bar]
        in_song = np.repeat(ragged(np.zeros_like(bars[those]), bars[those]), per_bar)
        onset = in_song * steps_per_bar(dataset.steps_per_beat, (4, 4)) + notes["position"]
        whose = np.repeat(number[those] - number[those][0], (end - begin)[those])
        yield song[heads[one:other]], Notes(whose, onset, notes["pitch"].astype(np.int64), notes["duration"])
