"""Making a listening test: a folder with the clips under random names, test.json and the answers."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec, codec
from musicvae.config import TEMPERATURE, CodecConfig
from musicvae.data.dataset import Dataset
from musicvae.errors import ConfigError, MusicVAEError
from musicvae.listen.clips import Found, even, from_data, from_folder, noise, treat, tune
from musicvae.listen.design import DESIGNS, Clip, Item, Kind, Source, Test, plan, rounds
from musicvae.music.render import render, wav_bytes
from musicvae.music.score import Score
from musicvae.runtime.engine import Model

__all__ = ["ANSWERS", "CLIPS", "TEST", "Settings", "Wanted", "clip_path", "make"]

TEST, ANSWERS, CLIPS = "test.json", "answers.db", "clips"
"""What is in the folder of a test."""

BARS = 16
"""Length of a clip where no model has one."""
TRIALS = {"human-or-machine": 20, "pairs": 12}
"""Trials of a listener, about."""
CATCHES = 4
"""Clips of catch trials: noise and tunes in turn, so two of each."""
SETS = 2
"""Sets that the clips make up, unless told otherwise: a listener hears one of them."""


class Wanted(NamedTuple):
    """A source, opened: a data set whose held-out songs it is, a model, or a folder of MIDI or WAV files."""

    label: str
    kind: Kind
    of: Dataset | Model | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a test is made."""

    design: str = "human-or-machine"
    trials: int | None = None
    """Trials of a listener without the catch trials; None: about 20 clips or 12 pairs."""
    clips: int | None = None
    """Clips a source; None: twice what one listener hears."""
    bars: int | None = None
    """Length of a clip; None: that of the shortest model's clips, or 16."""
    tempo: tuple[float, float] = (100.0, 130.0)
    """Quarter notes a minute, from and to."""
    velocity: Literal["levels", "flat"] = "levels"
    """levels: as the model's tokens hold it; flat: all notes alike."""
    temperature: float = TEMPERATURE
    """Of the models."""
    seed: int = 0
    """Of the clips; who hears which of them in which order is drawn anew for each test."""
    soundfont: str | None = None


def clip_path(folder: Path, token: str) -> Path:
    """Return where a clip lies."""
    return folder / CLIPS / f"{token}.wav"


