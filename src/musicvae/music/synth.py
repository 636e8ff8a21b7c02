"""The built-in piano and bass: sums of damped sinusoids, as strings, soundboards and hammers make them.

A note is Re Σ Aₘ zₘⁿ, with one complex number z = exp((−σ + 2πi f) / rate) a mode. Sample n = J·i + j needs zᴶⁱ and
zʲ alone, so that a note is one product of two small matrices instead of a sine a sample and mode.

Strings are stiff: partial n lies at n f₀ √(1 + B n²), with B by key as measured on pianos by Rigaud, David and Daudet
(2013, "A parametric model and estimation techniques for the inharmonicity and tuning of the piano"). Every partial dies
in two stages (Weinreich 1977, "Coupled piano strings"): a loud mode that moves the bridge, and a weak one beside it
that outlives it and beats against it. What the papers leave open, levels and rates, was set beside spectrograms of the
piano of FluidR3, key by key.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["note"]

_BLOCK = 128
_ONE_THREAD = 2**18
"""Multiplications up to which OpenBLAS does a matrix product on one thread. On a busy machine, threads that wait for
each other took ten times as long."""
_HIGHEST = 15_000.0
"""Hz; no mode lies above, so that nothing folds back at half the rate."""
_SILENT = 70.0
"""dB that a note falls before it is cut off."""
_LONGEST = 30.0
"""Seconds that a note is held at most; few strings sound for longer."""
_LOOKS = (0.1, 0.4, 1.2, 4.0)
"""Seconds after which modes that are not heard any more are left out."""
_UNHEARD = 1e-5
"""Their amplitude beside the loudest mode's at the beginning."""


class _Modes(NamedTuple):
    """The modes of one key, (M,) each."""

    frequency: NDArray[np.float64]
    """In Hz."""
    decay: NDArray[np.float64]
    """While the key is held, in dB a second."""
    damped: NDArray[np.float64]
    """After its release, in dB a second."""
    level: NDArray[np.float64]
    """In dB, at velocity 127."""
    width: NDArray[np.float64]
    """In dB, how much louder on the left than on the right."""
    brightness: NDArray[np.float64]
    """In dB, how much weaker at half the velocity, beyond what all modes are."""


class _Key(NamedTuple):
    """All of a key that does not depend on how it is struck."""

    modes: _Modes
    ears: NDArray[np.complex128]
    """(2, M) levels at velocity 127 on the left and the right, with their phases."""
    z_held: NDArray[np.complex128]
    z_damped: NDArray[np.complex128]
    table_held: NDArray[np.float32]
    table_damped: NDArray[np.float32]


