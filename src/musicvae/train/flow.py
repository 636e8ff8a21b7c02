"""Fitting a prior to latent vectors (flow matching, Lipman et al. 2023): see `musicvae.runtime.flow`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from musicvae.runtime.flow import TIMES, TINY, TOLD, gaussian
from musicvae.train.device import autocast, choose_device, half_precision

__all__ = ["Posteriors", "Velocity", "fit_flow"]

BATCH = 512
LR = 1e-3
AVERAGE = 0.999
"""The weights kept are averages over some 1,000 steps."""
EVERY = 50
GAINS = 64
"""Units between what is told of a point and the two numbers by which all of its velocity is scaled."""


class Posteriors(NamedTuple):
    """Where a model places clips."""

    mu: NDArray[np.float32]
    """(N, Z) means."""
    sigma: NDArray[np.float32]
    """(N, Z) standard deviations."""


class Block(nn.Module):
    """A residual block that is told the time and the size."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, hidden)
        self.time = nn.Linear(TOLD, hidden)
        self.down = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """Points (B, H), what is told of them (B, E) → (B, H)."""
        wide = self.up(functional.layer_norm(h, h.shape[-1:])) + self.time(told)
        result: Tensor = h + self.down(functional.silu(wide))
        return result


class Velocity(nn.Module):
    """How fast points (B, Z) move at times (B,): see `musicvae.runtime.flow.Flow.velocity`, which computes the same."""

    def __init__(self, z: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.into = nn.Linear(z, hidden)
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(blocks))
        self.shift = nn.Linear(hidden, z)
        self.stretch = nn.Linear(hidden, z)
        self.told = nn.Linear(TOLD, GAINS)
        self.gains = nn.Linear(GAINS, 2)
        for last in (self.shift, self.stretch, self.gains):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, Z), (B,) → (B, Z)."""
        turns = torch.pi * time[:, None] * torch.arange(1, TIMES + 1, device=x.device)
        size = x.square().mean(dim=1) / (time**2 + (1 - time) ** 2)
        told = torch.cat([turns.sin(), turns.cos(), 2 * torch.log(size + TINY)[:, None]], dim=1)
        h = self.into(x)
        for block in self.blocks:
            h = block(h, told)
        h = functional.layer_norm(h, h.shape[-1:])
        gains = self.gains(functional.silu(self.told(told)))
        stretch = gaussian(time)[:, None] + gains[:, 1:] + self.stretch(h)
        result: Tensor = gains[:, :1].exp() * self.shift(h) + stretch * x
        return result


def fit_flow(
    posteriors: Posteriors,
    held_out: Posteriors,
    *,
    hidden: int = 384,
    blocks: int = 3,
    steps: int = 10_000,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    progress: Callable[[int, int, float], None] = lambda step, total, loss: None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
    """Fit a flow to the posteriors of clips.

    `device` and `precision` are those of `musicvae train`; what is reported is measured in float32. `progress` is
    called with the step, of how many, and the loss. Returns the weights by name, and of the fit the mean
    squared error of velocities on the clips and on those `held_out`, which of N(0, I) would be π / 2.
    """
    mu, sigma = posteriors
    place = choose_device(device)
    amp = half_precision(place, precision)
    torch.manual_seed(seed)
    rng = torch.Generator(place).manual_seed(seed)
    mean, deviation = mu.mean(axis=0), np.sqrt(mu.var(axis=0) + (sigma**2).mean(axis=0)).clip(1e-3)
    clips = [torch.from_numpy(((mu - mean) / deviation).astype(np.float32)), torch.from_numpy(sigma / deviation)]
    others = [torch.from_numpy(((held_out.mu - mean) / deviation).astype(np.float32))]
    others.append(torch.from_numpy(held_out.sigma / deviation))
    clips, others = ([part.to(place) for part in parts] for parts in (clips, others))
    model = Velocity(mu.shape[1], hidden, blocks).to(place)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), LR)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        rows = torch.randint(len(mu), (BATCH,), generator=rng, device=place)
        with autocast(place, amp):
            loss = _loss(model, clips, rows, rng)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        share = min(AVERAGE, step / (step + 10))
        with torch.no_grad():
            for name, p in model.named_parameters():
                average[name].lerp_(p, 1 - share)
        if step % EVERY == 0 or step == steps:
            progress(step, steps, loss.item())
    model.load_state_dict(average)
    with torch.no_grad():
        errors = [float(_loss(model, part, torch.arange(len(part[0]), device=place), rng)) for part in (clips, others)]
    weights = {name: p.cpu().numpy() for name, p in average.items()}
    weights |= {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    return weights, {"error": errors[0], "error_held_out": errors[1]}


def _loss(model: Velocity, clips: list[Tensor], rows: Tensor, rng: torch.Generator) -> Tensor:
    """Mean squared error of velocities at random times on straight ways from noise to latent vectors."""
    mu, sigma = (part[rows] for part in clips)
    end = mu + sigma * torch.randn(mu.shape, generator=rng, device=mu.device)
    begin = torch.randn(mu.shape, generator=rng, device=mu.device)
    time = torch.rand(len(mu), generator=rng, device=mu.device)
    found = model(torch.lerp(begin, end, time[:, None]), time)
    error: Tensor = (found - (end - begin)).square().mean()
    return error
