"""Latent vectors → tokens, with any backend. Knows ids, not music."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from musicvae.config import ModelConfig
from musicvae.tokens import TokenSpec

__all__ = ["Backend", "Predicted", "Progress", "bar_lengths", "draw_tokens", "generators", "predict_tokens", "prior"]

Progress = Callable[[int, int], None]
"""Called with the slots done and the most there can be."""

BUSY = 7 / 8
"""Rows that have ended are computed on until fewer than this share is left: taking them out copies all others."""


class Backend(Protocol):
    """What computes: torch or onnxruntime. What `start` and `step` hand over stays with the backend."""

    spec: TokenSpec
    config: ModelConfig

    def encode(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z)."""
        ...

    def start(self, z: NDArray[np.float32]) -> tuple[Any, Any]:
        """Z (B, Z) → what is the same in all slots of each row and its initial state: see `MusicVAE.start`."""
        ...

    def step(
        self, before: NDArray[np.int64], row: Any, state: Any, noise: NDArray[np.float32], temperature: float
    ) -> tuple[NDArray[np.int64], Any, Any]:
        """Draw the next slot of n rows: see `MusicVAE.step`. Returns slot (n, F), state, logits (n, ΣV)."""
        ...


def generators(seed: int, clips: int) -> list[np.random.Generator]:
    """Return a generator for each clip; clip i has the same one however many clips there are."""
    return [np.random.default_rng([seed, i]) for i in range(clips)]


def prior(noise: Sequence[np.random.Generator], z: int) -> NDArray[np.float32]:
    """Draw a latent vector from N(0, I) with each generator → (B, Z)."""
    return np.stack([rng.standard_normal(z, dtype=np.float32) for rng in noise])


def bar_lengths(tokens: NDArray[np.int64], end: int | None) -> NDArray[np.int64]:
    """Return the slots of each bar (B, U) of tokens (B, U, S, F), the end mark included."""
    if end is None:
        return np.full(tokens.shape[:2], tokens.shape[2])
    found: NDArray[np.int64] = np.minimum((tokens[..., 0] != end).sum(axis=-1) + 1, tokens.shape[2])
    return found


