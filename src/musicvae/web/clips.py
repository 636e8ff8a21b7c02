"""Clips as JSON and back; points as text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import CodecError
from musicvae.music.score import Score
from musicvae.runtime.engine import Model
from musicvae.runtime.sampling import generators, prior
from musicvae.web.fields import RequestError

__all__ = [
    "MAX_NOTES",
    "MAX_SECONDS",
    "MAX_SOUND_NOTES",
    "NOWHERE",
    "TEMPO",
    "Drawn",
    "clip_json",
    "joined",
    "noise",
    "parse_clips",
]

MAX_NOTES = 50_000
"""Most notes of an uploaded file, or of clips that become one; a long sonata has some 10,000."""
MAX_BARS = 10_000
MAX_SECONDS = 240
"""Longest sound that is made: 42 MB."""
MAX_SOUND_NOTES = 6000
"""Most notes of it: each takes some milliseconds."""
TEMPO = (20, 400)
"""Quarter notes a minute that clips may have."""

_KEYS = ("bars", "steps_per_beat", "beats_per_bar", "tempo", "notes")
_LARGEST = 2**31


@dataclass(frozen=True, slots=True)
class Drawn:
    """How clips are drawn: the part of a request that all of them share."""

    name: str
    model: Model
    temperature: float
    seed: int
    index: int | None = None

    def facts(self, z: NDArray[np.float32], index: int | None = None) -> dict[str, Any]:
        """Return what a clip's JSON says of where it came from; `index` where each clip has one of its own."""
        return {
            "z": base64.urlsafe_b64encode(z.astype("<f4").tobytes()).decode("ascii").rstrip("="),
            "temperature": self.temperature,
            "seed": self.seed,
            "index": self.index if index is None else index,
        }


NOWHERE: dict[str, Any] = dict.fromkeys(("z", "temperature", "seed", "index"))
"""What stands in place of `facts` where a clip was not decoded."""


def noise(drawn: Drawn, count: int) -> list[np.random.Generator]:
    """Return a generator for each of `count` clips, all of the same noise: see docs/web.md, seed and index."""
    if drawn.index is None:
        return [generators(drawn.seed, 1)[0] for _ in range(count)]
    same = [np.random.default_rng([drawn.seed, drawn.index]) for _ in range(count)]
    prior(same, drawn.model.z)  # what `sample` draws before it draws notes
    return same


def clip_json(name: str, score: Score, facts: dict[str, Any]) -> dict[str, Any]:
    """Return a clip of the model of this name as docs/web.md describes it."""
    return {
        "model": name,
        "bars": score.bars,
        "steps_per_beat": score.steps_per_beat,
        "beats_per_bar": score.meter[0],
        "tempo": min(max(score.tempo, TEMPO[0]), TEMPO[1]),
        "notes": np.stack((score.onset, score.duration, score.pitch, score.velocity, score.part), axis=1).tolist(),
        **facts,
    }


# ------------------------------------------------------------------------------------------- from the client
def parse_clips(values: Sequence[Any], field: str) -> list[Score]:
    """Return the Scores of clips as JSON; raises RequestError 400 or 413."""
    scores: list[Score] = []
    for i, value in enumerate(values):
        name = field if field == "clip" else f"{field}[{i}]"
        if not isinstance(value, dict):
            raise RequestError(400, f"{name} is no object; wanted a clip", field=field)
        try:
            scores.append(_score(value))
        except (CodecError, _ClipError) as error:
            raise RequestError(400, f"{name}: {error}", field=field) from None
        if sum(map(len, scores)) > MAX_NOTES:
            raise RequestError(413, f"there are more than {MAX_NOTES:,} notes", field=field)
    return scores


class _ClipError(ValueError):
    """What a clip has that no clip can have."""


def _score(clip: dict[str, Any]) -> Score:
    bars, steps, beats, tempo, notes = (clip.get(key) for key in _KEYS)
    steps, beats, tempo = (d if v is None else v for v, d in ((steps, 4), (beats, 4), (tempo, 120)))
    for key, value, low, high in (
        ("bars", bars, 1, MAX_BARS),
        ("steps_per_beat", steps, 1, 24),
        ("beats_per_bar", beats, 1, 16),
    ):
        if type(value) is not int or not low <= value <= high:
            raise _ClipError(f"{key} is not a whole number from {low} to {high}")
    if type(tempo) not in (int, float) or not TEMPO[0] <= tempo <= TEMPO[1]:
        raise _ClipError(f"tempo is not a number from {TEMPO[0]} to {TEMPO[1]}")
    if not isinstance(notes, list) or len(notes) > MAX_NOTES:
        raise _ClipError(f"notes are not a list of at most {MAX_NOTES:,}")
    for i, note in enumerate(notes):
        if (
            not isinstance(note, list)
            or len(note) != 5
            or any(type(x) is not int or not 0 <= x < _LARGEST for x in note)
        ):
            raise _ClipError(f"notes[{i}] is not five whole numbers: onset, duration, pitch, velocity, part")
    onset, duration, pitch, velocity, part = np.array(notes, dtype=np.int64).reshape(-1, 5).T
    score = Score.of(
        onset, pitch, duration, velocity, part, bars=bars, steps_per_beat=steps, meter=(beats, 4), tempo=tempo
    )
    if (onset + duration > score.bars * score.steps_per_bar).any():
        raise _ClipError("a note sounds past the last bar")
    return score


def joined(scores: Sequence[Score]) -> Score:
    """Return Scores one after another, at the first one's tempo; raises RequestError 400 where they do not fit."""
    first = scores[0]
    if any((s.steps_per_beat, s.meter) != (first.steps_per_beat, first.meter) for s in scores):
        raise RequestError(400, "the clips have different grids or meters; wanted the same", field="clips")
    bars = np.cumsum([0, *(s.bars for s in scores)])
    if bars[-1] > MAX_BARS:
        raise RequestError(400, f"the clips have {bars[-1]} bars; wanted at most {MAX_BARS}", field="clips")
    onset = [s.onset + start * s.steps_per_bar for s, start in zip(scores, bars, strict=False)]
    _, pitch, duration, velocity, part = (np.concatenate(c) for c in zip(*(s.columns for s in scores), strict=True))
    return Score.of(
        np.concatenate(onset),
        pitch,
        duration,
        velocity,
        part,
        bars=int(bars[-1]),
        steps_per_beat=first.steps_per_beat,
        meter=first.meter,
        tempo=first.tempo,
    )
