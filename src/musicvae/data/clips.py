"""Clips and their batches.

A batch is a function of the seed and the step, so a run that is resumed sees just what it would have seen.

It is made in two parts. What a batch needs to be planned (which clips, how long their bars are, how far each is moved)
is looked up in small tables; its tokens are then gathered from one large table by a few operations on arrays, which
numpy and torch have alike. Training keeps that table on its device and gathers there (`musicvae.train.resident`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec, MelodyCodec, PianoCodec
from musicvae.codecs.melody import NOTE_ON
from musicvae.data.layout import SPLITS
from musicvae.data.windows import MIN_ONSETS_PER_BAR, ragged
from musicvae.errors import DataError
from musicvae.music.score import PARTS

if TYPE_CHECKING:
    from musicvae.data.dataset import Dataset
    from musicvae.data.steps import StepLine

__all__ = ["Batch", "Clips", "PianoClips", "Plan", "StepClips", "Table"]

CHUNK = 2**12
"""Bars of notes that are turned into tokens at once, so that memory stays small."""


class Batch(NamedTuple):
    """Clips, ready for the model."""

    tokens: NDArray[np.int64]
    """(B, U, S, F), S as long as the fullest bar needs."""
    lengths: NDArray[np.int64]
    """(B, U) slots of each bar, its end mark included."""


class Table(NamedTuple):
    """Bars as tokens, in as few bytes as they need, and what is known of each bar without looking at them."""

    tokens: NDArray[np.integer]
    """Piano: (1 + notes, F), first an end mark, then the notes bar by bar. Others: (bars, S)."""
    rows: NDArray[np.int64]
    """(bars,) the row of `tokens` that a bar begins with."""
    lengths: NDArray[np.integer]
    """(bars,) slots of each bar, its end mark included."""
    lowest: NDArray[np.uint8]
    """(bars,) lowest note of each bar, in semitones above the codec's lowest; where there is none, its highest."""
    highest: NDArray[np.uint8]
    """(bars,) highest note of each bar; 0 where there is none."""


