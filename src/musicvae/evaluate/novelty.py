"""What of a clip stands in the training songs already: the longest run of notes, and where.

A *run* is notes that follow one another in a *line* (`musicvae.evaluate.lines`) at the same distances in time, with the
same pitches (`exact`) or the same intervals (`any key`; drums are always exact). At which step of a bar it begins, how
long its notes are and how loud does not matter.

Music repeats itself, and a chord struck thirty times stands in many songs. So beside its `notes` a run has its notes
`unrepeated`: those that end a group of GROUP notes which the run has had before are left out.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from musicvae.data.dataset import Dataset
from musicvae.data.layout import KEPT
from musicvae.errors import DataError
from musicvae.evaluate.lines import LINES, Chunk, Notes, intervals, line, own, pitches, voices
from musicvae.evaluate.suffixes import STEP, Suffixes
from musicvae.music.score import Score, steps_per_bar

__all__ = ["GROUP", "Found", "Index", "Run", "described", "mark_of"]

GROUP = 4
"""Notes of the groups by which repeats are told."""
FORMAT = 1
"""Version of the file that an index is kept in."""


class Run(NamedTuple):
    """Notes of a clip that stand in a training song, too. Bars, and beats (quarter notes), are counted from 1."""

    notes: int = 0
    """How many they are: at least 2, or 0 where there is no run."""
    unrepeated: int = 0
    """How many are left when repeats within the run count once."""
    bar: int = 0
    """Where in the clip it begins."""
    beat: float = 0.0
    song: int = -1
    """Number of the first song of the data set that has it; −1 where there is no run."""
    song_bar: int = 0
    """Where in that song it begins; the data set's songs begin with their first bar with a note."""
    song_beat: float = 0.0
    songs: int = 0
    """How many training songs have it."""


class Found(NamedTuple):
    """What of one line of a clip stands in the training songs."""

    of: int
    """Notes of the line."""
    longest: Run
    """The run with most notes; of several the first."""
    telling: Run
    """The run with most notes unrepeated; of several the first."""


