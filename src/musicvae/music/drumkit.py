"""The built-in drums: swept sines for skins, noise for wires and sticks, many close modes for cymbals."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["hit"]


class _Drum(NamedTuple):
    """What a drum is made of; levels are amplitudes at velocity 127, rings are time constants in seconds."""

    pan: float
    """−1 is left, 1 right."""
    skins: tuple[tuple[float, float, float, float], ...] = ()
    """Level, Hz at the end, Hz at the start, ring."""
    noises: tuple[tuple[float, float, float, float], ...] = ()
    """Level, lowest Hz, highest Hz, ring."""
    metals: tuple[tuple[float, float], ...] = ()
    """Level, ring."""


_TOMS = {41: 65, 43: 75, 45: 90, 47: 105, 48: 120, 50: 145, 64: 200, 66: 220, 61: 250, 63: 290, 62: 300} | {
    65: 300,
    60: 330,
}
"""Hz of tom-toms, timbales, bongos and congas."""
_KIT = {
    (35, 36): _Drum(0, skins=((1.0, 50, 180, 0.11),), noises=((0.15, 500, 4000, 0.006),)),
    (38, 40): _Drum(0.05, skins=((0.5, 185, 240, 0.05), (0.2, 330, 360, 0.03)), noises=((0.45, 700, 11_000, 0.055),)),
    (31, 37, 39, 75, 76, 77): _Drum(-0.2, noises=((0.35, 1200, 7000, 0.012),)),
    (42, 44, 54, 69, 70, 82): _Drum(0.3, noises=((0.28, 6500, 15_000, 0.018),), metals=((0.03, 0.02),)),
    (46,): _Drum(0.3, noises=((0.22, 4500, 15_000, 0.13),), metals=((0.08, 0.15),)),
    (49, 52, 55, 57): _Drum(-0.35, noises=((0.3, 2500, 15_000, 0.35),), metals=((0.12, 0.5),)),
    (51, 53, 56, 59, 80, 81): _Drum(0.4, noises=((0.1, 5000, 15_000, 0.2),), metals=((0.22, 0.35),)),
} | {
    (key,): _Drum(
        (110 - f) / 300 if f < 150 else 0.2, skins=((0.8, f, 1.5 * f, 14 / f),), noises=((0.12, 300, 5000, 0.01),)
    )
    for key, f in _TOMS.items()
}
"""Drums by their keys in General MIDI."""
_DRUMS = {key: drum for keys, drum in _KIT.items() for key in keys}


def hit(pitch: int, velocity: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Return one hit (2, samples) of the drum on General MIDI's key `pitch` (0–127); it ends in silence.

    Drums are not held: they sound as long as they do, whatever `seconds` says. Keys that General MIDI has no drum for
    sound like the nearest that has one.
    """
    return _sound(min(_DRUMS, key=lambda key: (abs(key - pitch), key)), rate) * np.float32((velocity / 127) ** 1.7)


@lru_cache(maxsize=64)
def _sound(key: int, rate: int) -> NDArray[np.float32]:
    """Return a drum at velocity 127."""
    drum, rng = _DRUMS[key], np.random.default_rng([3, key])
    layers = [level * _skin(low, high, ring, rate) for level, low, high, ring in drum.skins]
    layers += [level * _noise(rng, low, high, ring, rate) for level, low, high, ring in drum.noises]
    layers += [level * _metal(rng, ring, rate) for level, ring in drum.metals]
    sound = np.zeros(max(map(len, layers)))
    for layer in layers:
        sound[: len(layer)] += layer
    fall = rate // 50
    sound[-fall:] *= np.linspace(1, 0, fall) ** 2
    pans = np.array([[1 - max(drum.pan, 0)], [1 + min(drum.pan, 0)]])
    stereo: NDArray[np.float32] = (pans * sound).astype(np.float32)
    stereo.setflags(write=False)
    return stereo


def _times(ring: float, rate: int) -> NDArray[np.float64]:
    """Return the seconds of each sample until 65 dB are lost."""
    times: NDArray[np.float64] = np.arange(int(7.5 * ring * rate) + rate // 50) / rate
    return times


def _skin(low: float, high: float, ring: float, rate: int) -> NDArray[np.float64]:
    """Return a sine that falls quickly from `high` to `low`."""
    t, glide = _times(ring, rate), 0.015
    cycles = low * t + (high - low) * glide * (1 - np.exp(-t / glide))
    sound: NDArray[np.float64] = np.sin(2 * np.pi * cycles) * np.exp(-t / ring)
    return sound


def _noise(rng: np.random.Generator, low: float, high: float, ring: float, rate: int) -> NDArray[np.float64]:
    t = _times(ring, rate)
    f = np.maximum(np.fft.rfftfreq(len(t), 1 / rate), 1e-9)
    band = (f < 0.45 * rate) / np.sqrt((1 + (low / f) ** 6) * (1 + (f / high) ** 8))
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(t))) * band, len(t))
    sound: NDArray[np.float64] = noise / noise.std() * np.exp(-t / ring) * np.minimum(t / 0.0008, 1) / 2
    return sound


def _metal(rng: np.random.Generator, ring: float, rate: int) -> NDArray[np.float64]:
    """Return the modes of a cymbal, the higher the shorter."""
    t = _times(ring, rate)
    sound = np.zeros(len(t))
    for f in 400 * 2 ** rng.uniform(0, 4.6, 30):
        sound += np.sin(2 * np.pi * f * t) * np.exp(-t / ring * (1 + f / 6000))
    return sound / 6
