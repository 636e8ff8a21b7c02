"""A prepared data set, read with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec, DrumsCodec, MelodyCodec, PianoCodec, TrioCodec
from musicvae.config import CodecConfig
from musicvae.data.clips import Batch, Clips, PianoClips, StepClips
from musicvae.data.layout import ARRAYS, FORMAT, SPLITS
from musicvae.data.steps import StepLine, step_line
from musicvae.data.windows import ragged, valid_windows
from musicvae.errors import DataError
from musicvae.music.score import PARTS

__all__ = ["FORMAT", "SPLITS", "Batch", "Clips", "Dataset", "Voices"]


class Voices(NamedTuple):
    """Voices of some parts, by song."""

    song: NDArray[np.int64]
    """(V,)"""
    part: NDArray[np.int64]
    """(V,) index into the parts that were asked for."""
    first_bar: NDArray[np.int64]
    """(V,) among all bars of the data set."""
    bars: NDArray[np.int64]
    """(V,)"""
    first_on_line: NDArray[np.int64]
    """(V,) first bar where these voices alone lie one after another."""

    def merged(self) -> Voices:
        """Return them with all voices of a song on the same bars of the line."""
        new = np.diff(self.song, prepend=-1) != 0
        return self._replace(first_on_line=np.cumsum(np.where(new, self.bars, 0)) - self.bars)


class Dataset:
    """A folder that `musicvae prepare` wrote; `musicvae.data.layout` says what is in it.

    `notes`, `bars`, `voices` and `songs` are its arrays, `info` its dataset.json.
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
        self.notes, self.bars, self.voices, self.songs = (self._load(name) for name in ARRAYS)
        try:
            whole = self._is_whole()
        except (IndexError, ValueError, TypeError):  # arrays of another kind
            whole = False
        if not whole:
            raise DataError(f"{self.folder}: {', '.join(ARRAYS)} do not belong together. Prepare it anew")
        self._line: tuple[tuple[CodecConfig, tuple[str, ...], int], StepLine] | None = None

    def clips(self, split: str, codec: Codec, bars: int) -> Clips:
        """Return all clips of `bars` bars in a split; raises DataError where the codec's grid is another.

        There may be none: see `Clips.require`.
        """
        if codec.config.steps_per_beat != self.steps_per_beat:
            raise DataError(
                f"{self.folder}: was prepared with {self.steps_per_beat} steps a beat; the model has "
                f"{codec.config.steps_per_beat}. Prepare it with --steps-per-beat {codec.config.steps_per_beat}"
            )
        if isinstance(codec, PianoCodec):
            return self._piano_clips(split, codec, bars)
        assert isinstance(codec, MelodyCodec | DrumsCodec | TrioCodec)
        key = (codec.config, codec.parts, bars)
        if self._line is None or self._line[0] != key:  # the same for all splits
            self._line = (key, step_line(self, codec, bars))
        return StepClips(self, self._line[1], bars, split)

    def voices_of(self, parts: Sequence[str]) -> Voices:
        """Return the voices of these parts, of all songs that have each of the parts."""
        number = np.full(len(PARTS), -1)
        number[[PARTS.index(part) for part in parts]] = np.arange(len(parts))
        part = number[self.voices["part"]]
        has = np.zeros((len(self.songs), len(parts) + 1), np.bool_)
        has[self.voices["song"], part] = True  # others at −1, the last
        chosen = (part >= 0) & np.logical_and.reduce(has[:, :-1], axis=1)[self.voices["song"]]
        song = self.voices["song"][chosen].astype(np.int64)
        bars = self.songs["bars"][song].astype(np.int64)
        first = self.voices["first_bar"][chosen].astype(np.int64)
        return Voices(song, part[chosen], first, bars, np.cumsum(bars) - bars)

    def sources(self) -> list[str]:
        """Return the file that each song comes from, as songs.tsv has it; raises DataError if that is damaged."""
        path = self.folder / "songs.tsv"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}). Prepare the data set anew") from None
        if len(lines) != len(self.songs):
            raise DataError(f"{path}: has {len(lines)} songs; the data set has {len(self.songs)}. Prepare it anew")
        return [line.rpartition("\t")[2] for line in lines]

    def _piano_clips(self, split: str, codec: PianoCodec, bars: int) -> PianoClips:
        voices = self.voices_of(codec.parts)
        bar = ragged(voices.first_bar, voices.bars)  # of each on the line
        windows = valid_windows(self.bars[bar + 1] - self.bars[bar], voices.first_on_line, voices.bars, bars)
        song = voices.song[np.searchsorted(voices.first_on_line, windows, side="right") - 1]
        mine = self.songs["split"][song] == SPLITS.index(split)
        return PianoClips(self, codec, bars, split, song[mine], bar[windows[mine]][:, None])

    def _is_whole(self) -> bool:
        """Tell whether the arrays belong together; raises IndexError, ValueError or TypeError for others."""
        songs, voices = self.songs, self.voices
        bars = songs["bars"][voices["song"]].astype(np.int64)
        return (
            len(self.bars) == int(bars.sum()) + 1
            and int(self.bars[0]) == 0
            and int(self.bars[-1]) == len(self.notes["pitch"])
            and np.array_equal(voices["song"], np.repeat(np.arange(len(songs)), songs["voices"]))
            and np.array_equal(voices["first_bar"], np.cumsum(bars) - bars)
            and bool((voices["part"] < len(PARTS)).all() and (bars > 0).all() and (songs["split"] < len(SPLITS)).all())
        )

    def _load(self, name: str) -> NDArray[Any]:
        try:
            return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{self.folder / name}.npy: cannot be read ({error}). Prepare the data set anew") from None
