"""Clips of a listening test: from held-out songs, models and folders, all made alike.

What differs between sources and is not the music would give them away. So all notes go through one codec (grid, range,
velocity levels), the tempi of all sources are the same list, all sound comes from one piano, and all audio is equally
long and equally loud.
"""

from __future__ import annotations

import wave
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.codecs import Codec
from musicvae.codecs.protocol import METER
from musicvae.data.dataset import Dataset
from musicvae.errors import ConfigError, DataError, MissingExtraError, MusicVAEError, ReadError
from musicvae.music import looks_like_music, read
from musicvae.music.mastering import CEILING, TARGET, loudness
from musicvae.music.render import RATE
from musicvae.music.score import PARTS, Score, frozen

__all__ = ["Found", "even", "from_data", "from_folder", "noise", "read_wav", "treat", "tune"]

HELD_OUT = ("valid", "test")
"""Splits that no model is trained on."""
FADE = 1.0
"""Seconds at the end of a clip in which it fades out."""
CHANNELS = 2

_TUNES = (
    # Beethoven, the Ode to Joy; Ah! vous dirai-je, maman. Pitches in a bar, and steps of a 16th note that each lasts.
    "e4 e4 f4 g4 | g4 f4 e4 d4 | c4 c4 d4 e4 | e6 d2 d8 | e4 e4 f4 g4 | g4 f4 e4 d4 | c4 c4 d4 e4 | d6 c2 c8 | "
    "d4 d4 e4 c4 | d4 e2 f2 e4 c4 | d4 e2 f2 e4 d4 | c4 d4 g8 | e4 e4 f4 g4 | g4 f4 e4 d4 | c4 c4 d4 e4 | d6 c2 c8",
    "c4 c4 g4 g4 | a4 a4 g8 | f4 f4 e4 e4 | d4 d4 c8 | g4 g4 f4 f4 | e4 e4 d8 | g4 g4 f4 f4 | e4 e4 d8 | "
    "c4 c4 g4 g4 | a4 a4 g8 | f4 f4 e4 e4 | d4 d4 c8",
)
_KEYS = {"c": 72, "d": 74, "e": 76, "f": 77, "g": 79, "a": 81}


class Found(NamedTuple):
    """Music that a clip is made of."""

    what: str
    """Where it is from, for people."""
    music: Score | NDArray[np.float32]
    """Notes, or audio (2, samples)."""


# ------------------------------------------------------------------------------------------------- where from
def from_data(dataset: Dataset, codec: Codec, bars: int, count: int, rng: np.random.Generator) -> list[Found]:
    """Return clips of `count` held-out songs, one of each; raises DataError where there are fewer."""
    names = dataset.sources()
    splits = [dataset.clips(split, codec, bars) for split in HELD_OUT]
    usable: list[tuple[int, int]] = []
    for number, clips in enumerate(splits):
        order = rng.permutation(len(clips))
        first = np.unique(clips.songs[order], return_index=True)[1]  # of each song, any of its clips
        usable += [(number, int(i)) for i in order[first]]
    if len(usable) < count:
        raise DataError(
            f"{dataset.folder}: has {len(usable)} held-out songs with a clip of {bars} bars; the test needs {count}. "
            "Ask for fewer with --trials or --clips, or for shorter ones with --bars"
        )
    found = []
    for pick in rng.permutation(len(usable))[:count]:
        number, i = usable[pick]
        clips = splits[number]
        what = f"{names[clips.songs[i]]}, clip {i} of the {clips.split} split"
        found.append(Found(what, codec.decode(clips.batch(np.array([i])).tokens[0])))
    return found


def from_folder(
    folder: Path, codec: Codec, bars: int, seconds: float, count: int, rng: np.random.Generator
) -> list[Found]:
    """Return a clip of each of `count` files: of MIDI any stretch of `bars` bars, of WAV the first `seconds`.

    Raises DataError where fewer files are of use, saying why the others are not.
    """
    try:
        files = sorted(p for p in folder.rglob("*") if p.is_file() and (looks_like_music(p) or _is_wav(p)))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    found: list[Found] = []
    why: Counter[str] = Counter()
    for i in rng.permutation(len(files)):
        if len(found) == count:
            break
        path = files[i]
        try:
            found.append(_from_wav(path, seconds) if _is_wav(path) else _from_midi(path, codec, bars, rng))
        except MissingExtraError:
            raise
        except ReadError as error:
            why[error.reason] += 1
        except MusicVAEError as error:
            why[str(error)] += 1
    if len(found) < count:
        if not folder.is_dir():
            raise DataError(f"{folder}: is no folder; wanted one of MIDI or WAV files")
        reasons = "".join(f"; {n} left out: {reason}" for reason, n in why.most_common(3))
        raise DataError(
            f"{folder}: has {len(found)} MIDI or WAV files of use; the test needs {count}{reasons}. "
            "Ask for fewer with --trials or --clips, or for shorter ones with --bars"
        )
    return found


