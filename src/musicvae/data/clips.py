"""Clips and their batches.

A batch is a function of the seed and the step, so a run that is resumed sees just what it would have seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec, MelodyCodec, PianoCodec
from musicvae.codecs.melody import NOTE_ON
from musicvae.data.layout import SPLITS
from musicvae.data.windows import MIN_ONSETS_PER_BAR
from musicvae.errors import DataError
from musicvae.music.score import PARTS

if TYPE_CHECKING:
    from musicvae.data.dataset import Dataset
    from musicvae.data.steps import StepLine

__all__ = ["Batch", "Clips", "PianoClips", "StepClips"]


class Batch(NamedTuple):
    """Clips, ready for the model."""

    tokens: NDArray[np.int64]
    """(B, U, S, F), S as long as the fullest bar needs."""
    lengths: NDArray[np.int64]
    """(B, U) slots of each bar, its end mark included."""


class Clips(ABC):
    """The clips of one split: stretches of `bars` bars, starting at any bar."""

    needs: str
    """What a stretch must have to be a clip, for people."""

    def __init__(self, dataset: Dataset, codec: Codec, bars: int, split: str, songs: NDArray[np.integer]) -> None:
        self.dataset, self.bars, self.split = dataset, bars, split
        self.parts = codec.parts
        self.kind = codec.config.kind
        self.songs = songs
        """(len,) song of each clip, ascending."""
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """Return how many clips there are; neighbours overlap."""
        return len(self.songs)

    @property
    def epoch(self) -> int:
        """How many clips fill the music of the split once: a clip begins at every bar, so all of them, by the bars."""
        return -(-len(self) // self.bars)

    def require(self) -> None:
        """Raise DataError if there is no clip, saying what there is."""
        if len(self):
            return
        folder, voices, songs = self.dataset.folder, self.dataset.voices, self.dataset.songs
        present = [part for number, part in enumerate(PARTS) if (voices["part"] == number).any()]
        absent = [part for part in self.parts if part not in present]
        if absent:
            raise DataError(
                f"{folder}: has no {' and no '.join(absent)}, which a {self.kind} model learns from; it has "
                f"{' and '.join(present)}. Prepare music that has it, or choose a preset of another kind with --preset"
            )
        having = np.unique(self.dataset.voices_of(self.parts).song)
        having = having[songs["split"][having] == SPLITS.index(self.split)]
        longest = int(songs["bars"][having].max(initial=0))
        shorter = f", or choose shorter clips with --set model.bars={self.bars // 2}" if self.bars >= 4 else ""
        raise DataError(
            f"{folder}: the {self.split} split has no clip of {self.bars} bars ({len(having)} songs, the longest "
            f"has {longest} bars; a clip needs {self.needs}){self._also()}. Add music{shorter}"
        )

    def draw(self, seed: int, step: int, size: int, transpose: tuple[int, int] = (0, 0)) -> Batch:
        """Return the batch of a step.

        All clips come once, in an order shuffled anew, before any comes again. Each is transposed by a number of
        semitones drawn from −down to +up for `transpose` = (down, up), less where a note would leave the range; drums
        are not.
        """
        index = np.arange(step * size, (step + 1) * size)
        turns, places = np.divmod(index, len(self))
        chosen = np.array([self._shuffled(seed, int(t))[p] for t, p in zip(turns, places, strict=True)])
        shift = np.random.default_rng([seed, 1, step]).random(size) if any(transpose) else None
        return self.batch(chosen, shift, transpose)

    def spread(self, count: int) -> Batch:
        """Return `count` clips (fewer if there are fewer) spread evenly over the split: the same at every call."""
        return self.batch(self.spread_index(count))

    def spread_index(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of the clips that `spread` returns."""
        count = min(count, len(self))
        return np.arange(count) * len(self) // count

    @abstractmethod
    def batch(
        self, index: NDArray[np.integer], shift: NDArray[np.float64] | None = None, transpose: tuple[int, int] = (0, 0)
    ) -> Batch:
        """Return the clips with these numbers; `shift` (B,) in [0, 1) chooses each one's transposition."""

    def _also(self) -> str:
        return ""

    def _shuffled(self, seed: int, turn: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != (seed, turn):
            self._order = ((seed, turn), np.random.default_rng([seed, 0, turn]).permutation(len(self)))
        return self._order[1]


class PianoClips(Clips):
    """Clips of notes."""

    needs = f"{MIN_ONSETS_PER_BAR} notes a bar, no two empty bars running"

    def __init__(
        self,
        dataset: Dataset,
        codec: PianoCodec,
        bars: int,
        split: str,
        songs: NDArray[np.integer],
        windows: NDArray[np.int64],
    ) -> None:
        super().__init__(dataset, codec, bars, split, songs)
        self.codec = codec
        self.windows = windows
        """(len,) first bar of each clip, among all bars of the data set."""

    def batch(
        self, index: NDArray[np.integer], shift: NDArray[np.float64] | None = None, transpose: tuple[int, int] = (0, 0)
    ) -> Batch:
        """Return the clips with these numbers; `shift` (B,) in [0, 1) chooses each one's transposition."""
        B, U = len(index), self.bars
        bar = (self.windows[index][:, None] + np.arange(U)).ravel()  # (B·U,)
        begin, end = self.dataset.bars[bar].astype(np.int64), self.dataset.bars[bar + 1].astype(np.int64)
        count = end - begin
        which = np.repeat(np.arange(B * U), count)  # bar of each note, (N,)
        notes = self.dataset.notes[np.arange(len(which)) + np.repeat(begin - (np.cumsum(count) - count), count)]
        steps = self.codec.steps_per_bar
        low, high = self.codec.config.pitch_low, self.codec.config.pitch_high
        fits = (notes["pitch"] >= low) & (notes["pitch"] <= high)
        if not fits.all():  # before transposition, which would bring some of them in
            which, notes = which[fits], notes[fits]
        position, pitch = notes["position"].astype(np.int64), notes["pitch"].astype(np.int64)
        room = (U - which % U) * steps - position  # a note ends with its clip
        if shift is not None:
            lowest, highest = np.full(B, high), np.full(B, low)
            np.minimum.at(lowest, which // U, pitch)
            np.maximum.at(highest, which // U, pitch)
            pitch = pitch + _semitones(lowest - low, high - highest, shift, transpose)[which // U]
        duration = np.minimum(notes["duration"], room)
        tokens = self.codec.pack(which, position, pitch, duration, notes["velocity"], B * U)
        lengths = (tokens[..., 0] != self.codec.spec.end).sum(axis=1) + 1
        return Batch(tokens[:, : lengths.max()].reshape(B, U, lengths.max(), -1), lengths.reshape(B, U))


class StepClips(Clips):
    """Clips of a token a step and voice: melodies, drums, trios. No two of them are the same."""

    def __init__(self, dataset: Dataset, line: StepLine, bars: int, split: str) -> None:
        number = SPLITS.index(split)
        self.line, self.codec = line, line.codec
        mine = line.split == number
        super().__init__(dataset, line.codec, bars, split, line.songs[mine])
        self.needs = line.needs
        self.windows = line.windows[mine]
        """(len, F) first bar of each voice of each clip, on the line."""
        self.copies = line.copies[number]
        """How many clips are left out because they stand in the split already."""
        self.elsewhere = line.elsewhere[number]
        """How many clips are left out because they stand in a split before this one."""

    def batch(
        self, index: NDArray[np.integer], shift: NDArray[np.float64] | None = None, transpose: tuple[int, int] = (0, 0)
    ) -> Batch:
        """Return the clips with these numbers; `shift` (B,) in [0, 1) chooses each one's transposition."""
        B, U, S = len(index), self.bars, self.codec.steps_per_bar
        bars = self.line.tokens.reshape(-1, S)
        rows = self.windows[index][:, None, :] + np.arange(U)[:, None]  # (B, U, F)
        tokens = bars[rows].astype(np.int64).swapaxes(2, 3)  # (B, U, S, F)
        if isinstance(self.codec, MelodyCodec):
            tokens = self.codec.opening(tokens.reshape(B, U * S)).reshape(B, U, S, 1).astype(np.int64)
        pitched = [i for i, stream in enumerate(self.codec.spec.streams) if stream.name != "drums"]
        if shift is not None and pitched:
            notes = tokens[..., pitched]
            sounds = notes >= NOTE_ON
            top = self.codec.spec.sizes[pitched[0]] - 1
            down = np.where(sounds, notes, top).min(axis=(1, 2, 3)) - NOTE_ON
            up = top - np.where(sounds, notes, NOTE_ON).max(axis=(1, 2, 3))
            tokens[..., pitched] = notes + sounds * _semitones(down, up, shift, transpose)[:, None, None, None]
        return Batch(np.ascontiguousarray(tokens), np.full((B, U), S))

    def _also(self) -> str:
        return f"; {self.elsewhere} that it has are in splits before it, too" if self.elsewhere else ""


def _semitones(
    down: NDArray[np.int64], up: NDArray[np.int64], shift: NDArray[np.float64], transpose: tuple[int, int]
) -> NDArray[np.int64]:
    """Return each clip's transposition (B,), within `transpose` and the room that it has `down` and `up` (B,)."""
    down, up = np.minimum(transpose[0], down), np.minimum(transpose[1], up)
    semitones: NDArray[np.int64] = np.floor(shift * (down + up + 1)).astype(np.int64) - down
    return semitones
