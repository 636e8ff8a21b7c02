"""The loss, in nats a clip, and how right the predictions are (paper, sections 2.1 and 4.3)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from musicvae.model.vae import Output, PackedLogits
from musicvae.tokens import TokenSpec

__all__ = ["Elbo", "Scores", "elbo", "kl_nats", "recon_nats", "scores"]


class Elbo(NamedTuple):
    """The loss of a batch and its parts."""

    loss_nats: Tensor
    """() recon + beta · max(KL − free bits, 0), a clip."""
    recon_nats: Tensor
    """(B,) cross-entropy of all slots of a clip."""
    kl_nats: Tensor
    """(B,) KL from the prior, summed over the latent's dimensions, free bits not taken off."""


class Scores(NamedTuple):
    """Counts of right predictions; divide `right` by `total`, then by field."""

    right: Tensor
    """(F + 1,) slots whose field was the likeliest one, for each field; last: notes with all fields right."""
    total: Tensor
    """(F + 1,) slots that were scored."""


def kl_nats(mu: Tensor, sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma²) ‖ N(0, I)) of (B, Z) summed over Z → (B,)."""
    return 0.5 * (mu.square() + sigma.square() - 1 - 2 * sigma.log()).sum(dim=-1)


def recon_nats(logits: PackedLogits, tokens: Tensor, spec: TokenSpec) -> Tensor:
    """Cross-entropy of each clip of tokens (B, U, S, F) → (B,). The end mark has no fields but its first."""
    B = tokens.shape[0]
    target = tokens.flatten(0, 2)[logits.slots]  # (M, F)
    note = _is_note(target, spec)
    nats = functional.cross_entropy(logits.fields[0], target[:, 0], reduction="none")
    for f in range(1, target.shape[1]):
        nats = nats + functional.cross_entropy(logits.fields[f], target[:, f], reduction="none") * note
    clip = logits.slots // (tokens.shape[1] * tokens.shape[2])
    return nats.new_zeros(B).index_add(0, clip, nats)


def elbo(output: Output, tokens: Tensor, spec: TokenSpec, beta: float, free_bits: float) -> Elbo:
    """Compute the loss: free bits come off the KL summed over dimensions, clip by clip; `beta` weighs the rest."""
    recon = recon_nats(output.logits, tokens, spec)
    kl = kl_nats(output.mu, output.sigma)
    cost = (kl - free_bits * math.log(2)).clamp(min=0)
    return Elbo((recon + beta * cost).mean(), recon, kl)


@torch.no_grad()
def scores(logits: PackedLogits, tokens: Tensor, spec: TokenSpec) -> Scores:
    """Count right predictions under teacher forcing.

    The first field counts every slot, end marks included; the others, and all fields at once, count notes only.
    """
    target = tokens.flatten(0, 2)[logits.slots]  # (M, F)
    note = _is_note(target, spec)
    right = torch.stack([field.argmax(dim=-1) for field in logits.fields], dim=-1) == target  # (M, F)
    each = torch.cat([right[:, :1], right[:, 1:] & note[:, None], (right.all(dim=-1) & note)[:, None]], dim=-1)
    total = note.sum().repeat(each.shape[1])
    total[0] = len(target)
    return Scores(each.sum(dim=0), total)


def _is_note(target: Tensor, spec: TokenSpec) -> Tensor:
    """(M, F) → (M,) whether a slot is more than an end mark."""
    if spec.end is None:
        return torch.ones(len(target), dtype=torch.bool, device=target.device)
    return target[:, 0] != spec.end
