"""What changes from step to step. Every schedule is a function of the step, counted from 0, and the settings."""

from __future__ import annotations

import math

from musicvae.config import LossConfig, TrainConfig

__all__ = ["beta", "learning_rate", "sampling_share"]


def learning_rate(step: int, total: int, settings: TrainConfig) -> float:
    """Return the rate of update `step` of `total`."""
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.lr_schedule == "exponential":
        return warm * max(settings.lr_min, settings.lr * settings.lr_decay**step)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total))))
    return warm * (settings.lr_min + (settings.lr - settings.lr_min) * fall)


def beta(step: int, total: int, settings: LossConfig) -> float:
    """Return the weight of the KL term at update `step` of `total`."""
    if settings.beta_schedule == "annealed":  # paper, section 4.3
        return settings.beta * (1 - settings.beta_rate**step)
    if settings.beta_schedule == "cyclical":  # Fu et al. 2019 (N19-1021): up over half a cycle, then at its highest
        place = step * settings.beta_cycles / max(1, total) % 1
        return settings.beta * min(1.0, 2 * place)
    return settings.beta


def sampling_share(step: int, settings: TrainConfig) -> float:
    """Return the share of slots for which the decoder is fed its own output at update `step`."""
    if settings.sampling == "constant":
        return settings.sampling_rate
    if settings.sampling == "inverse_sigmoid":  # Bengio et al. 2015; exp(−x) cannot overflow
        k = settings.sampling_rate
        return 1 / (1 + k * math.exp(-step / k))
    return 0.0
