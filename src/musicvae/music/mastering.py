"""What happens to audio once all its notes are mixed: a room, one loudness for all, no clipping, a quiet end."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CEILING", "TARGET", "loudness", "master"]

TARGET = -20.0
"""LUFS: the quiet end of what the AES recommends for streams (TD1004, −16 to −20). Music of soft bars and loud chords
still fits below the ceiling without a limiter."""
CEILING = -1.0
"""dB below full scale that no sample exceeds; a clip with higher peaks stays quieter than TARGET."""

# The two filters of K-weighting, as BS.1770 gives them for 48 kHz: a shelf for the head, a high pass.
_K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)


def master(audio: NDArray[np.float32], ends: int, rate: int) -> NDArray[np.float32]:
    """Return dry audio (2, samples) in a small room, as loud as TARGET, and faded out.

    The music lasts `ends` samples; what rings on after it is cut where it has fallen by 60 dB.
    """
    wet = convolve(audio, _room(rate))
    level = np.abs(wet).max(axis=0)
    heard = np.flatnonzero(level > level.max(initial=0) / 1000)
    fade = rate // 20
    stop = max(ends, int(heard[-1]) if len(heard) else 0) + fade
    wet = wet[:, :stop]
    wet[:, -fade:] *= np.cos(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    peak = np.abs(wet).max(initial=0)
    if peak > 0:
        wet *= np.float32(10 ** (CEILING / 20) / peak)
        wet *= np.float32(10 ** (min(TARGET - loudness(wet, rate), 0) / 20))
    return wet


def loudness(audio: NDArray[np.float32], rate: int) -> float:
    """Return the integrated loudness of audio (channels, samples) in LUFS; −∞ for silence.

    As ITU-R BS.1770-4 has it: the mean power of K-weighted blocks of 400 ms, a new one each 100 ms, without those below
    −70 LUFS and then those 10 dB below the mean of the rest. Audio shorter than a block is filled up with silence.
    """
    hop = rate // 10
    tenths = max(-(-audio.shape[1] // hop), 4)
    weighted = np.zeros((len(audio), tenths * hop), np.float32)
    weighted[:, : audio.shape[1]] = convolve(audio, _k_weighting(rate))[:, : audio.shape[1]]
    power = np.square(weighted).reshape(len(audio), tenths, hop).mean(axis=2, dtype=np.float64).sum(axis=0)
    power = np.convolve(power, np.full(4, 0.25), mode="valid")
    power = power[power > _power(-70)]
    if not len(power):
        return -np.inf
    power = power[power > power.mean() / 10]
    return float(10 * np.log10(power.mean()) - 0.691)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


@lru_cache(maxsize=4)
def _k_weighting(rate: int) -> NDArray[np.float32]:
    """Return the impulse response of K-weighting, (1, samples): 0.2 s, after which nothing is left."""
    size = rate // 5
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(size, 1 / rate) / 48_000)  # one sample, at the standard's rate
    response = np.ones(len(delay), np.complex128)
    for above, below in _K_WEIGHTING:
        response *= np.polyval(above[::-1], delay) / np.polyval(below[::-1], delay)
    return np.fft.irfft(response, size)[None].astype(np.float32)


@lru_cache(maxsize=4)
def _room(rate: int) -> NDArray[np.float32]:
    """Return the impulse response of a small room (2, samples), the direct sound included.

    Some early reflections, then noise that differs in both ears and dies away, its treble faster than its bass.
    """
    rng = np.random.default_rng(4)
    size = int(0.9 * rate)
    t = np.arange(size) / rate
    f = np.fft.rfftfreq(size, 1 / rate)
    tail = np.zeros((2, size))
    for low, high, rt60 in ((90, 500, 0.9), (500, 2000, 0.75), (2000, 6000, 0.5), (6000, 12_000, 0.3)):
        band = ((f >= low) & (f < high)) / np.sqrt(f + 200)
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal((2, size))) * band, size)
        tail += noise * 10 ** (-3 * t / rt60)
    tail *= np.clip((t - 0.008) / 0.02, 0, 1)
    tail *= 0.20 / np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    tail[:, -rate // 20 :] *= np.linspace(1, 0, rate // 20 + (rate % 20 > 0))
    for ear in tail:
        at = (rng.uniform(0.006, 0.035, 8) * rate).astype(int)
        ear[at] += rng.choice([-1, 1], 8) * 0.06 * np.exp(-at / (0.02 * rate))
        ear[0] = 1
    return tail.astype(np.float32)


def convolve(audio: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return audio (channels, samples) through an impulse response, (channels or 1, taps), as long as both together."""
    taps = response.shape[1]
    size = 1 << (4 * taps).bit_length()  # of blocks that overlap by a quarter at most
    hop = size - taps + 1
    spectrum = np.fft.rfft(response, size)
    out = np.zeros((len(audio), audio.shape[1] + taps - 1), np.float32)
    for start in range(0, audio.shape[1], hop):
        block = np.fft.irfft(np.fft.rfft(audio[:, start : start + hop], size) * spectrum, size)
        stop = min(start + size, out.shape[1])
        out[:, start:stop] += block[:, : stop - start]
    return out
