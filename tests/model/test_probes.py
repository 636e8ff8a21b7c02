"""Causality, batch independence, use of z, padding, the step, and the order of the slots.

Each probe is a function of a network and is tried on networks that are broken on purpose, too: it must see that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from musicvae.config import CodecConfig, Field, ModelConfig, Stream, TokenSpec
from musicvae.model import MusicVAE, PackedLogits
from musicvae.model.vae import Conductor, Decoder, Encoder, Heads, by_length
from musicvae.runtime.sampling import draw_tokens, generators, predict_tokens, prior
from musicvae.runtime.torch import TorchBackend

SPEC = TokenSpec(
    slots=7,
    streams=(Stream("piano", (Field("position", 9), Field("pitch", 6), Field("duration", 5), Field("velocity", 3))),),
    end=8,
    ordered=True,
)
F = len(SPEC.sizes)
KINDS = [("hierarchical", 2), ("flat", 2), ("hierarchical", 16), ("flat", 16)]


def network(encoder: str = "hierarchical", bars: int = 2, *, groups: int = 1, scale: float = 2.5) -> MusicVAE:
    """Return a small random network whose weights are large enough that everything it uses shows."""
    config = ModelConfig(
        bars=bars,
        z=5,
        encoder=encoder,  # type: ignore[arg-type]
        embedding=6,
        bar_hidden=4,
        encoder_hidden=5,
        conductor_hidden=7,
        decoder_hidden=8,
        head_hidden=6,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MusicVAE(SPEC, config, groups=groups).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def clips(B: int, U: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return tokens (B, U, S, F) whose slots ascend, and their lengths (B, U), full bars and empty ones among them."""
    rng = np.random.default_rng(seed)
    tokens = np.zeros((B, U, SPEC.slots, F), dtype=np.int64)
    tokens[..., 0] = 8
    notes = rng.integers(0, SPEC.slots, (B, U))
    notes[0, 0], notes[-1, -1] = SPEC.slots - 1, 0
    for b, u in np.ndindex(B, U):
        n = notes[b, u]
        places = np.sort(rng.choice(8 * 6, n, replace=False))
        tokens[b, u, :n] = np.stack([places // 6, places % 6, rng.integers(0, 5, n), rng.integers(0, 3, n)], axis=1)
    return torch.from_numpy(tokens), torch.from_numpy(notes + 1)


def other(tokens: Tensor, seed: int = 1) -> Tensor:
    """Return tokens of the same shape that differ in every place."""
    rng = np.random.default_rng(seed)
    sizes = np.array(SPEC.sizes)
    return (tokens + torch.from_numpy(rng.integers(1, sizes, tokens.shape))) % torch.from_numpy(sizes)


def latent(B: int) -> Tensor:
    return torch.randn(B, 5, generator=torch.Generator().manual_seed(8))


def rows(logits: PackedLogits) -> dict[int, list[Tensor]]:
    """Slot of the flattened (B·U·S) → its logits, field by field."""
    return {slot: [field[i] for field in logits.fields] for i, slot in enumerate(logits.slots.tolist())}


def logits_of(model: MusicVAE, z: Tensor, tokens: Tensor, lengths: Tensor) -> dict[int, list[Tensor]]:
    with torch.no_grad():
        return rows(model.decode(z, tokens, lengths))


# -------------------------------------------------------------------------------------------- causality
def probe_causality(model: MusicVAE) -> None:
    """What comes after a field, in its slot and in all later ones, leaves its logits as they are, bit for bit."""
    tokens, lengths = clips(3, model.config.bars)
    z, S = latent(3), SPEC.slots
    before, changed = logits_of(model, z, tokens, lengths), other(tokens)
    for s in range(S):
        for f in range(F):
            future = tokens.clone()
            future[:, :, s, f:] = changed[:, :, s, f:]
            future[:, :, s + 1 :] = changed[:, :, s + 1 :]
            after = logits_of(model, z, future, lengths)
            for slot, fields in before.items():
                if slot % S <= s:
                    for g in range(F if slot % S < s else f + 1):
                        assert torch.equal(fields[g], after[slot][g]), f"field {g} of slot {slot % S} saw ({s}, {f})"


def probe_memory(model: MusicVAE) -> None:
    """Every field of the slot before, and the fields before in the same slot, change some logits."""
    tokens, lengths = clips(3, model.config.bars)
    z, S = latent(3), SPEC.slots
    before, changed = logits_of(model, z, tokens, lengths), other(tokens)
    for s, f in np.ndindex(S - 1, F):
        past = tokens.clone()
        past[:, :, s, f] = changed[:, :, s, f]
        after = logits_of(model, z, past, lengths)
        for slot, fields in before.items():
            for g in range(F):
                if slot % S == s + 1 or (slot % S == s and g > f):
                    assert not torch.equal(fields[g], after[slot][g]), f"field {g} of slot {slot % S} missed ({s}, {f})"


def probe_gradient(model: MusicVAE) -> None:
    """∂ logits[n, s] / ∂ decoder input[n', s'] is exactly 0 for n' ≠ n and for s' > s, and not for (n, s) itself."""
    tokens, lengths = clips(2, model.config.bars)
    kept: list[Tensor] = []

    def leaf(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = model.decoder.embedding.register_forward_hook(leaf)
    logits = model.decode(latent(2), tokens, lengths)
    hook.remove()
    assert len(kept) == 1, "one group, one call"
    order = lengths.flatten().argsort()  # as by_length sorts the bars
    for i in range(0, len(logits.slots), 3):
        n, s = divmod(int(logits.slots[i]), SPEC.slots)
        loss = torch.stack([field[i].square().sum() for field in logits.fields]).sum()
        (gradient,) = torch.autograd.grad(loss, kept[0], retain_graph=True)
        own = int((order == n).nonzero())
        assert (gradient[own, s] != 0).any()
        gradient[own, : s + 1] = 0
        assert (gradient == 0).all(), f"slot {s} of bar {n} hears of later slots or of other bars"


class LeakyDecoder(Decoder):
    """Sees each slot before it predicts it: the usual slip of one place."""

    def forward(self, bar: Tensor, tokens: Tensor, lengths: Tensor, *rest: Any) -> PackedLogits:
        early = torch.cat([tokens[:, 1:], tokens[:, :1]], dim=1)
        return super().forward(bar, early, lengths, *rest)


class LeakyHeads(Heads):
    """Sees the field that it predicts."""

    def forward(self, field: int, h: Tensor, slot: Tensor, *before: Tensor) -> Tensor:
        return super().forward(field, h, slot, *before) + 0.01 * slot[:, field : field + 1]


class DeafHeads(Heads):
    """Predicts the fields of a slot independently of each other."""

    def forward(self, field: int, h: Tensor, slot: Tensor, *before: Tensor) -> Tensor:
        return super().forward(field, h, slot * 0, *before)


class TwoWayLSTM(nn.LSTM):
    """Lets a little of each later slot through."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        output, state = super().forward(*inputs)
        return output + 1e-3 * output.roll(-1, dims=1), state


@pytest.mark.parametrize(("encoder", "bars"), KINDS)
def test_causality(encoder, bars):
    model = network(encoder, bars)
    if bars == 2:
        probe_causality(model)
        probe_memory(model)
    probe_gradient(model)


@pytest.mark.parametrize(("part", "broken"), [("decoder", LeakyDecoder), ("heads", LeakyHeads), ("lstm", TwoWayLSTM)])
def test_the_causality_probe_sees_a_leak(part, broken):
    model = network()
    owner = model.decoder if part == "decoder" else getattr(model.decoder, part)
    owner.__class__ = broken
    with pytest.raises(AssertionError, match=r"field . of slot . saw"):
        probe_causality(model)


def test_the_gradient_probe_sees_a_leak():
    model = network()
    model.decoder.lstm.__class__ = TwoWayLSTM
    with pytest.raises(AssertionError, match="hears of later slots"):
        probe_gradient(model)


def test_the_memory_probe_sees_a_deaf_head():
    model = network()
    model.decoder.heads.__class__ = DeafHeads
    with pytest.raises(AssertionError, match=r"field . of slot . missed"):
        probe_memory(model)


# ----------------------------------------------------------------------------------- batch independence
def probe_batch(model: MusicVAE) -> None:
    """A clip's posterior and logits do not depend on the clips beside it, bit for bit at equal shapes."""
    tokens, lengths = clips(9, model.config.bars)
    z = latent(9)
    with torch.no_grad():
        mu, sigma = model.encode(tokens, lengths)
    before, per_clip = logits_of(model, z, tokens, lengths), tokens.shape[1] * SPEC.slots
    for j in (0, 4, 8):
        changed = tokens.clone()
        changed[j] = other(tokens[j])
        changed_z = z.clone()
        changed_z[j] += 1
        with torch.no_grad():
            new_mu, new_sigma = model.encode(changed, lengths)
        others = torch.arange(9) != j
        assert torch.equal(mu[others], new_mu[others]), "mu hears of other clips"
        assert torch.equal(sigma[others], new_sigma[others]), "sigma hears of other clips"
        assert not torch.equal(mu[j], new_mu[j])
        after = logits_of(model, changed_z, changed, lengths)
        for slot, fields in before.items():
            same = all(torch.equal(a, b) for a, b in zip(fields, after[slot], strict=True))
            assert same or slot // per_clip == j, "logits hear of other clips"


def probe_gradient_batch(model: MusicVAE) -> None:
    """∂ mu[i] / ∂ embedding[j ≠ i] and ∂ logits[i] / ∂ z[j ≠ i] are exactly 0, and those of i itself are not."""
    tokens, lengths = clips(3, model.config.bars)
    kept: list[Tensor] = []

    def leaf(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = model.encoder.embedding.register_forward_hook(leaf)
    mu, sigma = model.encode(tokens, lengths)
    hook.remove()
    assert len(kept) == 1
    z = latent(3).requires_grad_()
    logits = model.decode(z, tokens, lengths)
    clip = logits.slots // (tokens.shape[1] * SPEC.slots)
    for i in range(3):
        heard = [torch.autograd.grad(x[i].square().sum(), kept[0], retain_graph=True)[0] for x in (mu, sigma)]
        for gradient in heard:
            each = gradient.reshape(3, -1).abs().sum(dim=1)
            assert (each != 0).tolist() == [j == i for j in range(3)], "the posterior hears of other clips"
        loss = torch.stack([field[clip == i].square().sum() for field in logits.fields]).sum()
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert (gradient != 0).any(dim=1).tolist() == [j == i for j in range(3)], "logits hear of other clips"


class MixingLinear(nn.Linear):
    """Subtracts a little of the mean of the batch, as a BatchNorm would."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - 1e-3 * x.mean(dim=0, keepdim=True))


@pytest.mark.parametrize(("encoder", "bars"), KINDS)
def test_batch_independence(encoder, bars):
    probe_batch(network(encoder, bars))
    probe_gradient_batch(network(encoder, bars))


@pytest.mark.parametrize(
    ("find", "text"),
    [(lambda m: m.encoder.mu, "hears? of other clips"), (lambda m: m.conductor.initial, "logits hear of other clips")],
)
def test_the_batch_probes_see_a_mixture(find, text):
    for probe in (probe_batch, probe_gradient_batch):
        model = network()
        find(model).__class__ = MixingLinear
        with pytest.raises(AssertionError, match=text):
            probe(model)


def probe_groups(model: MusicVAE) -> None:
    """How the bars are grouped by length changes rounding at most (1e-5 of logits of size 1 to 10)."""
    tokens, lengths = clips(17, model.config.bars)
    noise = latent(17)
    results = []
    for groups in (1, 3, 8):
        model.groups = groups
        with torch.no_grad():
            results.append(model(tokens, lengths, noise))
    one, *more = results
    for out in more:
        for a, b in ((one.mu, out.mu), (one.sigma, out.sigma), (one.z, out.z)):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        a, b = rows(one.logits), rows(out.logits)
        assert a.keys() == b.keys()
        assert len(a) == len(one.logits.slots) == lengths.sum()
        for slot in a:
            for left, right in zip(a[slot], b[slot], strict=True):
                torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-5)


class Unsorted(Encoder):
    """Forgets to put the groups back into order."""

    def read(self, lstm: nn.Module, tokens: Tensor, lengths: Tensor, groups: int) -> Tensor:
        if groups == 1:
            return super().read(lstm, tokens, lengths, groups)
        parts = by_length(lengths, groups)
        return torch.cat([lstm(self.embedding(tokens[r, :n]), lengths[r]) for r, n in parts])


@pytest.mark.parametrize(("encoder", "bars"), KINDS[:3])
def test_groups_change_nothing(encoder, bars):
    probe_groups(network(encoder, bars))


def test_the_groups_probe_sees_a_wrong_order():
    model = network()
    model.encoder.__class__ = Unsorted
    with pytest.raises(AssertionError, match="not close"):
        probe_groups(model)


def test_groups_hold_every_row_once():
    lengths = torch.tensor([5, 1, 7, 7, 2, 1])
    for groups in range(1, 9):
        parts = by_length(lengths, groups)
        assert sorted(torch.cat([r for r, _ in parts]).tolist()) == list(range(6))
        assert all(n == int(lengths[r].max()) for r, n in parts)
        assert max(len(r) for r, _ in parts) == -(-6 // groups)


# ---------------------------------------------------------------------------------------------- padding
def probe_padding(model: MusicVAE) -> None:
    """Padding counts for nothing: not what stands there (bit for bit), nor how much there is of it (to rounding)."""
    tokens, lengths = clips(9, model.config.bars)
    noise = latent(9)
    real = torch.arange(SPEC.slots) < lengths[..., None]
    junk = torch.where(real[..., None], tokens, other(tokens))
    wide = torch.cat([tokens, other(tokens)[:, :, :4]], dim=2)
    with torch.no_grad():
        plain, same, more = (model(t, lengths, noise) for t in (tokens, junk, wide))
    assert torch.equal(plain.mu, same.mu), "mu hears the padding"
    assert torch.equal(plain.sigma, same.sigma), "sigma hears the padding"
    assert torch.equal(plain.logits.slots, same.logits.slots)
    for a, b in zip(plain.logits.fields, same.logits.fields, strict=True):
        assert torch.equal(a, b), "logits hear the padding"
    torch.testing.assert_close(plain.mu, more.mu, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(plain.sigma, more.sigma, atol=1e-5, rtol=1e-5)
    a, b = rows(plain.logits), rows(more.logits)
    for slot, fields in a.items():
        n, s = divmod(slot, SPEC.slots)
        for left, right in zip(fields, b[n * (SPEC.slots + 4) + s], strict=True):
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-5)


class Heedless(nn.Module):
    """Reads every sequence to the end of the padding."""

    def __init__(self, lstm: nn.Module) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.lstm(x, torch.full_like(lengths, x.shape[1]))


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize(("encoder", "bars"), KINDS)
def test_padding(encoder, bars, groups):
    probe_padding(network(encoder, bars, groups=groups))


@pytest.mark.parametrize(("encoder", "part"), [("hierarchical", "slots"), ("flat", "clip")])
def test_the_padding_probe_sees_heedless_reading(encoder, part):
    model = network(encoder)
    setattr(model.encoder, part, Heedless(getattr(model.encoder, part)))
    with pytest.raises(AssertionError, match="hears the padding"):
        probe_padding(model)


# --------------------------------------------------------------------------------------------- use of z
def probe_z(model: MusicVAE) -> None:
    """Every field of every bar, the last one included, depends on every dimension of z, for every clip."""
    U = model.config.bars
    tokens, lengths = clips(2, U)
    lengths = lengths.clamp(min=2)
    z = latent(2).requires_grad_()
    logits = model.decode(z, tokens, lengths)
    clip, bar = logits.slots // (U * SPEC.slots), logits.slots // SPEC.slots % U
    for b, u, f in np.ndindex(2, U, F):
        mine = logits.fields[f][(clip == b) & (bar == u)]
        (gradient,) = torch.autograd.grad(mine.square().sum(), z, retain_graph=True)
        assert (gradient[b] != 0).all(), f"field {f} of bar {u} does not use z"
        assert torch.isfinite(gradient).all()


class Forgetful(Conductor):
    """Has forgotten z by the last bar."""

    def forward(self, z: Tensor) -> Tensor:
        bars = super().forward(z)
        return torch.cat([bars[:, :-1], bars[:, -1:].detach()], dim=1)


@pytest.mark.parametrize(("encoder", "bars"), KINDS[::2])
def test_z_is_used_in_every_bar(encoder, bars):
    probe_z(network(encoder, bars))


def test_the_z_probe_sees_forgetfulness():
    model = network()
    model.conductor.__class__ = Forgetful
    with pytest.raises(AssertionError, match="field 0 of bar 1 does not use z"):
        probe_z(model)


def test_64_bars_are_used_to_the_end():
    model = network("hierarchical", 64, scale=1.0)
    tokens, lengths = clips(2, 64)
    with torch.no_grad():
        out = model(tokens, lengths, latent(2))
    assert out.mu.shape == out.sigma.shape == (2, 5)
    assert [f.shape for f in out.logits.fields] == [(int(lengths.sum()), size) for size in SPEC.sizes]
    assert (out.sigma > 0).all()
    z = latent(2).requires_grad_()
    bars = model.conductor(z)
    assert bars.shape == (2, 64, 7)
    assert (torch.autograd.grad(bars[0, 63].sum(), z)[0][0] != 0).all()


@pytest.mark.parametrize(("encoder", "bars"), KINDS)
def test_the_posterior_hears_every_slot_of_every_bar(encoder, bars):
    """A clip of two slots a bar: each changes mu and sigma, the last bar's last field included."""
    model = network(encoder, bars)
    tokens, _ = clips(1, bars)
    tokens[..., 1:, :] = torch.tensor([8, 0, 0, 0])
    lengths = torch.full((1, bars), 2)
    with torch.no_grad():
        mu, sigma = model.encode(tokens, lengths)
        for u, f in np.ndindex(bars, F):
            changed = tokens.clone()
            changed[0, u, 0, f] = (changed[0, u, 0, f] + 1) % SPEC.sizes[f]
            new_mu, new_sigma = model.encode(changed, lengths)
            assert not torch.equal(mu, new_mu), f"field {f} of bar {u}"
            assert not torch.equal(sigma, new_sigma), f"field {f} of bar {u}"


# --------------------------------------------------------------------------------------------- the step
def probe_step(model: MusicVAE) -> None:
    """Slot by slot with forced tokens, the step gives the logits of teacher forcing (to 1e-4, rounding of sums)."""
    U = model.config.bars
    tokens, lengths = clips(5, U)
    z = latent(5)
    taught = logits_of(model, z, tokens, lengths)
    with torch.no_grad():
        bar = model.conductor(z).flatten(0, 1)
        state, before = model.decoder.start(bar), torch.tensor(SPEC.sizes).expand(5 * U, F)
        for s in range(SPEC.slots):
            truth = tokens.flatten(0, 1)[:, s]
            noise = torch.cat(
                [1e9 * nn.functional.one_hot(truth[:, f], size) for f, size in enumerate(SPEC.sizes)], dim=-1
            )
            open_ = lengths.flatten() > s
            _, state, logits = model.decoder.step(before, bar, state, noise, torch.tensor(10.0))
            for n in open_.nonzero()[:, 0].tolist():
                wanted = torch.cat(taught[n * SPEC.slots + s])
                torch.testing.assert_close(logits[n], wanted, atol=1e-4, rtol=1e-5)
            before = truth


# ----------------------------------------------------------------------------------------- hidden slots
def test_hidden_slots_are_not_seen():
    """What is hidden changes nothing but what its place in the order rules out, and what is shown changes much."""
    model = network()
    model.decoder.heads.ordered = False
    tokens, lengths = clips(3, 2)
    z, changed = latent(3), other(tokens)
    hidden = torch.from_numpy(np.random.default_rng(5).random(tokens.shape[:3]) < 0.5)
    both = torch.where(hidden[..., None], changed, tokens)
    with torch.no_grad():
        first, second = (rows(model.decode(z, t, lengths, hidden)) for t in (tokens, both))
        shown = rows(model.decode(z, both, lengths))
    own = hidden.flatten()
    assert len(set(own[list(first)].tolist())) == 2
    seen = 0
    for slot, fields in first.items():
        compared = 1 if own[slot] else F  # the fields of a slot see each other, hidden or not
        assert all(torch.equal(fields[f], second[slot][f]) for f in range(compared)), f"slot {slot}"
        seen += not torch.equal(shown[slot][0], second[slot][0])
    assert seen > len(first) // 4, "nothing was hidden"


def test_nothing_hidden_is_plain_teacher_forcing():
    model = network()
    tokens, lengths = clips(3, 2)
    with torch.no_grad():
        plain = model.decode(latent(3), tokens, lengths)
        none = model.decode(latent(3), tokens, lengths, torch.zeros(tokens.shape[:3], dtype=torch.bool))
    assert all(torch.equal(a, b) for a, b in zip(plain.fields, none.fields, strict=True))


class OtherHeads(Heads):
    """Computes one thing in training and another when drawing."""

    def forward(self, field: int, h: Tensor, slot: Tensor, *before: Tensor) -> Tensor:
        return super().forward(field, h, slot, *before) * (1 + 1e-3 * (slot.shape[1] == field))


@pytest.mark.parametrize("bars", [2, 16])
def test_step_is_teacher_forcing(bars):
    probe_step(network(bars=bars))


def test_the_step_probe_sees_a_difference():
    model = network()
    model.decoder.heads.__class__ = OtherHeads
    with pytest.raises(AssertionError, match="not close"):
        probe_step(model)


def test_predicted_tokens_are_those_of_teacher_forcing():
    model = network(bars=16)
    tokens, lengths = clips(5, 16)
    z = latent(5)
    predicted = predict_tokens(TorchBackend(model), z.numpy(), tokens.numpy(), lengths.numpy()).reshape(-1, F)
    taught = logits_of(model, z, tokens, lengths)
    for slot, fields in taught.items():
        assert predicted[slot].tolist() == [int(field.argmax()) for field in fields]
    assert not np.delete(predicted, list(taught), axis=0).any()


# -------------------------------------------------------------------------------------------- the order
def probe_order(model: MusicVAE) -> int:
    """Drawn freely (temperature 3), the slots of every bar ascend by position, then pitch. Returns how many."""
    noise = generators(5, 40)
    tokens = draw_tokens(TorchBackend(model), prior(noise, 5), noise, temperature=3.0)
    count = 0
    for bar in tokens.reshape(-1, SPEC.slots, F):
        ended = np.logical_or.accumulate(bar[:, 0] == SPEC.end)
        assert ended[-1], "the last slot is the end mark"
        places = (bar[~ended, 0] * SPEC.sizes[1] + bar[~ended, 1]).tolist()
        assert places == sorted(set(places)), f"{places} does not ascend"
        count += len(places)
    assert (tokens < np.array(SPEC.sizes)).all()
    return count


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_drawn_slots_ascend(scale):
    """80 bars. A network that is not made to would keep to it in a bar of n notes with odds of about 1 in n!."""
    assert probe_order(network(scale=scale)) > 60


def test_the_order_probe_sees_disorder():
    model = network(scale=1.0)
    model.decoder.heads.ordered = False
    with pytest.raises(AssertionError, match="does not ascend"):
        probe_order(model)


def test_what_is_ruled_out_by_hand():
    heads = network().decoder.heads
    first = list(SPEC.sizes)
    cases = [  # slot before, position of this slot → positions and pitches that are left
        (first, 0, range(9), range(6)),
        ([0, 0, 0, 0], 0, range(9), range(1, 6)),
        ([3, 2, 0, 0], 3, range(3, 9), range(3, 6)),
        ([3, 2, 0, 0], 4, range(3, 9), range(6)),
        ([3, 5, 0, 0], 4, range(4, 9), range(6)),
        ([7, 5, 0, 0], 8, range(8, 9), range(6)),
    ]
    for before, position, positions, pitches in cases:
        for field, wanted in ((0, positions), (1, pitches)):
            logits = heads.in_order(
                field, torch.zeros(1, SPEC.sizes[field]), torch.tensor([[position]]), torch.tensor([before])
            )
            assert (logits[0] == 0).nonzero()[:, 0].tolist() == list(wanted), (before, position, field)
            assert torch.isfinite(logits).all()


def test_a_codec_without_end_or_order():
    """The network is not tied to the piano codec: another number of fields, every slot real, no order."""
    spec = TokenSpec(slots=4, streams=(Stream("melody", (Field("note", 5),)), Stream("drums", (Field("hit", 3),))))
    model = MusicVAE(spec, network().config)
    tokens = torch.zeros(2, 2, 4, 2, dtype=torch.int64)
    out = model(tokens, torch.full((2, 2), 4), latent(2))
    assert [field.shape for field in out.logits.fields] == [(16, 5), (16, 3)]
    noise = generators(0, 2)
    drawn = draw_tokens(TorchBackend(model), prior(noise, 5), noise, 1.0)
    assert drawn.shape == (2, 2, 4, 2)
    assert (drawn < np.array(spec.sizes)).all()


def test_the_real_codec_fits():
    from musicvae.codecs import codec

    spec = codec(CodecConfig()).spec
    assert (spec.slots, spec.sizes, spec.end, spec.ordered) == (65, (17, 88, 64, 8), 16, True)
