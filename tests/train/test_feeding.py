"""What the decoder is fed: as much of its own output as the schedule says, and never what it is to predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from musicvae.config import ModelConfig, TrainConfig
from musicvae.model import MusicVAE, PackedLogits
from musicvae.model.elbo import recon_nats
from musicvae.tokens import Field, Stream, TokenSpec
from musicvae.train.feeding import device_gumbel, feed

PIANO = TokenSpec(
    7,
    (Stream("piano", (Field("position", 9), Field("pitch", 6), Field("duration", 5), Field("velocity", 3))),),
    end=8,
    ordered=True,
)
TRIO = TokenSpec(4, tuple(Stream(name, (Field(name, size),)) for name, size in (("a", 7), ("b", 6), ("c", 8))))
DECODERS = [{"first_input": "start"}, {"first_input": "previous"}, {"decoder": "flat"}]
NOTHING = TrainConfig()


def sampled(share: float, **more: Any) -> TrainConfig:
    return TrainConfig(sampling="constant", sampling_rate=share, **more)


def network(spec: TokenSpec, **settings: Any) -> MusicVAE:
    config = ModelConfig(
        bars=3, z=5, embedding=6, bar_hidden=(4,), encoder_hidden=(5,), conductor_hidden=(7,), decoder_hidden=(8, 9),
        head_hidden=16, **settings,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MusicVAE(spec, config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def clips(spec: TokenSpec, B: int, U: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, spec.sizes, (B, U, spec.slots, len(spec.sizes)))
    lengths = np.full((B, U), spec.slots)
    if spec.end is not None:
        tokens = np.zeros_like(tokens)
        tokens[..., 0] = spec.end
        lengths = rng.integers(1, spec.slots + 1, (B, U))
        for b, u in np.ndindex(B, U):
            n = lengths[b, u] - 1
            places = np.sort(rng.choice(8 * 6, n, replace=False))
            tokens[b, u, :n] = np.stack([places // 6, places % 6, rng.integers(0, 5, n), rng.integers(0, 3, n)], 1)
    return torch.from_numpy(tokens), torch.from_numpy(lengths)


def latent(B: int) -> Tensor:
    return torch.randn(B, 5, generator=torch.Generator().manual_seed(8))


class Sure(NamedTuple):
    """In place of a network: expects at every slot whatever it was made with, whatever it is fed."""

    spec: TokenSpec
    logits: tuple[Tensor, ...]
    nothing: Tensor

    def decode(self, z: Tensor, tokens: Tensor, lengths: Tensor, fed: Tensor | None = None) -> PackedLogits:
        real = (torch.arange(tokens.shape[2]) < lengths[..., None]).flatten()
        slots = real.nonzero()[:, 0].flip(0)  # in any order
        return PackedLogits(tuple(field.expand(len(slots), -1) for field in self.logits), slots)


def sure(spec: TokenSpec, *probabilities: list[float]) -> Any:
    logits = tuple(torch.tensor(p).log() for p in probabilities)
    return Sure(spec, logits, torch.tensor(spec.sizes))


# ---------------------------------------------------------------------------------------------- how much
def test_without_sampling_nothing_is_fed():
    tokens, lengths = clips(TRIO, 3)
    for settings in (NOTHING, sampled(0.0)):
        assert feed(network(TRIO), settings, 5, latent(3), tokens, lengths) is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_the_share_of_replaced_slots(share):
    """12,000 slots, each replaced as a whole; a share 5 standard errors off has odds below 10^-6."""
    spec = TokenSpec(4, (Stream("a", (Field("a", 2), Field("b", 3))),))
    tokens = torch.zeros(1000, 3, 4, 2, dtype=torch.int64)
    lengths = torch.full((1000, 3), 4)
    model = sure(spec, [1e-30, 1.0], [1e-30, 1e-30, 1.0])  # draws (1, 2) where (0, 0) is true
    fed = feed(model, sampled(share), 5, latent(1000), tokens, lengths)
    assert fed is not None
    assert torch.equal(fed[..., 1], 2 * fed[..., 0]), "half a slot was replaced"
    found = float(fed[..., 0].double().mean())
    assert abs(found - share) <= 5 * np.sqrt(share * (1 - share) / 12_000)
    each = fed[..., 0].double().mean(dim=(0, 1))  # no place is spared
    assert (abs(each - share) <= 6 * np.sqrt(share * (1 - share) / 3000)).all()


def test_what_replaces_a_slot_is_drawn_from_the_model():
    """12,000 draws from (0.7, 0.2, 0.1) and from (0.4, 0.6); 5 standard errors off has odds below 10^-6."""
    spec = TokenSpec(4, (Stream("a", (Field("a", 3), Field("b", 2))),))
    tokens, lengths = torch.zeros(1000, 3, 4, 2, dtype=torch.int64), torch.full((1000, 3), 4)
    fed = feed(sure(spec, [0.7, 0.2, 0.1], [0.4, 0.6]), sampled(1.0), 5, latent(1000), tokens, lengths)
    assert fed is not None
    for f, wanted in enumerate(([0.7, 0.2, 0.1], [0.4, 0.6])):
        share = np.bincount(fed[..., f].flatten().numpy(), minlength=len(wanted)) / 12_000
        p = np.array(wanted)
        assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 12_000)).all()
    together = float(((fed[..., 0] == 0) & (fed[..., 1] == 0)).double().mean())  # drawn apart
    assert abs(together - 0.28) <= 5 * np.sqrt(0.28 * 0.72 / 12_000)


def test_draws_follow_the_seed_and_the_step_alone():
    model, (tokens, lengths), z = network(TRIO), clips(TRIO, 20), latent(20)
    settings = sampled(0.5, seed=3)
    one, same, later, other = (
        feed(model, s, step, z, tokens, lengths)
        for s, step in ((settings, 5), (settings, 5), (settings, 6), (replace(settings, seed=4), 5))
    )
    assert one is not None
    assert torch.equal(one, same)
    assert not torch.equal(one, later)
    assert not torch.equal(one, other)


def test_padding_and_marks():
    """Padding is not replaced; a drawn end mark has no other fields, as when clips are drawn."""
    tokens, lengths = clips(PIANO, 50)
    model = sure(PIANO, [*[0.05] * 8, 0.6], [1 / 6] * 6, [0.2] * 5, [1 / 3] * 3)
    fed = feed(model, sampled(1.0), 5, latent(50), tokens, lengths)
    assert fed is not None
    real = torch.arange(7) < lengths[..., None]
    assert torch.equal(fed[~real], tokens[~real])
    ends = fed[..., 0] == 8
    assert (fed[ends][:, 1:] == 0).all()
    assert (ends & real).sum() > 100
    assert (fed[~ends][:, 1:] > 0).any()


@pytest.mark.parametrize("settings", [TrainConfig(hide=0.3), sampled(0.5, hide=0.3)])
def test_hidden_slots(settings):
    """Their share, and that they are shown as nothing whole; they are the same with and without sampling."""
    spec = TokenSpec(4, (Stream("a", (Field("a", 2), Field("b", 3))),))
    tokens, lengths = torch.zeros(1000, 3, 4, 2, dtype=torch.int64), torch.full((1000, 3), 4)
    model = sure(spec, [1e-30, 1.0], [1e-30, 1e-30, 1.0])
    fed = feed(model, settings, 5, latent(1000), tokens, lengths)
    alone = feed(model, TrainConfig(hide=0.3), 5, latent(1000), tokens, lengths)
    assert fed is not None
    assert alone is not None
    hidden = fed[..., 0] == 2
    assert torch.equal(hidden, fed[..., 1] == 3)
    assert torch.equal(hidden, alone[..., 0] == 2)
    assert abs(float(hidden.double().mean()) - 0.3) <= 5 * np.sqrt(0.3 * 0.7 / 12_000)
    replaced = float((fed[~hidden][:, 0] == 1).double().mean())
    assert abs(replaced - settings.sampling_rate) <= 0.03


# --------------------------------------------------------------------------------------------- what it hears
@pytest.mark.parametrize("spec", [PIANO, TRIO], ids=["piano", "trio"])
@pytest.mark.parametrize("settings", DECODERS, ids=lambda s: "-".join(s.values()))
def test_the_truth_reaches_only_what_comes_after(spec, settings):
    """Fed and decoded as in training: a true token changes no logits before it, nor its own, and some behind it."""
    model = network(spec, **settings)
    for decoder in model.decoders:
        decoder.heads.ordered = False  # what the order rules out follows the truth
    tokens, lengths = clips(spec, 6)
    z, training = latent(6), sampled(0.5)

    def logits(tokens: Tensor) -> Any:
        with torch.no_grad():
            found = model.decode(z, tokens, lengths, feed(model, training, 5, z, tokens, lengths))
        whole = [torch.zeros(tokens[..., 0].numel(), f.shape[1]).index_put((found.slots,), f) for f in found.fields]
        return [w.reshape(*tokens.shape[:3], -1) for w in whole]

    plain, behind = logits(tokens), 0
    U, S, F = tokens.shape[1:]
    for u, s in np.ndindex(U, S):
        changed = tokens.clone()
        changed[:, u, s] = (changed[:, u, s] + 1) % (torch.tensor(spec.sizes) - int(spec.end is not None))
        for f, (a, b) in enumerate(zip(plain, logits(changed), strict=True)):
            different = (a != b).any(dim=-1)  # (B, U, S)
            assert not different[:, :u].any(), f"bar {u} was seen before"
            assert not different[:, u, :s].any(), f"slot {s} was seen before"
            if f == 0:
                assert not different[:, u, s].any(), f"slot {s} saw itself"
            behind += int(different[:, u, s + 1 :].sum()) + int(different[:, u + 1 :].sum())
    assert F > 0
    assert behind > 20


def test_the_first_pass_sees_what_generation_sees():
    """The model's own greedy choices (made certain) under teacher forcing are what replaces the slots."""
    model = network(TRIO)
    with torch.no_grad():
        for decoder in model.decoders:
            for out in decoder.heads.out:
                out.weight.mul_(1e4)
                out.bias.mul_(1e4)
    tokens, lengths = clips(TRIO, 6)
    z = latent(6)
    with torch.no_grad():
        logits = model.decode(z, tokens, lengths)
    likeliest = torch.stack([f.argmax(dim=-1) for f in logits.fields], dim=-1)
    wanted = torch.zeros(6 * 3 * 4, 3, dtype=torch.int64).index_put((logits.slots,), likeliest).view_as(tokens)
    assert torch.equal(feed(model, sampled(1.0), 5, z, tokens, lengths), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_first_pass_takes_no_gradient_away(dtype):
    """Every weight's gradient is what it is where the same slots are fed without a first pass, bit for bit.

    Casts that autocast made in the first pass, under no_grad, must not serve the second.
    """
    model = network(TRIO)
    tokens, lengths = clips(TRIO, 4)
    noise, gradients = latent(4), []
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        mu, sigma = model.encode(tokens, lengths)
        given = feed(model, sampled(0.5), 5, mu + sigma * noise, tokens, lengths)
    for first_pass in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            mu, sigma = model.encode(tokens, lengths)
            z = mu + sigma * noise
            fed = feed(model, sampled(0.5), 5, z, tokens, lengths) if first_pass else given
            loss = recon_nats(model.decode(z, tokens, lengths, fed), tokens, TRIO).sum()
        loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        assert fed is not None
        assert torch.equal(fed, given)
    for name, gradient in gradients[1].items():
        assert gradient is not None, name
        assert torch.equal(gradient, gradients[0][name]), name
        assert (gradient != 0).any() or name == "conductor.lstm.layers.0.weight_ih_l0"  # whose input is 0


# ---------------------------------------------------------------------------------------- parts of a batch
@pytest.mark.parametrize("spec", [PIANO, TRIO], ids=["piano", "trio"])
@pytest.mark.parametrize("decoder", DECODERS, ids=lambda s: "-".join(s.values()))
def test_parts_are_fed_what_the_whole_is(spec, decoder):
    """Each process feeds its clips what one would feed them that had all."""
    model, settings = network(spec, **decoder), sampled(0.5, hide=0.1)
    tokens, lengths = clips(spec, 9)
    z = latent(9)
    whole = feed(model, settings, 5, z, tokens, lengths)
    assert whole is not None
    for first in (0, 3, 6):
        mine = slice(first, first + 3)
        part = feed(model, settings, 5, z[mine], tokens[mine], lengths[mine], lengths, first)
        assert part is not None
        assert torch.equal(part, whole[mine])
    alone = feed(model, settings, 5, z[3:6], tokens[3:6], lengths[3:6])  # negative control
    assert alone is not None
    assert not torch.equal(alone, whole[3:6])


def test_noise_that_is_drawn_on_a_device():
    """60,000 numbers are Gumbel's: mean 0.5772, standard deviation 1.2825, within 5 standard errors; by the seed."""
    noise, same, other = (device_gumbel(seed, (6000, 10), torch.device("cpu")) for seed in (3, 3, 4))
    assert torch.equal(noise, same)
    assert not torch.equal(noise, other)
    assert noise.isfinite().all()
    assert abs(float(noise.mean()) - 0.57722) < 5 * 1.28255 / 60_000**0.5
    assert abs(float((noise < 0).double().mean()) - np.exp(-1)) < 5 * (0.3679 * 0.6321 / 60_000) ** 0.5
