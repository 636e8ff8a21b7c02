"""What the machine listener hears in a clip: numbers of the whole, how its bars relate, and short n-grams.

None of it depends on tempo or loudness, which many sets of files do not have.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from musicvae.evaluate.features import ADDED, DRUMS, FEATURES, MAJOR, YANG_LERCH, extract, line, pitch_class_histogram
from musicvae.music.score import Score

__all__ = ["ngrams", "number_names", "numbers"]

F64 = NDArray[np.float64]

LAGS = (1, 2, 4, 8)
"""Bars from one to another at which they are compared."""
RELATIONS = ("notes", "onsets", "pitch classes", "register", "note count")
"""What bars are compared by."""
TONAL = ("pitches played once", "pitch classes played once nearby", "scale consistency nearby")
FARTHEST = 12
"""Semitones and 16ths beyond which an n-gram does not tell intervals and times apart."""

_WHOLE = tuple(name for name in YANG_LERCH if not FEATURES[name].by_bar) + ADDED


def numbers(clips: Sequence[Score]) -> F64:
    """Return what is told by numbers: (clips, clues), NaN where a clue is not defined; `number_names` are their names.

    The features of Yang and Lerch and those that were added, of the whole clip; how alike bars are that are LAGS apart,
    beside any two bars; which pitches stand alone, and the pitch classes above the likeliest key.
    """
    whole = [v.reshape(len(clips), -1) for v in extract(clips, _WHOLE).values()]
    rest = [np.concatenate([_relations(clip), _tonal(clip)]) for clip in clips]
    return np.concatenate([*whole, np.array(rest)], axis=1)


def number_names() -> list[str]:
    """Return the names of the clues that `numbers` returns."""
    one = Score.of([0], [60], [1], bars=2)
    names = [name if not i else f"{name} {i}" for name in _WHOLE for i in _cells(FEATURES[name].function(one))]
    for relation in RELATIONS:
        names.append(f"likeness of bars in {relation}")
        names += [f"likeness of bars {lag} apart in {relation}" for lag in LAGS]
        names += [f"likeness of bars {lag} apart in {relation}, beyond that of any two" for lag in LAGS]
    return [*names, *TONAL, *(f"share of the pitch class {i} above the key" for i in range(12))]


def ngrams(score: Score) -> Iterator[str]:
    """Yield every n-gram of a clip, as often as it stands in it.

    Of one to three successive steps along a line: their intervals, their times, both; and of one or two successive
    onsets: the pitch classes of what begins there, counted from the lowest note.
    """
    top, follows = line(score)
    interval = np.clip(np.diff(score.pitch[top]), -FARTHEST, FARTHEST).tolist()
    unit = score.steps_per_beat / 4
    time = np.minimum(np.diff(score.onset[top]) / unit, FARTHEST).tolist()
    melody = [f"{i:+d}" for i in interval]
    rhythm = [f"{t:g}" for t in time]
    both = [f"{i}/{t}" for i, t in zip(melody, rhythm, strict=True)]
    ends = np.flatnonzero(~follows).tolist()
    for kind, words in (("interval", melody), ("time", rhythm), ("step", both)):
        for begin, end in zip([0, *(e + 1 for e in ends)], [*ends, len(words)], strict=True):
            yield from _runs(kind, words[begin:end], 3)
    pitched = score.part != DRUMS
    onset, pitch = score.onset[pitched], score.pitch[pitched].tolist()
    edges = [0, *(np.flatnonzero(np.diff(onset)) + 1).tolist(), len(pitch)]
    groups = (pitch[a:b] for a, b in itertools.pairwise(edges) if b > a)
    chords = [".".join(map(str, sorted({(p - min(group)) % 12 for p in group}))) for group in groups]
    yield from _runs("chord", chords, 2)


def _runs(kind: str, words: list[str], longest: int) -> Iterator[str]:
    for n in range(1, longest + 1):
        for i in range(len(words) - n + 1):
            yield " ".join((kind, *words[i : i + n]))


def _cells(value: F64) -> list[str]:
    """Return the places of an array as text; one empty text for a number."""
    return [" → ".join(map(str, place)) for place in np.ndindex(value.shape)]


def _relations(score: Score) -> F64:
    """Return how alike bars are: of any two, of those some LAGS apart, and by how much these are more alike (45,)."""
    U = score.bars
    bar, step = score.onset // score.steps_per_bar, score.onset % score.steps_per_bar
    notes = np.zeros((U, score.steps_per_bar * 128), dtype=np.float32)
    notes[bar, step * 128 + score.pitch] = 1
    onsets = np.zeros((U, score.steps_per_bar), dtype=np.float32)
    onsets[bar, step] = 1
    classes = pitch_class_histogram(score, by_bar=True)
    count = np.bincount(bar, minlength=U).astype(np.float64)
    middle = float(score.pitch.mean()) if len(score) else 0.0
    register = np.where(count > 0, np.bincount(bar, score.pitch, minlength=U) / np.maximum(count, 1), middle)
    alike = (
        _shared(notes),
        _shared(onsets),
        1 - np.abs(classes[:, None] - classes).sum(axis=-1) / 2,
        -np.abs(np.subtract.outer(register, register)),
        -np.abs(np.subtract.outer(count, count)),
    )
    any_two = np.triu_indices(U, 1)
    found = []
    for table in alike:
        mean = table[any_two].mean() if U > 1 else np.nan
        apart = np.array([np.diagonal(table, lag).mean() if lag < U else np.nan for lag in LAGS])
        found += [mean, *apart, *(apart - mean)]
    return np.array(found, dtype=np.float64)


def _shared(table: NDArray[np.float32]) -> F64:
    """Return of rows of zeros and ones what any two have in common, as a share of what either has; of nothing, all."""
    both = table @ table.T
    size = table.sum(axis=1)
    either = size[:, None] + size - both
    shared: F64 = np.divide(both, either, out=np.ones(both.shape), where=either > 0)
    return shared


def _tonal(score: Score) -> F64:
    """Return the TONAL clues and the share of each pitch class above the likeliest major key (15,)."""
    score = score.select(score.part != DRUMS)
    if not len(score):
        return np.full(len(TONAL) + 12, np.nan)
    bar, pitch_class = score.onset // score.steps_per_bar, score.pitch % 12
    table = np.zeros((score.bars + 2, 12))
    np.add.at(table, (bar + 1, pitch_class), 1)
    near = table[:-2] + table[1:-1] + table[2:]  # of each bar and its neighbours
    heard = near[near.any(axis=1)]
    once = (np.bincount(score.pitch)[score.pitch] == 1).mean()
    alone = (near[bar, pitch_class] == 1).mean()
    local = ((heard @ MAJOR.T).max(axis=1) / heard.sum(axis=1)).mean()
    total = table.sum(axis=0)
    return np.array([once, alone, local, *(np.roll(total, -int((MAJOR @ total).argmax())) / total.sum())])
