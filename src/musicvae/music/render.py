"""Render a Score as sound: float32 audio (2, samples) at 44.1 kHz, and WAV files.

audio = render(score)                 # a SoundFont that is found, or the built-in piano
write_wav(audio, "new.wav")
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import SoundError
from musicvae.music import drumkit, synth
from musicvae.music.mastering import master
from musicvae.music.score import PARTS, Score, one_key_one_note
from musicvae.music.soundfont import Player, SoundFont, find_soundfont

__all__ = ["RATE", "render", "wav_bytes", "write_wav"]

RATE = 44_100
"""Samples a second of all audio."""
MAX_SECONDS = 1200.0
"""Longest Score that is rendered: its audio takes 0.4 GB."""
_RING = 3.0
"""Seconds after the last bar in which notes may ring on."""

_PRESETS = {"piano": (0, 0), "melody": (0, 0), "bass": (0, 33), "drums": (128, 0)}
"""Bank and program of a SoundFont for each of PARTS, those of the MIDI files that are written."""

Audio = NDArray[np.float32]
"""(2, samples): left and right, within −1 and 1."""


def render(score: Score, *, soundfont: str | Path | None = None) -> Audio:
    """Return the sound of a Score, (2, samples) float32 within −1 and 1.

    `soundfont` is an SF2 file, or "builtin" for the synthesiser that needs none; without it, the file named by the
    environment variable MUSICVAE_SOUNDFONT, then one of the system's, then the built-in synthesiser. Notes end with the
    last bar and ring on after it. The loudness is −20 LUFS, less where a peak would come closer to full scale than
    1 dB. The same Score and SoundFont give the same samples. Raises SoundError for a SoundFont that is absent or
    broken, and for a Score of more than 20 minutes.
    """
    if score.seconds > MAX_SECONDS:
        raise SoundError(
            f"the music lasts {score.seconds:.0f} s; wanted at most {MAX_SECONDS:.0f} s of sound. Cut the Score"
        )
    path = find_soundfont(soundfont)
    font = SoundFont(path) if path else None
    ends = round(score.seconds * RATE)
    mix = np.zeros((2, ends + int(_RING * RATE)), np.float32)
    step = RATE * 60 / score.tempo / score.steps_per_beat
    for number, part in enumerate(PARTS):
        mine = score.select(score.part == number)
        if not len(mine):
            continue
        instrument = _instrument(part, font)
        struck = one_key_one_note(*mine.columns[:4])
        # Key by key, the longest first: see Player.
        for i in np.lexsort((-struck.duration, struck.pitch)).tolist():
            onset, duration = int(struck.onset[i]), int(struck.duration[i])
            start, stop = round(onset * step), min(round((onset + duration) * step), ends)
            sound = instrument(int(struck.pitch[i]), int(struck.velocity[i]), (stop - start) / RATE)
            sound = sound[:, : mix.shape[1] - start]
            mix[:, start : start + sound.shape[1]] += sound
    return master(mix, ends, RATE)


def _instrument(part: str, font: SoundFont | None) -> Callable[[int, int, float], Audio]:
    """Return what plays a part: the SoundFont, or the built-in synthesiser for what it has not."""
    zones = font.zones(*_PRESETS[part]) if font else []
    if zones:
        return Player(zones, RATE).note
    if part == "drums":
        return partial(drumkit.hit, rate=RATE)
    return partial(synth.note, "bass" if part == "bass" else "piano", rate=RATE)


def wav_bytes(audio: Audio) -> bytes:
    """Return audio (2, samples) as a WAV file of 16-bit PCM.

    Triangular dither of one bit hides the steps of quiet endings; its noise is always the same.
    """
    dither = np.random.default_rng(5).random((2, *audio.shape), dtype=np.float32)
    pcm = np.rint(audio * 32766 + (dither[0] - dither[1]))
    held = io.BytesIO()
    with wave.open(held, "wb") as file:
        file.setnchannels(len(audio))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm.clip(-32768, 32767).T.astype("<i2").tobytes())
    return held.getvalue()


def write_wav(audio: Audio, path: str | Path) -> Path:
    """Write audio as a WAV file (see `wav_bytes`), making its folders, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(audio))
    return path
