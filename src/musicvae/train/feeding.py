"""What the decoder is fed while it learns, in place of the true slots before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from musicvae.config import TrainConfig
from musicvae.model import MusicVAE
from musicvae.train.schedules import sampling_share

__all__ = ["feed"]


def feed(
    model: MusicVAE, settings: TrainConfig, step: int, z: Tensor, tokens: Tensor, lengths: Tensor
) -> Tensor | None:
    """Return what the decoder is fed in place of tokens (B, U, S, F); None for plain teacher forcing.

    Scheduled sampling (Bengio et al. 2015) is the parallel kind (Duckworth et al. 2019): a first pass under teacher
    forcing draws every slot from the model's distribution at once, then each true slot is replaced with the schedule's
    probability. Hidden slots (word dropout, Bowman et al. 2016) are replaced by nothing. All of it is a function of the
    seed and the step.
    """
    shape, share = tokens.shape[:3], sampling_share(step, settings)
    fed = tokens
    if share:
        rng = np.random.default_rng([settings.seed, 4, step])
        with torch.no_grad():
            logits = model.decode(z, tokens, lengths)
        drawn = tokens.flatten(0, 2).clone()
        for f, field in enumerate(logits.fields):
            gumbel = torch.from_numpy(rng.gumbel(size=field.shape).astype(np.float32)).to(tokens.device)
            drawn[logits.slots, f] = (field + gumbel).argmax(dim=-1)
        if model.spec.end is not None:
            drawn[drawn[:, 0] == model.spec.end, 1:] = 0  # as a mark is fed when clips are drawn
        replaced = torch.from_numpy(rng.random(shape) < share).to(tokens.device)
        fed = torch.where(replaced[..., None], drawn.view_as(tokens), tokens)
    if settings.hide:
        hidden = np.random.default_rng([settings.seed, 3, step]).random(shape) < settings.hide
        fed = torch.where(torch.from_numpy(hidden).to(tokens.device)[..., None], model.nothing, fed)
    return None if fed is tokens else fed
