"""What the decoder is fed while it learns, in place of the true slots before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from musicvae.config import TrainConfig
from musicvae.model import MusicVAE
from musicvae.train.device import to_device
from musicvae.train.schedules import sampling_share

__all__ = ["device_gumbel", "feed"]


def feed(
    model: MusicVAE,
    settings: TrainConfig,
    step: int,
    z: Tensor,
    tokens: Tensor,
    lengths: Tensor,
    all_lengths: Tensor | None = None,
    first: int = 0,
) -> Tensor | None:
    """Return what the decoder is fed in place of tokens (B, U, S, F); None for plain teacher forcing.

    Scheduled sampling (Bengio et al. 2015) is the parallel kind (Duckworth et al. 2019): a first pass under teacher
    forcing draws every slot from the model's distribution at once, then each true slot is replaced with the schedule's
    probability. Hidden slots (word dropout, Bowman et al. 2016) are replaced by nothing. All of it is a function of the
    seed and the step.

    The clips may be some of a batch, from its clip `first` on, whose lengths are `all_lengths` (W, U): they are fed
    what they would be fed if the whole of it were here.
    """
    all_lengths = lengths if all_lengths is None else all_lengths
    shape, mine = (len(all_lengths), *tokens.shape[1:3]), slice(first, first + len(tokens))
    share = sampling_share(step, settings)
    fed = tokens
    if share:
        rng = np.random.default_rng([settings.seed, 4, step])
        with torch.no_grad():
            logits = model.decode(z, tokens, lengths)
        place = logits.slots.argsort().argsort()  # of each row among all slots in order
        before, total = int(all_lengths[:first].sum()), int(all_lengths.sum())
        drawn = tokens.flatten(0, 2).clone()
        for f, field in enumerate(logits.fields):
            gumbel = _gumbel(rng, (total, field.shape[1]), slice(before, before + len(field)), tokens.device)
            drawn[logits.slots, f] = (field + gumbel[place]).argmax(dim=-1)
        if model.spec.end is not None:
            drawn[:, 1:] *= drawn[:, :1] != model.spec.end  # as a mark is fed when clips are drawn
        replaced = to_device(torch.from_numpy(rng.random(shape)[mine] < share), tokens.device)
        fed = torch.where(replaced[..., None], drawn.view_as(tokens), tokens)
    if settings.hide:
        hidden = np.random.default_rng([settings.seed, 3, step]).random(shape)[mine] < settings.hide
        fed = torch.where(to_device(torch.from_numpy(hidden), tokens.device)[..., None], model.nothing, fed)
    return None if fed is tokens else fed


def _gumbel(rng: np.random.Generator, shape: tuple[int, int], rows: slice, device: torch.device) -> Tensor:
    """Return these rows of Gumbel noise of this shape. It is drawn where it is needed: there is much of it."""
    if device.type == "cpu":
        return torch.from_numpy(rng.gumbel(size=shape)[rows].astype(np.float32))
    return device_gumbel(int(rng.integers(2**62)) + rows.start, (rows.stop - rows.start, shape[1]), device)


def device_gumbel(seed: int, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Return Gumbel noise drawn on a device: −log of exponential noise."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.empty(shape, device=device).exponential_(generator=generator).log_().neg_()
