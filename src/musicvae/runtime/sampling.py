"""Latent vectors → tokens, with any backend. Knows ids, not music."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from musicvae.config import TokenSpec

__all__ = ["Backend", "Progress", "draw_tokens", "generators", "predict_tokens", "prior"]

Progress = Callable[[int, int], None]
"""Called with the slots done and the most there can be."""


class Backend(Protocol):
    """What computes: torch or onnxruntime. What `start` and `step` hand over stays with the backend."""

    spec: TokenSpec
    bars: int
    """Bars a clip."""
    z: int
    """Dimensions of the latent vector."""

    def encode(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z)."""
        ...

    def start(self, z: NDArray[np.float32]) -> tuple[Any, Any]:
        """Z (B, Z) → the embedding and the decoder's initial state of all B·U bars, as arrays with B·U rows."""
        ...

    def step(
        self, before: NDArray[np.int64], bar: Any, state: Any, noise: NDArray[np.float32], temperature: float
    ) -> tuple[NDArray[np.int64], Any, Any]:
        """Draw the next slot of n bars: see `Decoder.step`. Returns slot (n, F), state, logits (n, ΣV)."""
        ...


def generators(seed: int, clips: int) -> list[np.random.Generator]:
    """Return a generator for each clip; clip i has the same one however many clips there are."""
    return [np.random.default_rng([seed, i]) for i in range(clips)]


def prior(noise: Sequence[np.random.Generator], z: int) -> NDArray[np.float32]:
    """Draw a latent vector from N(0, I) with each generator → (B, Z)."""
    return np.stack([rng.standard_normal(z, dtype=np.float32) for rng in noise])


def draw_tokens(
    backend: Backend,
    z: NDArray[np.float32],
    noise: Sequence[np.random.Generator] | None = None,
    temperature: float = 0.0,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Decode z (B, Z) into tokens (B, U, S, F), all bars of all clips side by side.

    A bar that has ended leaves the batch. With `temperature` 0 each field is its likeliest value and `noise` is not
    used; above 0 each clip draws from its own generator of `noise` (B), and only from that one: a clip does not
    depend on its neighbours.
    """
    spec, B, U = backend.spec, len(z), backend.bars
    F, width = len(spec.sizes), sum(spec.sizes)
    tokens = np.zeros((B * U, spec.slots, F), dtype=np.int64)
    if spec.end is not None:
        tokens[..., 0] = spec.end
    bar, state = backend.start(z)
    open_ = np.arange(B * U)  # bars that have not ended
    before = np.broadcast_to(np.array(spec.sizes), (B * U, F))
    last = spec.slots - (spec.end is not None)  # the last slot of a bar can only be its end mark
    for slot in range(last):
        gumbel = np.zeros((len(open_), width), dtype=np.float32)
        if temperature > 0 and noise is not None:
            for clip in np.unique(open_ // U):
                drawn = -np.log(noise[clip].standard_exponential((U, width), dtype=np.float32) + np.float32(1e-30))
                mine = open_ // U == clip
                gumbel[mine] = drawn[open_[mine] % U]
        chosen, state, _ = backend.step(before, bar, state, gumbel, temperature)
        tokens[open_, slot] = chosen
        if spec.end is not None:
            alive = np.flatnonzero(chosen[:, 0] != spec.end)
            if len(alive) < len(open_):
                open_, chosen, bar, state = open_[alive], chosen[alive], bar[alive], state[alive]
        before = chosen
        if progress is not None:
            progress(slot + 1, last)
        if not len(open_):
            break
    return tokens.reshape(B, U, spec.slots, F)


def predict_tokens(
    backend: Backend, z: NDArray[np.float32], tokens: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the likeliest value of each field of tokens (B, U, S, F) under teacher forcing, in the same shape.

    Each prediction sees z, the true slots before and the true fields before it in its own slot: the noise is set so
    high at the true values that the step draws them. Slots beyond a bar's length (B, U) are 0.
    """
    B, U, S, F = tokens.shape
    flat, length = tokens.reshape(B * U, S, F), lengths.reshape(B * U)
    edges = np.cumsum([0, *backend.spec.sizes])
    predicted = np.zeros_like(flat)
    bar, state = backend.start(z)
    open_ = np.arange(B * U)
    before = np.broadcast_to(np.array(backend.spec.sizes), (B * U, F))
    for slot in range(S):
        alive = np.flatnonzero(length[open_] > slot)
        if not len(alive):
            break
        open_, before, bar, state = open_[alive], before[alive], bar[alive], state[alive]
        truth = flat[open_, slot]
        noise = np.zeros((len(open_), edges[-1]), dtype=np.float32)
        np.put_along_axis(noise, truth + edges[:-1], np.float32(1e12), axis=1)
        _, state, logits = backend.step(before, bar, state, noise, 1.0)
        rows = np.asarray(logits)
        predicted[open_, slot] = np.stack([rows[:, a:b].argmax(axis=1) for a, b in itertools.pairwise(edges)], axis=1)
        before = truth
    return predicted.reshape(B, U, S, F)
