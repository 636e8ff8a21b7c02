"""One update after another, without waiting for the device between them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from musicvae.config import Config
from musicvae.errors import TrainingError
from musicvae.model import MusicVAE, Output, elbo, scores
from musicvae.tokens import TokenSpec
from musicvae.train.cost import update_flops
from musicvae.train.device import autocast, to_device
from musicvae.train.distributed import Ranks
from musicvae.train.feeding import feed
from musicvae.train.principal import SHARE, linear_maps
from musicvae.train.resident import Resident, StepBatch
from musicvae.train.schedules import beta, learning_rate, sampling_share

__all__ = ["Forward", "Updates", "shares"]


class Forward(nn.Module):
    """From a batch to its loss, as one module: what several processes run side by side."""

    def __init__(self, model: MusicVAE, config: Config) -> None:
        super().__init__()
        self.model, self.config = model, config

    def forward(self, batch: StepBatch, noise: Tensor, step: int, weight: float) -> tuple[Tensor, Tensor]:
        """Return the loss in nats a clip () and the batch's figures.

        noise (B, Z) ~ N(0, I); `weight` of the KL term. Figures: loss, recon and KL in nats a clip, recon of all
        clips together, then `right` and `total` of `Scores`.
        """
        tokens, lengths = batch.tokens, batch.lengths
        mu, sigma = self.model.encode(tokens, lengths)
        z = mu + sigma * noise
        fed = feed(self.model, self.config.train, step, z, tokens, lengths, batch.all_lengths, batch.first)
        output = Output(mu, sigma, z, self.model.decode(z, tokens, lengths, fed))
        loss = elbo(output, tokens, self.model.spec, weight, self.config.loss.free_bits)
        counts = scores(output.logits, tokens, self.model.spec)
        recon = loss.recon_nats.detach()
        nats = torch.stack([loss.loss_nats.detach(), recon.mean(), loss.kl_nats.detach().mean(), recon.sum()])
        return loss.loss_nats, torch.cat([nats, counts.right.float(), counts.total.float()])  # counts below 2^24


class _Unread(NamedTuple):
    """An update whose figures lie on the device still."""

    step: int
    figures: Tensor
    norm: Tensor
    known: dict[str, float]
    """What is known of it without them."""


class Updates:
    """Makes updates. Their figures stay on the device until they are read."""

    def __init__(
        self,
        model: MusicVAE,
        clips: Resident,
        config: Config,
        total: int,
        ranks: Ranks,
        amp: bool,
        last: Path,
    ) -> None:
        """`total` is how many updates the run makes, `amp` whether to compute in bfloat16, `last` its checkpoint."""
        self.clips, self.config, self.total, self.ranks, self.amp, self.last = clips, config, total, ranks, amp, last
        self.device, self.spec = clips.device, model.spec
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.Adam(_groups(model), lr=config.train.lr, fused=True)
        self.forward = ranks.wrap(Forward(model, config))
        self.begun = False
        self.unread: list[_Unread] = []

    def update(self, step: int) -> None:
        """Make update `step`; where its loss or gradient is not finite, it changes nothing, which `read` tells."""
        settings = self.config.train
        rate = learning_rate(step, self.total, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        if self.ranks.size > 1 and not self.begun:
            # After a first pass the processes send gradients in other portions than in it, and sums of three and more
            # depend on these. One made for nothing lets a run that is resumed add up as one that was not stopped.
            self._pass(step)
        self.begun = True
        figures, known = self._pass(step)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, settings.grad_clip)
        # as torch.amp.GradScaler tells the fused optimiser to leave a step out, without waiting to know
        self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.unread.append(_Unread(step, figures, norm, {"lr": rate, **known}))

    def _pass(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Leave the gradient of a step in the parameters; return its figures, and what is known without them."""
        settings, ranks = self.config.train, self.ranks
        batch = self.clips.draw(settings, step, ranks.rank, ranks.size)
        clips, slots = len(batch.all_lengths), int(batch.all_lengths.sum())
        rng = np.random.default_rng([settings.seed, 2, step])
        noise = rng.standard_normal((clips, self.config.model.z), np.float32)
        noise = noise[batch.first : batch.first + settings.batch]
        weight = beta(step, self.total, self.config.loss)
        self.optimizer.zero_grad(set_to_none=True)  # before there are activations to keep
        with autocast(self.device, self.amp):
            loss, figures = self.forward(batch, to_device(torch.from_numpy(noise), self.device), step, weight)
        # nats a slot of the whole batch: a scale on which one clipping norm serves all. Of a loss that is not finite no
        # gradient is either, so that all processes, which average them, know it.
        scaled = loss * clips / slots
        scaled.backward(torch.where(scaled.detach().isfinite(), 1.0, math.nan))
        flops = update_flops(self.spec, self.config.model, clips, slots, sampling_share(step, settings) > 0)
        return figures, {"beta": weight, "slots": float(slots), "flops": flops}

    def read(self) -> list[dict[str, float]]:
        """Return the figures of the updates since the last reading, of the whole batch of each.

        Raises TrainingError for the first that was not finite: the weights are then not to be kept.
        """
        if not self.unread:
            return []
        unread, self.unread = self.unread, []
        norms = torch.stack([u.norm for u in unread]).tolist()
        figures = self.ranks.sum(torch.stack([u.figures for u in unread]).cpu().double())
        figures[:, :3] /= self.ranks.size  # means of equally many clips; the rest are sums
        return [self._figures(*one) for one in zip(unread, figures.tolist(), norms, strict=True)]

    def _figures(self, update: _Unread, figures: list[float], norm: float) -> dict[str, float]:
        nats, recon, kl, all_recon, *counts = figures
        if not math.isfinite(nats) or not math.isfinite(norm):
            settings = self.config.train
            kept = f"the last good checkpoint is {self.last}" if self.last.exists() else "no checkpoint was written yet"
            raise TrainingError(
                f"step {update.step + 1}: loss {nats}, gradient norm {norm}: not finite (seed {settings.seed}). "
                f"Nothing was changed by this step; {kept}. Try a lower rate: --set train.lr={settings.lr / 3:.1g}"
            )
        half = len(counts) // 2
        return {
            "loss_nats": nats,
            "recon_nats": recon,
            "kl_nats": kl,
            "nats_per_slot": all_recon / update.known["slots"],
            "grad_norm": norm,
            **update.known,
            **shares(self.spec, counts[:half], counts[half:]),
        }


def _groups(model: MusicVAE) -> list[dict[str, Any]]:
    """Return all parameters in groups, each with its share of the learning rate."""
    slow = {id(p) for layer in linear_maps(model) for p in layer.parameters()}
    others = [p for p in model.parameters() if id(p) not in slow]
    maps = [p for p in model.parameters() if id(p) in slow]
    return [{"params": others, "share": 1.0}, *([{"params": maps, "share": SHARE}] if maps else [])]


def shares(spec: TokenSpec, right: Any, total: Any) -> dict[str, float]:
    """Return the accuracy of each field by name, and of all together: see `Scores`."""
    names = [f"accuracy_{field.name}" for stream in spec.streams for field in stream.fields]
    names += ["accuracy_all"] if len(names) > 1 else []
    return {name: float(r) / max(float(t), 1.0) for name, r, t in zip(names, right, total, strict=False)}