def draw_tokens(
    backend: Backend,
    z: NDArray[np.float32],
    noise: Sequence[np.random.Generator] | None = None,
    temperature: float | NDArray[np.floating] = 0.0,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Decode z (B, Z) into tokens (B, U, S, F), the model fed with its own output.

    With `temperature` 0 each field is its likeliest value (of an amount the median) and `noise` is not used; above 0
    each clip draws from its own generator of `noise` (B), and only from that one: a clip does not depend on its
    neighbours. Each clip may have a temperature (B,) of its own.
    """
    spec, U, S = backend.spec, backend.config.bars, backend.spec.slots
    width = sum(spec.sizes)
    tokens = np.zeros((len(z), U, S, len(spec.sizes)), dtype=np.int64)
    if spec.end is not None:
        tokens[..., 0] = spec.end
    rows = _Rows(backend, z)
    each = np.broadcast_to(np.asarray(temperature, dtype=np.float32), len(z))
    gumbel = _Gumbel(noise, rows, each) if each.any() and noise is not None else None
    most = S - (spec.end is not None)  # the last slot of a bar can only be its end mark
    while len(rows.clip):
        drawn = gumbel.next() if gumbel else np.zeros((len(rows.clip), width), dtype=np.float32)
        chosen = rows.step(drawn, 1.0)[0]
        if spec.end is None:
            ended = np.full(len(chosen), rows.slot[0] == S - 1)
        else:
            chosen[rows.slot == most, 0] = spec.end  # only where bars follow one another: side by side they stop before
            ended = chosen[:, 0] == spec.end
            chosen[ended, 1:] = 0  # as in tokens of music; a decoder that goes on behind the end is shown no other mark
        tokens[rows.clip, rows.bar, rows.slot] = chosen
        if rows.side_by_side and spec.end is not None:
            ended |= rows.slot == most - 1
        rows.advance(chosen, ended)
        if progress is not None:
            total = most if rows.side_by_side else most * U
            reached = rows.slot if rows.side_by_side else rows.bar * most + rows.slot
            progress(int(reached.min(initial=total)), total)
    return tokens


class Predicted(NamedTuple):
    """What a model expects under teacher forcing."""

    tokens: NDArray[np.int64]
    """(B, U, S, F) the likeliest value of each field; 0 beyond a bar's length."""
    nats: NDArray[np.float64]
    """(B, U, S, F) cross-entropy of the true value; 0 beyond a bar's length, and in all fields of an end mark but the
    first."""


def predict_tokens(
    backend: Backend, z: NDArray[np.float32], tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Predicted:
    """Score tokens (B, U, S, F), bars of lengths (B, U), under teacher forcing.

    Each prediction sees z, the true slots before and the true fields before it in its own slot: the noise is set so
    high at the true values that the step draws them.
    """
    spec = backend.spec
    edges = np.cumsum([0, *spec.sizes])
    predicted, nats = np.zeros_like(tokens), np.zeros(tokens.shape)
    rows = _Rows(backend, z)
    while len(rows.clip):
        where = rows.clip, rows.bar, rows.slot
        truth = tokens[where]
        noise = np.zeros((len(truth), edges[-1]), dtype=np.float32)
        np.put_along_axis(noise, truth + edges[:-1], np.float32(1e12), axis=1)
        logits = np.asarray(rows.step(noise, 1.0)[1], dtype=np.float64)
        for f, (a, b) in enumerate(itertools.pairwise(edges)):
            field = logits[:, a:b]
            predicted[(*where, f)] = field.argmax(axis=1)
            top = field.max(axis=1)
            nats[(*where, f)] = (
                top + np.log(np.exp(field - top[:, None]).sum(axis=1)) - field[np.arange(len(truth)), truth[:, f]]
            )
        if spec.end is not None:
            mark = truth[:, 0] == spec.end
            nats[rows.clip[mark], rows.bar[mark], rows.slot[mark], 1:] = 0
        rows.advance(truth, rows.slot + 1 == lengths[rows.clip, rows.bar])
    return Predicted(predicted, nats)


class _Rows:
    """The rows that a decoder works on, and where each of them stands.

    All bars of all clips side by side, a row each, where every bar is drawn from its own embedding alone; else a row is
    a clip, whose bars follow one another.
    """

    def __init__(self, backend: Backend, z: NDArray[np.float32]) -> None:
        config = backend.config
        self.backend, self.bars = backend, config.bars
        self.side_by_side = config.decoder == "hierarchical" and config.first_input == "start"
        self.row, self.state = backend.start(z)
        self.begun = None  # what each bar begins with, where the decoder is begun anew in each
        if self.side_by_side:
            self.clip, self.bar = (a.ravel() for a in np.divmod(np.arange(len(z) * self.bars), self.bars))
        else:
            self.clip, self.bar = np.arange(len(z)), np.zeros(len(z), dtype=np.int64)
            if config.decoder == "hierarchical":
                self.begun = self.row, self.state
                first = self.clip * self.bars
                self.row, self.state = self.row[first], self.state[first]
        self.slot = np.zeros(len(self.clip), dtype=np.int64)
        self.before: NDArray[np.int64] = np.tile(np.array(backend.spec.sizes), (len(self.clip), 1))
        self.at = np.arange(len(self.clip))  # where each row lies among those that the backend computes

    def step(self, noise: NDArray[np.float32], temperature: float) -> tuple[NDArray[np.int64], Any]:
        """Draw a slot of each row → slots (n, F), logits (n, ΣV)."""
        at, before = self.at, self.before
        if len(at) == len(self.row):
            slot, self.state, logits = self.backend.step(before, self.row, self.state, noise, temperature)
            return slot, logits
        before, noise = (_spread(a, at, len(self.row)) for a in (before, noise))
        slot, self.state, logits = self.backend.step(before, self.row, self.state, noise, temperature)
        return slot[at], logits[at]

    def advance(self, slot: NDArray[np.int64], ended: NDArray[np.bool_]) -> None:
        """Go on behind the slots (n, F); where a bar has ended, to the next one, and rows without one leave."""
        self.before, self.slot = slot, np.where(ended, 0, self.slot + 1)
        self.bar = self.bar + ended
        alive = ~ended if self.side_by_side else self.bar < self.bars
        if not alive.all():
            keep = np.flatnonzero(alive)
            self.before, self.slot, self.bar, self.clip, self.at = (
                a[keep] for a in (self.before, self.slot, self.bar, self.clip, self.at)
            )
            ended = ended[keep]
            if len(self.at) < BUSY * len(self.row):
                self.row, self.state, self.at = self.row[self.at], self.state[self.at], np.arange(len(self.at))
        if self.begun is not None and ended.any():
            row, state = self.begun
            bar = (self.clip * self.bars + self.bar)[ended]
            self.row[self.at[ended]], self.state[self.at[ended]] = row[bar], state[bar]


def _spread(values: NDArray[Any], at: NDArray[np.int64], count: int) -> NDArray[Any]:
    """Return `count` rows, those of `values` at the places `at`, zeros between them."""
    spread = np.zeros((count, *values.shape[1:]), values.dtype)
    spread[at] = values
    return spread


class _Gumbel:
    """Noise for the rows at each step, each clip's from its own generator; drawn for some steps at once.

    It comes times the clip's temperature, which the backend then need not know: its step adds temperature · noise.
    """

    AHEAD = 8

    def __init__(self, noise: Sequence[np.random.Generator], rows: _Rows, temperature: NDArray[np.float32]) -> None:
        self.noise, self.rows, self.temperature, self.steps = noise, rows, temperature, 0
        bars, width = rows.bars if rows.side_by_side else 1, sum(rows.backend.spec.sizes)
        self.drawn = np.zeros((len(noise), self.AHEAD, bars, width), dtype=np.float32)

    def next(self) -> NDArray[np.float32]:
        """Return temperature · standard Gumbel noise for the rows that are left (n, ΣV)."""
        rows, step = self.rows, self.steps % self.AHEAD
        if step == 0:
            clips = np.unique(rows.clip)
            for clip in clips[self.temperature[clips] > 0]:
                self.noise[clip].standard_exponential(out=self.drawn[clip], dtype=np.float32)
                self.drawn[clip] = -self.temperature[clip] * np.log(self.drawn[clip] + np.float32(1e-30))
        self.steps += 1
        noise: NDArray[np.float32] = self.drawn[rows.clip, step, rows.bar if rows.side_by_side else 0]
        return noise
