"""A prepared data set and its batches, read with numpy alone.

A batch is a function of the seed and the step, so a run that is resumed sees just what it would have seen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import PianoCodec
from musicvae.data.windows import MIN_ONSETS_PER_BAR, valid_windows
from musicvae.errors import DataError

__all__ = ["FORMAT", "SPLITS", "Batch", "Clips", "Dataset"]

FORMAT = 1
"""Version of the layout on disk."""

SPLITS = ("train", "valid", "test")
"""Names of the splits; `songs.npy` holds indices into this tuple."""


class Batch(NamedTuple):
    """Clips, ready for the model."""

    tokens: NDArray[np.int64]
    """(B, U, S, F), S as long as the fullest bar needs."""
    lengths: NDArray[np.int64]
    """(B, U) slots of each bar, its end mark included."""


class Dataset:
    """A folder that `musicvae prepare` wrote.

    `notes` (N,) has the fields position, pitch, duration and velocity; `bars` (bars + 1,) says at which note each
    bar begins; `songs` has the fields first_bar, bars, split and tempo.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a data set; raises DataError if it is absent, partial or damaged."""
        self.folder = Path(folder)
        try:
            self.info: dict[str, Any] = json.loads((self.folder / "dataset.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: is not a prepared data set (no readable dataset.json: {error.__class__.__name__}). "
                f"Make one with: musicvae prepare YOUR_MUSIC -o {self.folder}"
            ) from None
        version = self.info.get("format") if isinstance(self.info, dict) else None
        if version != FORMAT:
            raise DataError(f"{self.folder}: has format {version}; this version reads {FORMAT}. Prepare it anew")
        try:
            self.steps_per_beat = int(self.info["settings"]["steps_per_beat"])
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{self.folder}: dataset.json lacks settings. Prepare it anew") from None
        self.notes, self.bars, self.songs = (self._load(name) for name in ("notes", "bars", "songs"))
        try:
            whole = len(self.bars) == int(self.songs["bars"].sum()) + 1 and int(self.bars[-1]) == len(self.notes)
        except (IndexError, ValueError, TypeError):  # arrays of another kind
            whole = False
        if not whole:
            raise DataError(f"{self.folder}: notes, bars and songs do not belong together. Prepare it anew")

    def clips(self, split: str, codec: PianoCodec, bars: int) -> Clips:
        """Return all clips of `bars` bars in a split; raises DataError where the codec's grid is another."""
        if codec.config.steps_per_beat != self.steps_per_beat:
            raise DataError(
                f"{self.folder}: was prepared with {self.steps_per_beat} steps a beat; the model has "
                f"{codec.config.steps_per_beat}. Prepare it with --steps-per-beat {codec.config.steps_per_beat}"
            )
        windows = valid_windows(self._notes_per_bar(), self.songs["first_bar"], self.songs["bars"], bars)
        song = np.searchsorted(self.songs["first_bar"], windows, side="right") - 1
        return Clips(self, windows[self.songs["split"][song] == SPLITS.index(split)], codec, bars, split)

    def _notes_per_bar(self) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = self.bars[1:].astype(np.int64) - self.bars[:-1].astype(np.int64)
        return counts

    def _load(self, name: str) -> NDArray[Any]:
        try:
            return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{self.folder / name}.npy: cannot be read ({error}). Prepare the data set anew") from None


class Clips:
    """The clips of one split: stretches of `bars` bars, starting at any bar."""

    def __init__(self, dataset: Dataset, windows: NDArray[np.int64], codec: PianoCodec, bars: int, split: str) -> None:
        self.dataset, self.windows, self.codec, self.bars, self.split = dataset, windows, codec, bars, split
        self._order: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """Return how many clips there are; neighbours overlap."""
        return len(self.windows)

    @property
    def epoch(self) -> int:
        """How many clips fill the music of the split once: a clip begins at every bar, so all of them, by the bars."""
        return -(-len(self) // self.bars)

    def require(self) -> None:
        """Raise DataError if there is no clip, saying what there is."""
        if len(self):
            return
        songs = self.dataset.songs[self.dataset.songs["split"] == SPLITS.index(self.split)]
        longest = int(songs["bars"].max(initial=0))
        raise DataError(
            f"{self.dataset.folder}: the {self.split} split has no clip of {self.bars} bars ({len(songs)} songs, the "
            f"longest has {longest} bars; a clip needs {MIN_ONSETS_PER_BAR} notes a bar, no two empty bars running). "
            "Add music, or choose shorter clips with --set model.bars=8"
        )

    def draw(self, seed: int, step: int, size: int, transpose: tuple[int, int] = (0, 0)) -> Batch:
        """Return the batch of a step.

        All clips come once, in an order shuffled anew, before any comes again. Each is transposed by a number of
        semitones drawn from −down to +up for `transpose` = (down, up), less where a note would leave the range.
        """
        index = np.arange(step * size, (step + 1) * size)
        turns, places = np.divmod(index, len(self))
        chosen = np.array([self._shuffled(seed, int(t))[p] for t, p in zip(turns, places, strict=True)])
        shift = np.random.default_rng([seed, 1, step]).random(size) if any(transpose) else None
        return self.batch(chosen, shift, transpose)

    def spread(self, count: int) -> Batch:
        """Return `count` clips (fewer if there are fewer) spread evenly over the split: the same at every call."""
        count = min(count, len(self))
        return self.batch(np.arange(count) * len(self) // count)

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
            pitch = pitch + self._semitones(pitch, which // U, shift, transpose)[which // U]
        duration = np.minimum(notes["duration"], room)
        tokens = self.codec.pack(which, position, pitch, duration, notes["velocity"], B * U)
        lengths = (tokens[..., 0] != self.codec.spec.end).sum(axis=1) + 1
        return Batch(tokens[:, : lengths.max()].reshape(B, U, lengths.max(), -1), lengths.reshape(B, U))

    def _semitones(
        self, pitch: NDArray[np.int64], clip: NDArray[np.int64], shift: NDArray[np.float64], transpose: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Return each clip's transposition (B,), within `transpose` and so that no note leaves the range."""
        low, high = self.codec.config.pitch_low, self.codec.config.pitch_high
        lowest, highest = np.full(len(shift), high), np.full(len(shift), low)
        np.minimum.at(lowest, clip, pitch)
        np.maximum.at(highest, clip, pitch)
        down = np.minimum(transpose[0], lowest - low)
        up = np.minimum(transpose[1], high - highest)
        semitones: NDArray[np.int64] = np.floor(shift * (down + up + 1)).astype(np.int64) - down
        return semitones

    def _shuffled(self, seed: int, turn: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != (seed, turn):
            self._order = ((seed, turn), np.random.default_rng([seed, 0, turn]).permutation(len(self)))
        return self._order[1]