class Plan(NamedTuple):
    """What the tokens of a batch are gathered by, numpy's arrays or torch's."""

    rows: Any
    """(B, U, V) the row of the table that each bar of each voice begins with."""
    lengths: Any
    """(B, U) slots of each bar, its end mark included."""
    semitones: Any
    """(B,) how far each clip is moved."""
    slots: int
    """S, slots of the fullest bar."""


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
        self.windows: NDArray[np.integer]
        """(len, V) first bar of each voice of each clip, among all bars that there are."""
        self.pitches = codec.config.pitch_high - codec.config.pitch_low + 1
        self.pitched = [i for i, stream in enumerate(codec.spec.streams) if stream.name != "drums"]
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

    def without(self, songs: NDArray[np.integer]) -> Self:
        """Return the clips of all other songs than these (n,)."""
        rest, keep = copy(self), ~np.isin(self.songs, songs)
        rest.songs, rest.windows, rest._order = self.songs[keep], self.windows[keep], None
        return rest

    def draw(self, seed: int, step: int, size: int, transpose: tuple[int, int] = (0, 0)) -> Batch:
        """Return the batch of a step.

        All clips come once, in an order shuffled anew, before any comes again. Each is transposed by a number of
        semitones drawn from −down to +up for `transpose` = (down, up), less where a note would leave the range; drums
        are not.
        """
        return self.batch(self.chosen(seed, step, size), self.shifts(seed, step, size, transpose), transpose)

    def chosen(self, seed: int, step: int, size: int) -> NDArray[np.int64]:
        """Return the numbers of the clips (size,) of a step: see `draw`."""
        turns, places = np.divmod(np.arange(step * size, (step + 1) * size), len(self))
        return np.concatenate([self._shuffled(seed, int(turn))[places[turns == turn]] for turn in np.unique(turns)])

    def shifts(self, seed: int, step: int, size: int, transpose: tuple[int, int]) -> NDArray[np.float64] | None:
        """Return what chooses the transposition of each clip (size,) of a step: see `batch`."""
        return np.random.default_rng([seed, 1, step]).random(size) if any(transpose) else None

    def spread(self, count: int) -> Batch:
        """Return `count` clips (fewer if there are fewer) spread evenly over the split: the same at every call."""
        return self.batch(self.spread_index(count))

    def spread_index(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of the clips that `spread` returns."""
        count = min(count, len(self))
        return np.arange(count) * len(self) // count

    def batch(
        self, index: NDArray[np.integer], shift: NDArray[np.float64] | None = None, transpose: tuple[int, int] = (0, 0)
    ) -> Batch:
        """Return the clips with these numbers; `shift` (B,) in [0, 1) chooses each one's transposition."""
        bars = self.bars_of(self.windows[index])
        table = self.table(bars.ravel())
        plan = self.plan(table, np.arange(bars.size).reshape(bars.shape), shift, transpose)
        numbers = np.arange(max(plan.slots, self.bars))
        return Batch(self.lay_out(np, table.tokens, plan, numbers), plan.lengths)

    def bars_of(self, windows: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the bars (B, U, V) of clips whose voices begin at `windows` (B, V)."""
        return windows[:, None, :] + np.arange(self.bars)[:, None]

    def plan(
        self,
        table: Table,
        bars: NDArray[np.integer],
        shift: NDArray[np.float64] | None,
        transpose: tuple[int, int],
    ) -> Plan:
        """Return how to gather clips from a table, whose `bars` (B, U, V) they have; `shift` (B,) as for `batch`."""
        lengths = table.lengths[bars[..., 0]].astype(np.int64)
        semitones = np.zeros(len(bars), np.int64)
        if shift is not None and self.pitched:
            heard = bars[..., self.pitched]
            down = table.lowest[heard].min(axis=(1, 2)).astype(np.int64)
            up = self.pitches - 1 - table.highest[heard].max(axis=(1, 2)).astype(np.int64)
            down, up = np.minimum(transpose[0], down), np.minimum(transpose[1], up)
            semitones = np.floor(shift * (down + up + 1)).astype(np.int64) - down
        return Plan(table.rows[bars], lengths, semitones, int(lengths.max(initial=1)))

    @abstractmethod
    def table(self, bars: NDArray[np.integer]) -> Table:
        """Return these bars (n,), numbered as `windows` does, as a table."""

    @abstractmethod
    def lay_out(self, xp: Any, tokens: Any, plan: Plan, numbers: Any) -> Any:
        """Gather the tokens (B, U, S, F) of a plan from those of a table.

        `xp` is numpy or torch, and the rest its arrays; `numbers` is 0, 1, 2, … of at least S and U numbers.
        """

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
        self.codec, self.windows = codec, windows

    def table(self, bars: NDArray[np.integer]) -> Table:
        """Return these bars (n,) of the data set as a table."""
        mark = np.array([[self.codec.spec.end, 0, 0, 0]])
        kind = np.uint8 if max(self.codec.spec.sizes) <= 256 else np.int16
        tokens, counts = [mark.astype(kind)], [np.zeros(0, np.int64)]
        lowest, highest = np.full(len(bars), self.pitches - 1, np.uint8), np.zeros(len(bars), np.uint8)
        for start in range(0, len(bars), CHUNK):
            some = bars[start : start + CHUNK]
            begin, end = self.dataset.bars[some], self.dataset.bars[some + 1]
            notes = self.dataset.notes[ragged(begin, end - begin)]
            bar = np.repeat(np.arange(len(some)), end - begin)
            pitch = notes["pitch"].astype(np.int64) - self.codec.config.pitch_low
            fits = (pitch >= 0) & (pitch < self.pitches)  # before transposition, which would bring some of them in
            np.minimum.at(lowest, start + bar[fits], pitch[fits].astype(np.uint8))
            np.maximum.at(highest, start + bar[fits], pitch[fits].astype(np.uint8))
            packed = self.codec.pack(  # (n, slots, F)
                bar, notes["position"], notes["pitch"], notes["duration"], notes["velocity"], len(some)
            )
            real = packed[..., 0] != self.codec.spec.end
            tokens.append(packed[real].astype(kind))
            counts.append(real.sum(axis=1))
        count = np.concatenate(counts)
        rows = 1 + np.cumsum(count) - count
        return Table(np.concatenate(tokens), rows, (count + 1).astype(np.uint16), lowest, highest)

    def lay_out(self, xp: Any, tokens: Any, plan: Plan, numbers: Any) -> Any:
        """Gather the tokens (B, U, S, F) of a plan: see `Clips`."""
        slot, bar = numbers[: plan.slots], numbers[: self.bars]
        note = slot < plan.lengths[..., None] - 1  # (B, U, S)
        found = xp.asarray(tokens[xp.where(note, plan.rows + slot, 0)], dtype=xp.int64)  # row 0 is the end mark
        position, pitch, duration, velocity = (found[..., f] for f in range(4))
        rest = (self.bars - bar)[:, None] * self.codec.steps_per_bar - 1 - position  # a note ends with its clip
        moved = pitch + plan.semitones[:, None, None] * note
        return xp.stack((position, moved, xp.where(note, xp.minimum(duration, rest), 0), velocity), -1)


class StepClips(Clips):
    """Clips of a token a step and voice: melodies, drums, trios. No two of them are the same."""

    def __init__(self, dataset: Dataset, line: StepLine, bars: int, split: str) -> None:
        number = SPLITS.index(split)
        self.line, self.codec = line, line.codec
        mine = line.split == number
        super().__init__(dataset, line.codec, bars, split, line.songs[mine])
        self.needs = line.needs
        self.windows = line.windows[mine]
        self.copies = line.copies[number]
        """How many clips are left out because they stand in the split already."""
        self.elsewhere = line.elsewhere[number]
        """How many clips are left out because they stand in a split before this one."""

    def table(self, bars: NDArray[np.integer]) -> Table:
        """Return these bars (n,) of the line as a table."""
        tokens = self.line.tokens.reshape(-1, self.codec.steps_per_bar)[bars]
        lowest, highest = np.empty(len(bars), np.uint8), np.empty(len(bars), np.uint8)
        for start in range(0, len(bars), CHUNK):
            some = slice(start, start + CHUNK)
            pitch = tokens[some].astype(np.int64) - NOTE_ON
            lowest[some] = np.where(pitch >= 0, pitch, self.pitches - 1).min(axis=1)
            highest[some] = np.maximum(pitch, 0).max(axis=1)  # of a bar of drums nobody asks
        lengths = np.full(len(bars), self.codec.steps_per_bar, np.uint16)
        return Table(tokens, np.arange(len(bars)), lengths, lowest, highest)

    def lay_out(self, xp: Any, tokens: Any, plan: Plan, numbers: Any) -> Any:
        """Gather the tokens (B, U, S, F) of a plan: see `Clips`."""
        found = xp.asarray(tokens[plan.rows], dtype=xp.int64)  # (B, U, F, S)
        B, U, F, S = found.shape
        if isinstance(self.codec, MelodyCodec):  # as `opening` does: before the first note there is no event
            found = found * (xp.cumsum(found.reshape(B, U * S) >= NOTE_ON, 1) > 0).reshape(B, U, F, S)
        shift = plan.semitones[:, None, None]
        voices = [found[:, :, f] for f in range(F)]  # (B, U, S) each
        voices = [v + shift * (v >= NOTE_ON) if f in self.pitched else v for f, v in enumerate(voices)]
        return xp.stack(voices, -1)

    def _also(self) -> str:
        return f"; {self.elsewhere} that it has are in splits before it, too" if self.elsewhere else ""