class Index:
    """The lines of the training songs of a data set, ready to be searched."""

    def __init__(self, lines: Mapping[str, _Line], parts: Sequence[str], steps_per_beat: int) -> None:
        self._lines = dict(lines)
        self.parts = tuple(parts)
        """Parts of a clip that are looked at."""
        self.steps_per_beat = steps_per_beat

    @classmethod
    def of(cls, dataset: Dataset, parts: Sequence[str], split: str = "train") -> Self:
        """Make the index of one split of a data set, for clips of these parts (`Codec.parts`).

        Raises DataError where the split has no song with all of the parts.
        """
        lines = [_lines(voices(dataset, part, parts, split), part) for part in parts]
        index = cls(dict(itertools.chain(*(of.items() for of in lines))), parts, dataset.steps_per_beat)
        if not all(len(line.steps) for line in index._lines.values()):
            raise DataError(f"{dataset.folder}: no {split} song has {' and '.join(parts)}. Name another data set")
        return index

    @classmethod
    def of_songs(cls, songs: Sequence[Score], parts: Sequence[str]) -> Self:
        """Make the index of Scores in 4/4, one or more, which are songs 0, 1, …; all on one grid."""
        lines = [_lines(own(songs, part), part) for part in parts]
        return cls(dict(itertools.chain(*(of.items() for of in lines))), parts, songs[0].steps_per_beat)

    @classmethod
    def kept(cls, dataset: Dataset, parts: Sequence[str]) -> Self:
        """Return the index of a data set's training songs: that in its folder, or a new one, which is kept there.

        Where the folder cannot be written to, it is made anew each time.
        """
        path = dataset.folder / f"{KEPT}{'-'.join(parts)}.npz"
        with suppress(DataError):
            return cls.load(path, mark_of(dataset))
        index = cls.of(dataset, parts)
        with suppress(DataError):
            index.save(path, mark_of(dataset))
        return index

    def save(self, path: str | Path, mark: str = "") -> None:
        """Write the index to an .npz file; `mark` says what it is of. Raises DataError where it cannot be written."""
        path = Path(path)
        about = {"format": FORMAT, "mark": mark, "parts": self.parts, "steps_per_beat": self.steps_per_beat}
        lines = self._lines.items()
        arrays: dict[str, Any] = {f"{name}/{key}": a for name, line in lines for key, a in line.arrays().items()}
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        try:
            with partial.open("wb") as file:
                np.savez(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None

    @classmethod
    def load(cls, path: str | Path, mark: str = "") -> Self:
        """Read an index; raises DataError if it is absent, damaged, or of something else than `mark`."""
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                if (about["format"], about["mark"]) != (FORMAT, mark):
                    raise DataError(f"{path}: is an index of other songs, or of another version. Make it anew")
                names = [name for part in about["parts"] for name in LINES[part]]
                lines = {name: _Line(name, {key: file[f"{name}/{key}"] for key in _Line.FIELDS}) for name in names}
                return cls(lines, about["parts"], int(about["steps_per_beat"]))
        except DataError:
            raise
        except Exception as error:  # whatever zip, npy and json say of bytes that make no sense
            raise DataError(f"{path}: is not a whole index ({type(error).__name__}). Make it anew") from None

    def find(self, score: Score) -> dict[str, dict[str, Found]]:
        """Return what of a clip stands in the songs, by line (see LINES) and key (`exact`, `any key`).

        Raises DataError for a clip on another grid.
        """
        if score.steps_per_beat != self.steps_per_beat:
            raise DataError(
                f"the clip has {score.steps_per_beat} steps a beat, the training songs have {self.steps_per_beat}: "
                "prepare them, or read it, on the other's grid"
            )
        found = {}
        for part in self.parts:
            _, notes = next(own([score], part))
            for name in LINES[part]:
                found[name] = self._lines[name].find(line(notes, name), score)
        return found


def described(found: Mapping[str, Mapping[str, Found]], sources: Sequence[str]) -> dict[str, Any]:
    """Return what `Index.find` returned ready for JSON, songs with their `sources` (`Dataset.sources`)."""

    def run(one: Run) -> dict[str, Any]:
        return one._asdict() | {"source": sources[one.song] if one.notes else None}

    return {
        line: {key: {"of": f.of, "longest": run(f.longest), "telling": run(f.telling)} for key, f in keys.items()}
        for line, keys in found.items()
    }


def mark_of(dataset: Dataset) -> str:
    """Return what tells the notes and the splits of a data set from those of others."""
    return hashlib.sha256(json.dumps(dataset.info.get("sha256"), sort_keys=True).encode()).hexdigest()


class _Line:
    """One line of many songs. Of each note there are its pitch and the steps to the next one."""

    FIELDS = ("steps", "onset", "first", "song", "exact", "any key")

    def __init__(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """`arrays` are FIELDS: steps (N,) uint16, onset (N,), first note (songs,), song (songs,); two suffix arrays."""
        self.steps, self.onset, self.first, self.song = (arrays[field] for field in self.FIELDS[:4])
        n = len(self.steps)
        order = [array for key in self.FIELDS[4:] if (array := arrays.get(key)) is not None and len(array)]
        if not (len(self.onset) == n and len(self.song) == len(self.first)) or any(
            len(array) != n or array.min() < 0 or array.max() >= n for array in order
        ):
            raise DataError("the arrays of an index do not belong together. Make it anew")
        texts = {"exact": self.steps} | ({} if name == "drums" else {"any key": intervals(self.steps)})
        self.suffixes = {key: Suffixes(text, arrays.get(key)) for key, text in texts.items()}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return FIELDS."""
        none = np.zeros(0, np.int32)
        sorted_ = [self.suffixes[key].array if key in self.suffixes else none for key in self.FIELDS[4:]]
        return dict(zip(self.FIELDS, [self.steps, self.onset, self.first, self.song, *sorted_], strict=True))

    def find(self, notes: Notes, score: Score) -> dict[str, Found]:
        """Return what of the line of a clip stands here, by key."""
        steps = pitches(notes)
        # The steps after the last note do not matter: of its two bytes the pitch is the first, an interval none.
        texts = {"exact": (steps, 1), "any key": (intervals(steps), 2)}
        found = {}
        for key, suffixes in self.suffixes.items():
            text, short = texts[key]
            runs = _runs(text.astype(">u2").tobytes()[: max(STEP * len(steps) - short, 0)], short, suffixes)
            found[key] = Found(len(steps), *(self._run(one, notes.onset, score, suffixes) for one in runs))
        return found

    def _run(self, run: _Sequence, onset: NDArray[np.integer], score: Score, suffixes: Suffixes) -> Run:
        if not run.notes:
            return Run()
        at = suffixes.where(run.text)
        song = self.song[np.searchsorted(self.first, at, side="right") - 1]
        begins = _place(int(onset[run.first]), score.steps_per_bar, score.steps_per_beat)
        stands = _place(int(self.onset[at[0]]), steps_per_bar(score.steps_per_beat, (4, 4)), score.steps_per_beat)
        return Run(run.notes, run.unrepeated, *begins, int(song[0]), *stands, len(np.unique(song)))


def _place(onset: int, per_bar: int, per_beat: int) -> tuple[int, float]:
    """Return the bar and the beat of an onset in steps, both from 1."""
    bar, step = divmod(onset, per_bar)
    return bar + 1, 1 + step / per_beat


class _Sequence(NamedTuple):
    """A run as it is looked for."""

    notes: int = 0
    unrepeated: int = 0
    first: int = 0
    """Its first note, in the line of the clip."""
    text: bytes = b""


def _runs(text: bytes, short: int, suffixes: Suffixes) -> tuple[_Sequence, _Sequence]:
    """Return the run with most notes, and that with most unrepeated; n notes of a line are 2n − `short` bytes."""
    longest = telling = _Sequence()
    count, stop = (len(text) + short) // STEP, 0
    for first in range(count):
        # A run that is better than those found is longer than the telling one, and ends later than the last one.
        least = max(stop + 1 - first, telling.unrepeated + 1, 2)
        if first + least > count:
            break
        begin = STEP * first
        if not suffixes.holds(text[begin : begin + STEP * least - short]):
            continue
        notes = (suffixes.longest(text[begin:]) + short) // STEP
        stop = first + notes
        run = text[begin : begin + STEP * notes - short]
        size = STEP * GROUP - short
        groups = {run[i : i + size] for i in range(0, len(run) - size + 1, STEP)}
        new = _Sequence(notes, len(groups) + GROUP - 1 if groups else notes, first, run)
        longest = max(longest, new, key=lambda one: one.notes)  # of equals max returns the first
        telling = max(telling, new, key=lambda one: one.unrepeated)
    return longest, telling


def _lines(chunks: Iterable[Chunk], part: str) -> dict[str, _Line]:
    """Return the lines of a part."""
    songs = [np.zeros(0, np.int64)]
    empty = np.zeros(0, np.uint16), np.zeros(0, np.int32), np.zeros(0, np.int64)
    pieces = {name: [empty] for name in LINES[part]}  # steps, onsets, and how many notes each song has
    for song, notes in chunks:
        songs.append(song)
        for name, found in pieces.items():
            of = line(notes, name)
            found.append((pitches(of), of.onset.astype(np.int32), np.bincount(of.song, minlength=len(song))))
    lines = {}
    for name, found in pieces.items():
        steps, onset, count = (np.concatenate(column) for column in zip(*found, strict=True))
        first = np.cumsum(count) - count
        lines[name] = _Line(name, {"steps": steps, "onset": onset, "first": first, "song": np.concatenate(songs)})
    return lines
