"""Where the way past the LSTMs begins: at the principal components of the music.

A bar's cells are summed up by the components of bars, and a clip's sums by the components of clips. Each latent
dimension begins as one component, scaled to variance 1, so that the posterior begins near the prior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from musicvae.config import TrainConfig
from musicvae.model import KeyedVAE, MusicVAE
from musicvae.train.device import to_device
from musicvae.train.resident import Resident

__all__ = ["OF_CLIPS", "SHARE", "begin_with_components", "linear_maps"]

CLIPS = 2**15
"""Clips that the components are taken from; at most as many are drawn as there are."""
BARS = 2**16
MEASURED = 2048
"""Clips that keys and registers are measured on."""
PART = 128
"""Clips that are held as cells at once."""
ROUNDS, MORE = 8, 96
"""Rounds of subspace iteration (Halko et al. 2011, algorithm 4.4), and the vectors it takes beyond those wanted."""
LEAST = 1e-4
"""Variances below this share of the largest are taken for it: a component that hardly occurs is not blown up."""

OF_CLIPS = ("moments.", "encoder.mu.", "encoder.sigma.", "conductor.direct.", "conductor.initial.")
"""What a model of other bars cannot take over: the maps into and out of the latent vector."""

SHARE = 0.1
"""Share of the learning rate for these maps: Adam moves each weight by about that rate, and theirs are small."""


def linear_maps(model: MusicVAE) -> list[nn.Linear]:
    """Return the maps that begin with components; none without a roll."""
    if not model.config.roll:
        return []
    assert model.conductor is not None
    return [model.encoder.bar, model.encoder.mu, model.conductor.direct, model.conductor.cells]


@torch.no_grad()
def begin_with_components(
    model: MusicVAE,
    clips: Resident,
    settings: TrainConfig,
    progress: Callable[[int, int], None] = lambda number, total: None,
    *,
    bars: bool = True,
) -> None:
    """Set the linear maps of a model with a roll; clips are drawn, transposed, as training draws them.

    Without `bars` those of bars stay as they are, and only those of whole clips are set. `progress` is called with how
    much is done, and of how much.
    """
    encoder, conductor = model.encoder, model.conductor
    assert conductor is not None
    parts = max(1, min(CLIPS, len(clips.clips)) // PART)
    few = max(1, min(parts, BARS // (PART * model.config.bars)))
    draw = replace(settings, batch=PART)

    def drawn(step: int) -> tuple[Tensor, Tensor]:
        batch = clips.draw(draw, step)
        lengths = to_device(batch.lengths, clips.device)
        tokens = model.inside(batch.tokens, lengths) if isinstance(model, KeyedVAE) else batch.tokens
        return tokens, lengths

    def bar(step: int) -> Tensor:
        progress(step, few + parts)
        found: Tensor = encoder.cells(*drawn(step))  # (B, U, G)
        return found.flatten(0, 1)

    def clip(step: int) -> Tensor:
        progress(few + step, few + parts)
        found: Tensor = encoder.bar(encoder.cells(*drawn(step)))  # (B, U, K)
        return found.flatten(1)

    if bars:
        if isinstance(model, KeyedVAE):
            batch = clips.draw(replace(draw, batch=MEASURED), 0)
            model.shifts.measure(batch.tokens, to_device(batch.lengths, clips.device))
        if model.spec.ordered:
            tokens, lengths = drawn(0)
            notes = tokens[torch.arange(tokens.shape[2], device=tokens.device) < lengths[..., None] - 1]
            encoder.cells.measure(notes, (settings.duration_weight, settings.velocity_weight))
        mean, vectors, _ = components(bar, few, model.config.roll, settings.seed)  # (G,), (G, K)
        _set(encoder.bar, vectors.t(), -mean @ vectors)
        _set(conductor.cells, vectors, mean)
    mean, vectors, variances = components(clip, parts, encoder.mu.out_features, settings.seed)  # (U·K,), (U·K, Z), (Z,)
    deviation = variances.clamp(min=LEAST * float(variances[0])).sqrt()
    _set(encoder.mu, (vectors / deviation).t(), -mean @ vectors / deviation)
    _set(conductor.direct, vectors * deviation, mean)


def components(rows: Callable[[int], Tensor], parts: int, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (D,), the first `count` principal components (D, count) and their variances (count,).

    `rows` gives part 0, 1, … of the observations (n, D).
    """
    first = rows(0)
    D, device = first.shape[1], first.device
    square, total, seen = torch.zeros(D, D, device=device), torch.zeros(D, device=device), 0
    for part in range(parts):
        x = rows(part) if part else first
        square.addmm_(x.t(), x)
        total += x.sum(dim=0)
        seen += len(x)
    mean = total / seen
    square.div_(seen).addr_(mean, mean, alpha=-1)
    count = min(count, D)
    start = np.random.default_rng([seed, 5]).standard_normal((D, min(D, count + MORE)), np.float32)
    basis = torch.linalg.qr(torch.from_numpy(start).to(device))[0]
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(square @ basis)[0]
    variances, turn = torch.linalg.eigh(basis.t() @ square @ basis)
    order = variances.argsort(descending=True)[:count]
    return mean, basis @ turn[:, order], variances[order].clamp(min=0)


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    """Set a linear map; where there are fewer components than it has places, the rest stay at nothing."""
    layer.weight.zero_()
    layer.bias.zero_()
    layer.weight[: weight.shape[0], : weight.shape[1]] = weight
    layer.bias[: len(bias)] = bias
