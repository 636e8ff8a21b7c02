"""Voices as tokens a step, all on one line, and the clips on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import DrumsCodec, MelodyCodec, TrioCodec
from musicvae.codecs.melody import NOTE_ON
from musicvae.data.layout import SPLITS
from musicvae.data.windows import first_of_each, joined_keys, phrase_windows, ragged, window_keys

if TYPE_CHECKING:
    from musicvae.data.dataset import Dataset, Voices

__all__ = ["StepLine", "step_line"]

CHUNK = 2**16
"""Bars that are turned into tokens at once, so that memory stays small."""
MOST_COMBINATIONS = 4096
"""Trios of a song that are taken: those of the first voices. In LPD the most are some hundreds."""


class StepLine(NamedTuple):
    """The voices that a codec learns from, and the clips of all splits.

    No clip stands there twice: of those with the same tokens the first counts, of train, then of valid, then of test.
    """

    codec: MelodyCodec | DrumsCodec | TrioCodec
    tokens: NDArray[np.integer]
    """(steps,) of all voices, one after another."""
    windows: NDArray[np.int32]
    """(n, F) first bar of each voice of each clip, on the line."""
    songs: NDArray[np.int32]
    """(n,) song of each clip, ascending."""
    split: NDArray[np.uint8]
    """(n,) split of each clip."""
    copies: tuple[int, ...]
    """Clips of each split that are left out because they stand in it already."""
    elsewhere: tuple[int, ...]
    """Clips of each split that are left out because they stand in a split before it."""

    @property
    def needs(self) -> str:
        """What a stretch must have to be a clip, for people."""
        if isinstance(self.codec, TrioCodec):
            return "a melody, a bass and drums that play throughout, with rests of 2 bars at most"
        return f"{self.codec.parts[0]} without a rest of a bar or more, different from all other clips"


class _Notes(NamedTuple):
    """The notes of some voices on a line of their own, as codecs want them."""

    voices: slice
    bar: int  # where the line begins on the whole one
    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    pitch: NDArray[np.int64]
    first_step: NDArray[np.int64]
    steps: NDArray[np.int64]


def step_line(dataset: Dataset, codec: MelodyCodec | DrumsCodec | TrioCodec, bars: int) -> StepLine:
    """Return the line of tokens of a data set and the clips of `bars` bars on it.

    Melodies and drums: at every bar within a phrase (see `MelodyCodec.timeline`); of drums, all tracks of a song
    together. Trios: at every bar, of every combination of a song's melodies, basses and drums that play together (see
    `TrioCodec.windows`).
    """
    voices = dataset.voices_of(codec.parts)
    if isinstance(codec, TrioCodec):
        tokens, windows, songs = _trios(dataset, codec, voices, bars)
        starts = windows.T.astype(np.int64)
        keys = joined_keys(np.stack([window_keys(tokens, codec.steps_per_bar, s, bars) for s in starts], axis=1))
    else:
        voices = voices.merged() if isinstance(codec, DrumsCodec) else voices
        tokens, windows, songs = _singles(dataset, codec, voices, bars)
        note_on = NOTE_ON if isinstance(codec, MelodyCodec) else None
        keys = window_keys(tokens, codec.steps_per_bar, windows[:, 0].astype(np.int64), bars, note_on=note_on)
    split = dataset.songs["split"][songs]
    first = first_of_each(keys, split)
    kept = first == np.arange(len(first))
    elsewhere = split[first] < split
    counts = [(split == number) & ~kept for number in range(len(SPLITS))]
    return StepLine(
        codec,
        tokens,
        windows[kept],
        songs[kept],
        split[kept],
        tuple(int((c & ~elsewhere).sum()) for c in counts),
        tuple(int((c & elsewhere).sum()) for c in counts),
    )


def _singles(
    dataset: Dataset, codec: MelodyCodec | DrumsCodec, voices: Voices, bars: int
) -> tuple[NDArray[np.integer], NDArray[np.int32], NDArray[np.int32]]:
    """Return the tokens, the clips (n, 1) and their songs (n,), of one voice each."""
    lines, found = [], [np.zeros(0, np.int64)]
    for notes in _notes(dataset, voices, codec.steps_per_bar):
        line = codec.timeline(notes.onset, notes.duration, notes.pitch, notes.first_step, notes.steps)
        lines.append(line.tokens)
        found.append(notes.bar + phrase_windows(line.phrases, bars))
    windows = np.concatenate(found)
    voice = np.searchsorted(voices.first_on_line, windows, side="right") - 1
    return _joined(lines), windows.astype(np.int32)[:, None], voices.song[voice].astype(np.int32)


def _trios(
    dataset: Dataset, codec: TrioCodec, voices: Voices, bars: int
) -> tuple[NDArray[np.integer], NDArray[np.int32], NDArray[np.int32]]:
    """Return the tokens, the clips (n, 3) and their songs (n,), of a melody, a bass and drums each."""
    lines, heard = [], [np.zeros(0, np.bool_)]
    for notes in _notes(dataset, voices, codec.steps_per_bar):
        part = voices.part[notes.voices]
        line = codec.timeline(notes.onset, notes.duration, notes.pitch, part, notes.first_step, notes.steps)
        lines.append(line.tokens)
        heard.append(line.playing)
    playing = np.concatenate(heard)
    found, songs = [np.zeros((0, 3), np.int32)], [np.zeros(0, np.int32)]
    edges = np.flatnonzero(np.diff(voices.song, prepend=-1, append=-1))
    for first, stop in itertools.pairwise(edges.tolist()):
        begin, length = voices.first_on_line[first:stop], int(voices.bars[first])
        of = [begin[voices.part[first:stop] == number].tolist() for number in range(len(codec.parts))]
        for trio in itertools.islice(itertools.product(*of), MOST_COMBINATIONS):
            starts = codec.windows(np.stack([playing[b : b + length] for b in trio]), bars)
            if len(starts):
                found.append((starts[:, None] + trio).astype(np.int32))
                songs.append(np.full(len(starts), voices.song[first], np.int32))
    return _joined(lines), np.concatenate(found), np.concatenate(songs)


def _joined(lines: Sequence[NDArray[np.integer]]) -> NDArray[np.integer]:
    return np.concatenate(lines) if lines else np.zeros(0, np.uint8)


def _notes(dataset: Dataset, voices: Voices, steps_per_bar: int) -> Iterator[_Notes]:
    """Yield the notes of all voices, as many voices at a time as have some CHUNK bars."""
    chunk = voices.first_on_line // CHUNK
    edges = np.flatnonzero(np.diff(chunk, prepend=-1)).tolist()
    for first, stop in itertools.pairwise([*edges, len(chunk)]):
        those = slice(first, stop)
        begin, bars = voices.first_bar[those], voices.bars[those]
        at = dataset.bars[ragged(begin, bars)]
        per_bar = dataset.bars[ragged(begin + 1, bars)] - at
        notes = dataset.notes[ragged(dataset.bars[begin], dataset.bars[begin + bars] - dataset.bars[begin])]
        on_line = voices.first_on_line[those] - voices.first_on_line[first]
        bar = np.repeat(ragged(on_line, bars), per_bar)
        stretch = np.flatnonzero(np.diff(on_line, prepend=-1))  # merged voices share one
        yield _Notes(
            those,
            int(voices.first_on_line[first]),
            bar * steps_per_bar + notes["position"],
            notes["duration"].astype(np.int64),
            notes["pitch"].astype(np.int64),
            on_line[stretch] * steps_per_bar,
            bars[stretch] * steps_per_bar,
        )