def _from_midi(path: Path, codec: Codec, bars: int, rng: np.random.Generator) -> Found:
    score = read(path, parts=codec.parts, steps_per_beat=codec.config.steps_per_beat).score
    if score.meter != METER:
        raise ReadError(str(path), f"is in {score.meter[0]}/{score.meter[1]}; wanted 4/4")
    begun = np.unique(score.onset // score.steps_per_bar)  # bars with a note
    starts = begun[begun + bars <= score.bars]
    if not len(starts):
        raise ReadError(str(path), f"is shorter than {bars} bars")
    first = int(rng.choice(starts))
    clip = score.cut(first, bars)
    if not len(treat(clip, codec, clip.tempo, "levels")):
        raise ReadError(str(path), "has no note that the models could write")
    return Found(f"{path}, bar {first + 1}", clip)


def _from_wav(path: Path, seconds: float) -> Found:
    audio = read_wav(path)
    if audio.shape[1] < seconds * RATE:
        raise ReadError(str(path), f"is shorter than {seconds:.1f} seconds")
    return Found(str(path), audio[:, : round(seconds * RATE)])


def _is_wav(path: Path) -> bool:
    return path.suffix.lower() == ".wav"


def read_wav(path: Path) -> NDArray[np.float32]:
    """Return the audio (2, samples) of a WAV file at 44.1 kHz; raises ReadError."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise ReadError(str(path), f"is no WAV file of whole-number samples ({error})") from None
    if not (1 <= channels <= CHANNELS and 1 <= width <= 4 and 8000 <= rate <= 192_000):
        raise ReadError(str(path), f"has {channels} channels at {rate} Hz; wanted 1 or 2 at 8 to 192 kHz")
    raw = np.frombuffer(data[: len(data) // (channels * width) * channels * width], np.uint8).reshape(-1, width)
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 4 - width :] = raw ^ np.uint8(128) if width == 1 else raw  # 8-bit samples have no sign
    audio = (wide.view("<i4")[:, 0] / 2**31).astype(np.float32).reshape(-1, channels).T
    if rate != RATE:
        try:
            from scipy.signal import resample_poly
        except ModuleNotFoundError as error:
            raise MissingExtraError("Audio of another rate than 44.1 kHz", "eval") from error
        ratio = Fraction(RATE, rate)
        audio = resample_poly(audio, ratio.numerator, ratio.denominator, axis=1).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(audio, (CHANNELS, audio.shape[1])))


# ------------------------------------------------------------------------------------------------- made alike
def treat(score: Score, codec: Codec, tempo: float, velocity: Literal["levels", "flat"]) -> Score:
    """Return a Score as the codec holds it, at a tempo; with `flat` velocities all notes are struck alike."""
    held = codec.decode(codec.encode(score).tokens, tempo)
    return replace(held, velocity=frozen(np.full(len(held), 80))) if velocity == "flat" else held


def even(audio: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Return audio (2, samples) of exactly `seconds`, faded out and as loud as all rendered music."""
    size = round(seconds * RATE)
    cut = np.zeros((CHANNELS, size), np.float32)
    cut[:, : audio.shape[1]] = audio[:, :size]
    fade = min(round(FADE * RATE), size // 4)
    cut[:, size - fade :] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    peak = float(np.abs(cut).max(initial=0))
    if peak > 0:
        louder = min(TARGET - loudness(cut, RATE), CEILING - 20 * np.log10(peak))
        cut *= np.float32(10 ** (louder / 20))
    return cut


# ------------------------------------------------------------------------------------------------ catch trials
def noise(codec: Codec, bars: int, rng: np.random.Generator) -> Score:
    """Return notes at random, ten a bar: nobody who listens takes them for music that somebody made."""
    count, steps = 10 * bars, bars * codec.steps_per_bar
    low, high = codec.config.pitch_low, codec.config.pitch_high
    return Score.of(
        rng.integers(0, steps, count),
        rng.integers(max(low, 28), min(high, 100) + 1, count),
        rng.integers(1, 9, count),
        rng.integers(40, 120, count),
        _part(codec),
        bars=bars,
        steps_per_beat=codec.config.steps_per_beat,
    )


def tune(codec: Codec, bars: int, which: int) -> Score:
    """Return a tune that everybody knows, over and over for `bars` bars: 0 or 1 of two."""
    notes: list[tuple[int, int, int]] = []
    written = [bar.split() for bar in _TUNES[which % len(_TUNES)].split("|")]
    for bar in range(bars):
        at = 16 * bar
        for note in written[bar % len(written)]:
            notes.append((at, _KEYS[note[0]], int(note[1:])))
            at += int(note[1:])
        if _part(codec) == PARTS.index("piano"):
            first = written[bar % len(written)][0][0]
            root = 55 if first in "dfg" else 48  # G or C
            notes += [(16 * bar, root, 8), (16 * bar + 8, root + 7 - 12 * (root > 50), 8)]
    grid = codec.config.steps_per_beat
    onset, pitch, duration = np.array(notes).T * np.array([[grid], [4], [grid]]) // 4
    return Score.of(onset, pitch, duration, 80, _part(codec), bars=bars, steps_per_beat=grid)


def _part(codec: Codec) -> int:
    """Return the part that is played by a piano; raises ConfigError where there is none."""
    for part in ("piano", "melody"):
        if codec.parts == (part,):
            return PARTS.index(part)
    raise ConfigError(
        f"a listening test plays a piano; the model writes {' and '.join(codec.parts)}. "
        "Compare sound files instead: --human FOLDER --machine FOLDER"
    )
