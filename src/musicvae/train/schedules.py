"""What changes from step to step."""

from __future__ import annotations

import math

from musicvae.config import TrainConfig

__all__ = ["learning_rate"]


def learning_rate(step: int, total: int, settings: TrainConfig) -> float:
    """Return the rate of update `step` (counted from 0) of `total`."""
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.lr_schedule == "exponential":
        return warm * max(settings.lr_min, settings.lr * settings.lr_decay**step)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total))))
    return warm * (settings.lr_min + (settings.lr - settings.lr_min) * fall)