def note(instrument: str, pitch: int, velocity: int, seconds: float, rate: int) -> NDArray[np.float32]:
    """Return one note (2, samples) of `piano` or `bass`, held for `seconds`; it begins and ends in silence.

    `pitch` is 0–127, `velocity` 1–127.
    """
    modes, ears, z_held, z_damped, table_held, table_damped = _key(instrument, pitch, rate)
    strength = velocity / 127
    level = ears * (strength**1.7 * 10 ** (modes.brightness * np.log2(strength) / 20))
    loudest = np.abs(level).max()
    held = max(int(min(seconds, _SILENT / modes.decay.min(), _LONGEST) * rate), 1)
    looks = [int(t * rate) for t in _LOOKS if t * rate < held]
    pieces, now = [], 0
    for until in (*looks, held):
        pieces.append(_sum(level, z_held, table_held, until - now, _UNHEARD * loudest))
        level = level * z_held ** (until - now)
        now = until
    left = _SILENT + 20 * np.log10(np.abs(level).max(axis=0) / loudest + 1e-9)
    tail = max(int((left / modes.damped).max() * rate), rate // 50)
    pieces.append(_sum(level, z_damped, table_damped, tail, _UNHEARD * loudest))
    sound = np.concatenate(pieces, axis=1)
    # A hammer leaves the string after a few milliseconds, the sooner the higher the key and the harder the blow.
    rise = int((8.0 - 0.055 * pitch) * (1.5 - 0.5 * strength) / 1000 * rate)
    sound[:, :rise] *= np.sin(np.linspace(0, np.pi / 2, rise, dtype=np.float32)) ** 2
    fall = rate // 50
    sound[:, -fall:] *= np.linspace(1, 0, fall, dtype=np.float32) ** 2
    return sound


def _sum(
    level: NDArray[np.complex128],
    z: NDArray[np.complex128],
    table: NDArray[np.float32],
    samples: int,
    unheard: float,
) -> NDArray[np.float32]:
    """Return Re Σ level · zⁿ (2, samples), of levels (2, M) above `unheard`; `table` is that of `_table`."""
    heard = np.flatnonzero(np.abs(level).max(axis=0) > unheard)
    if len(heard) < len(z):
        level, z, table = level[:, heard], z[heard], table[:, heard]
    blocks = -(-samples // _BLOCK)
    state = np.empty((2, blocks, len(z)), dtype=np.complex128)
    state[:, 0] = level
    state[:, 1:] = z**_BLOCK
    np.cumprod(state, axis=1, out=state)
    rows = np.concatenate([state.real, -state.imag], axis=2, dtype=np.float32)
    rows[np.abs(rows) < 1e-12] = 0  # what is smaller than any normal float32 would be slow
    rows, powers = rows.reshape(2 * blocks, -1), table.reshape(-1, _BLOCK)
    sound = np.empty((2 * blocks, _BLOCK), np.float32)
    few = max(_ONE_THREAD // max(powers.size, 1), 1)
    for i in range(0, len(rows), few):
        np.matmul(rows[i : i + few], powers, out=sound[i : i + few])
    return sound.reshape(2, -1)[:, :samples]


def _z(frequency: NDArray[np.float64], decay: NDArray[np.float64], rate: int) -> NDArray[np.complex128]:
    z: NDArray[np.complex128] = np.exp((-decay * np.log(10) / 20 + 2j * np.pi * frequency) / rate)
    return z


def _table(z: NDArray[np.complex128]) -> NDArray[np.float32]:
    """Return zʲ for j below _BLOCK: real parts, then imaginary ones, (2, M, _BLOCK)."""
    powers = np.ones((len(z), _BLOCK), dtype=np.complex128)
    powers[:, 1:] = z[:, None]
    np.cumprod(powers, axis=1, out=powers)
    return np.stack([powers.real, powers.imag]).astype(np.float32)


@lru_cache(maxsize=128)
def _key(instrument: str, pitch: int, rate: int) -> _Key:
    modes = _MODES[instrument](pitch)
    keep = (modes.frequency < min(_HIGHEST, 0.45 * rate)) & (modes.level > modes.level.max() - 70)
    modes = _Modes(*(column[keep] for column in modes))
    z_held, z_damped = (_z(modes.frequency, decay, rate) for decay in (modes.decay, modes.damped))
    # The soundboard and two ears apart from each other leave little of the phases of the string.
    rng = np.random.default_rng([0, pitch])
    apart = np.minimum(modes.frequency / 1000, 1) * rng.normal(0, 0.8, len(z_held))
    phase = rng.uniform(0, 2 * np.pi, len(z_held)) + np.array([[1.0], [-1.0]]) * apart
    ears = 10 ** ((modes.level + np.array([[0.5], [-0.5]]) * modes.width) / 20) * np.exp(1j * phase)
    return _Key(modes, ears, z_held, z_damped, _table(z_held), _table(z_damped))


def _piano(pitch: int) -> _Modes:
    rng = np.random.default_rng([1, pitch])
    octaves = (pitch - 69) / 12
    stiffness = np.exp(0.0926 * pitch - 13.64) + np.exp(-0.0847 * pitch - 5.82)
    # Tuners stretch octaves, so that they agree with the partials below (Railsback).
    cents = 0.5 * octaves + 0.5 * octaves**3
    f0 = 440 * 2 ** (octaves + cents / 1200) / np.sqrt(1 + stiffness)
    n = np.arange(1, 100)
    f = n * f0 * np.sqrt(1 + stiffness * n**2)
    # What the hammer gives: little where it strikes at a node, and less above its own highest frequency.
    where = 1 / (8 + max(pitch - 60, 0) / 8)
    strike = 20 * np.log10(np.abs(np.sin(np.pi * n * where)) / np.sin(np.pi * where) + 0.3)
    slope = 5.0 + min(max(pitch - 28, 0) / 9, 4.5)  # dB an octave
    hammer = -slope * np.log2(n) - 10 * np.log10(1 + (f / (1700 + 28 * pitch)) ** 2.4)
    # What the soundboard takes: little below its lowest resonances.
    board = -10 * np.log10(1 + (58 / f) ** 7) + rng.normal(0, 2.5, len(n))
    level = _normal(strike + hammer + board) - 0.08 * max(pitch - 60, 0)
    decay = 3.0 * 2 ** ((pitch - 21) / 19) + 5 * f / 1000
    damper = (70 + 1.2 * pitch + 20 * f / 1000) * (pitch < 90)  # the highest strings have none
    second = level - rng.uniform(9, 18, len(n))
    apart = rng.normal(0, 0.15 + 0.0004 * f0, len(n)) + 0.1
    slow = decay * rng.uniform(0.28, 0.45, len(n))
    brightness = 4.5 * np.log2(1 + f / 900)
    width = (64 - pitch) / 16
    # The knock of the key and the soundboard, and the felt.
    knock, felt = 55 * 2 ** rng.uniform(0, 3.5, 16), 1000 * 2 ** rng.uniform(0, 2.6, 24)
    return _modes(
        (f, decay, decay + damper, level, rng.normal(width, 2, len(n)), brightness),
        (f + apart, slow, slow + damper, second, rng.normal(width, 4, len(n)), brightness),
        (knock, 150.0 + knock / 2, 150.0 + knock / 2, -30.0 - 6 * np.log2(knock / 110), rng.normal(0, 3, 16), 2.0),
        (felt, 2400.0, 2400.0, -44.0, rng.normal(0, 3, 24), 8.0),
    )


def _bass(pitch: int) -> _Modes:
    """Return the modes of a plucked electric bass: a string above a pickup."""
    rng = np.random.default_rng([2, pitch])
    n = np.arange(1, 40)
    f = n * 440 * 2 ** ((pitch - 69) / 12) * np.sqrt(1 + 6e-5 * n**2)
    plucked = 20 * np.log10(np.abs(np.sin(np.pi * n * 0.17) * np.sin(np.pi * n * 0.11)) / n + 0.003)
    level = _normal(plucked - 10 * np.log10(1 + (f / 900) ** 3))
    decay = 7 + 14 * f / 1000
    finger = 200 * 2 ** rng.uniform(0, 4, 16)
    return _modes(
        (f, decay, decay + 250.0, level, 0.0, 4 * np.log2(1 + f / 300)),
        (f + rng.normal(0, 0.2, len(n)), decay / 2, decay / 2 + 250.0, level - 14, 0.0, 4 * np.log2(1 + f / 300)),
        (finger, 900.0, 900.0, -36.0, 0.0, 6.0),
    )


def _modes(*groups: tuple[Any, ...]) -> _Modes:
    """Join groups of modes, in each of which single numbers stand for all."""
    columns = zip(*(np.broadcast_arrays(*group) for group in groups), strict=True)
    return _Modes(*(np.concatenate(column).astype(np.float64) for column in columns))


def _normal(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return levels in dB whose powers sum to one."""
    normal: NDArray[np.float64] = level - 10 * np.log10((10 ** (level / 10)).sum())
    return normal


_MODES = {"piano": _piano, "bass": _bass}