def make(
    folder: Path,
    wanted: Sequence[Wanted],
    settings: Settings,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Test:
    """Choose the clips, make their sound, and write the test. Test.json comes last: without it there is no test.

    Raises MusicVAEError where the settings do not fit together or a source has too little.
    """
    design, count = settings.design, len(wanted)
    if len({one.label for one in wanted}) < count:
        raise ConfigError("two sources have one name. Name them: --machine LABEL=FOLDER")
    groups = count * (count - 1) // 2 if design == "pairs" else count
    trials = settings.trials or max(round(TRIALS[design] / max(groups, 1)), 1) * groups
    clips = settings.clips or SETS * trials * DESIGNS[design].clips // max(count, 1)
    rng = np.random.default_rng(settings.seed)
    order = secrets.randbits(64)  # not of the seed, which listeners might guess: then they would know whose a clip is
    sets = plan(design, count, clips, trials, np.random.default_rng(order))
    if design == "human-or-machine" and len({one.kind for one in wanted}) < 2:
        raise ConfigError(f"all sources are {wanted[0].kind}; *human or machine?* needs both. Add --human or --machine")

    how = _codec(wanted)
    bars = settings.bars or min((one.of.bars for one in wanted if isinstance(one.of, Model)), default=BARS)
    seconds = bars * 240 / settings.tempo[1]  # what even the fastest clip fills
    found = [_found(one, how, bars, seconds, clips + 1, settings, rng) for one in wanted]
    tempi = rng.permutation(np.linspace(*settings.tempo, rounds(design, count, clips - 1) + 1)).round(1).tolist()
    each = DESIGNS[design].clips
    listed = [
        _Listed(source, one, tempi[rounds(design, count, i)])
        for source, these in enumerate(found)
        for i, one in enumerate(these[:clips])
    ]
    practice = range(len(listed), len(listed) + each)
    listed += [_Listed(int(source), found[source][clips], tempi[0]) for source in rng.permutation(count)[:each]]
    catches = range(len(listed), len(listed) + CATCHES, each)
    for i in range(CATCHES // 2):
        listed.append(_Listed(-1, Found("noise", noise(how, bars, rng)), tempi[0]))
        listed.append(_Listed(-1, Found("a tune", tune(how, bars, i)), tempi[0]))

    tokens = [secrets.token_urlsafe(12) for _ in listed]
    test = Test(
        design=design,
        sources=tuple(Source(one.label, one.kind, _told(one)) for one in wanted),
        clips=tuple(
            Clip(token, one.source, one.found.what, one.tempo if isinstance(one.found.music, Score) else 0.0)
            for token, one in zip(tokens, listed, strict=True)
        ),
        sets=tuple(map(tuple, sets)),
        catches=tuple(Item(tuple(range(first, first + each))) for first in catches),
        practice=Item(tuple(practice)),
        seconds=round(seconds, 3),
        seed=order,
        settings={
            "seed": settings.seed,
            "bars": bars,
            "tempo": list(settings.tempo),
            "velocity": settings.velocity,
            "temperature": settings.temperature,
        },
    )
    try:
        _write_clips(folder, tokens, listed, how, seconds, settings, rng, progress)
        test.save(folder / TEST)
    except OSError as error:
        raise MusicVAEError(f"{folder}: cannot be written ({error.strerror}). Choose another place with -o") from None
    return test


class _Listed(NamedTuple):
    """A clip of the test that is being made."""

    source: int
    found: Found
    tempo: float


def _codec(wanted: Sequence[Wanted]) -> Codec:
    """Return the codec that all notes go through: that of the models, or the piano's."""
    kinds = {one.of.codec.config.kind: one.of.codec for one in wanted if isinstance(one.of, Model)}
    if len(kinds) > 1:
        raise ConfigError(f"the models write {' and '.join(kinds)}; one test needs models of one kind")
    return next(iter(kinds.values()), codec(CodecConfig()))


def _found(
    one: Wanted, how: Codec, bars: int, seconds: float, count: int, settings: Settings, rng: np.random.Generator
) -> list[Found]:
    """Return `count` clips of a source."""
    if isinstance(one.of, Dataset):
        return from_data(one.of, how, bars, count, rng)
    if isinstance(one.of, Path):
        return from_folder(one.of, how, bars, seconds, count, rng)
    if one.of.bars < bars:
        raise ConfigError(f"{one.label}: writes {one.of.bars} bars; wanted {bars}. Choose fewer with --bars")
    found: list[Found] = []
    for more in (1, 2, 4):
        drawn = one.of.sample(more * count, temperature=settings.temperature, seed=settings.seed)
        clips = [clip.cut(0, bars) for clip in drawn]
        found = [Found(f"clip {i + 1} of seed {settings.seed}", clip) for i, clip in enumerate(clips) if len(clip)]
        if len(found) >= count:  # held-out clips are never silent, and neither must these be
            return found[:count]
    raise ConfigError(
        f"{one.label}: of {4 * count} clips {len(found)} have a note in {bars} bars. Ask for more with --bars"
    )


def _write_clips(
    folder: Path,
    tokens: Sequence[str],
    listed: Sequence[_Listed],
    how: Codec,
    seconds: float,
    settings: Settings,
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> None:
    """Make the sound of all clips, in an order and with dates that say nothing of where they are from."""
    shutil.rmtree(folder / CLIPS, ignore_errors=True)  # of a test that was never finished
    (folder / CLIPS).mkdir(parents=True)
    for done, i in enumerate(rng.permutation(len(listed)).tolist()):
        path = clip_path(folder, tokens[i])
        path.write_bytes(wav_bytes(even(_audio(listed[i], how, settings), seconds)))
        os.utime(path, (0, 0))
        progress(done + 1, len(listed))


def _audio(one: _Listed, how: Codec, settings: Settings) -> NDArray[np.float32]:
    if not isinstance(one.found.music, Score):
        return one.found.music
    return render(treat(one.found.music, how, one.tempo, settings.velocity), soundfont=settings.soundfont)


def _told(one: Wanted) -> str:
    if isinstance(one.of, Model):
        return str(one.of.bundle.folder)
    return f"held-out songs of {one.of.folder}" if isinstance(one.of, Dataset) else str(one.of)
