"""Who hears whom, use of z, padding, the step, and the order of the slots.

Each probe is a function of a network and is tried on networks that are broken on purpose, too: it must see that.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicvae.config import CodecConfig, ModelConfig
from musicvae.model import MusicVAE, PackedLogits
from musicvae.model.elbo import recon_nats
from musicvae.model.lstm import LSTM, BiLSTM, by_length, join_bars
from musicvae.model.roll import NoteHints
from musicvae.model.slots import SlotEmbedding
from musicvae.model.vae import Conductor, Decoder, Encoder, Heads
from musicvae.runtime.sampling import draw_tokens, generators, predict_tokens, prior
from musicvae.runtime.torch import TorchBackend
from musicvae.tokens import Field, Stream, TokenSpec

PIANO_FIELDS = (Field("position", 9), Field("pitch", 6), Field("duration", 5), Field("velocity", 3))
MELODY, BASS, DRUMS = (Stream(name, (Field(name, size),)) for name, size in (("melody", 7), ("bass", 6), ("drums", 8)))
SPECS = {
    "piano": TokenSpec(7, (Stream("piano", PIANO_FIELDS),), end=8, ordered=True),
    "melody": TokenSpec(4, (MELODY,)),
    "drums": TokenSpec(4, (Stream("drums", (Field("drums", 8, binary=True),)),)),
    "trio": TokenSpec(4, (MELODY, BASS, DRUMS)),
}
SPEC = SPECS["piano"]
DECODERS = [("hierarchical", "start"), ("hierarchical", "previous"), ("flat", "start")]
LAYERS: dict[str, list[tuple[int, ...]]] = {  # one to three layers of differing sizes
    "bar_hidden": [(4,), (4, 3), (3, 5, 4)],
    "encoder_hidden": [(5,), (6, 5), (4, 6, 5)],
    "conductor_hidden": [(7,), (6, 7), (7, 4, 6)],
    "decoder_hidden": [(8,), (9, 8), (8, 9, 7)],
}


def variants() -> list[Any]:
    """Every codec with every decoder, twice; encoder, number of layers, embedding and heads go round beside them."""
    found = []
    for number, (turn, kind, (decoder, first)) in enumerate(itertools.product(range(2), SPECS, DECODERS)):
        settings = {
            "kind": kind,
            "decoder": decoder,
            "first_input": first,
            "encoder": ("hierarchical", "flat")[(number + turn) % 2],
            "embedding": (6, 0)[(number // 2 + turn) % 2],
            "head_hidden": (16, 0)[(number + turn + (number // 4) % 2) % 2],
            "layers": 1 + (number + turn) % 3,
        }
        found.append(settings)
    found += [
        {"kind": kind, "decoder": "hierarchical", "first_input": first, "embedding": embedding, "layers": 1, "roll": 4}
        for kind, first, embedding in zip(SPECS, ("start", "previous", "start", "start"), (6, 0, 6, 0), strict=True)
    ]
    return [pytest.param(settings, id="-".join(map(str, settings.values()))) for settings in found]


VARIANTS = variants()
PIANOS = [v for v in VARIANTS if v.values[0]["kind"] == "piano"]


def network(
    kind: str = "piano", bars: int = 3, *, layers: int = 2, groups: int = 1, scale: float = 2.5, **settings: Any
) -> MusicVAE:
    """Return a small random network whose weights are large enough that everything it uses shows."""
    sizes = {name: choices[layers - 1] for name, choices in LAYERS.items()}
    config = ModelConfig(bars=bars, z=5, **{"embedding": 6, "head_hidden": 16, **sizes, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MusicVAE(SPECS[kind], config, groups=groups).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() and not parameter.any():  # what begins with nothing
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
            parameter.mul_(scale)
    return model


def clips(B: int, U: int, seed: int = 0, spec: TokenSpec = SPEC) -> tuple[Tensor, Tensor]:
    """Return tokens (B, U, S, F) and their lengths (B, U).

    Where bars have an end mark: their slots ascend, and full bars and empty ones are among them.
    """
    rng = np.random.default_rng(seed)
    shape = (B, U, spec.slots, len(spec.sizes))
    if spec.end is None:
        return torch.from_numpy(rng.integers(0, spec.sizes, shape)), torch.full((B, U), spec.slots)
    tokens = np.zeros(shape, dtype=np.int64)
    tokens[..., 0] = spec.end
    notes = rng.integers(0, spec.slots, (B, U))
    notes[0, 0], notes[-1, -1] = spec.slots - 1, 0
    for b, u in np.ndindex(B, U):
        n = notes[b, u]
        places = np.sort(rng.choice(8 * 6, n, replace=False))
        tokens[b, u, :n] = np.stack([places // 6, places % 6, rng.integers(0, 5, n), rng.integers(0, 3, n)], axis=1)
    return torch.from_numpy(tokens), torch.from_numpy(notes + 1)


def other(tokens: Tensor, seed: int = 1, spec: TokenSpec = SPEC) -> Tensor:
    """Return tokens of the same shape that differ in every place."""
    rng = np.random.default_rng(seed)
    sizes = np.array(spec.sizes)
    return (tokens + torch.from_numpy(rng.integers(1, sizes, tokens.shape))) % torch.from_numpy(sizes)


def latent(B: int) -> Tensor:
    return torch.randn(B, 5, generator=torch.Generator().manual_seed(8))


def rows(logits: PackedLogits) -> dict[int, list[Tensor]]:
    """Slot of the flattened (B·U·S) → its logits, field by field."""
    return {slot: [field[i] for field in logits.fields] for i, slot in enumerate(logits.slots.tolist())}


def logits_of(model: MusicVAE, z: Tensor, tokens: Tensor, lengths: Tensor) -> dict[int, list[Tensor]]:
    with torch.no_grad():
        return rows(model.decode(z, tokens, lengths))


def slots_that_differ(a: PackedLogits, b: PackedLogits, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where the logits of two passes differ in any bit, (B, U, S, F)."""
    assert torch.equal(a.slots, b.slots)
    found = np.zeros((int(np.prod(shape[:3])), shape[3]), dtype=bool)
    for f, (one, two) in enumerate(zip(a.fields, b.fields, strict=True)):
        found[a.slots.numpy(), f] = (one != two).any(dim=-1).numpy()
    return found.reshape(shape)


def unordered(model: MusicVAE) -> MusicVAE:
    """Take away what the order of the slots rules out: where it leaves one value, nothing else shows."""
    for decoder in model.decoders:
        decoder.heads.ordered = False
        if isinstance(decoder.hints, NoteHints):
            decoder.hints.__class__ = FirstNoteHints
    return model


class FirstNoteHints(NoteHints):
    """Hints for the first note of a bar at every note: they do not know which keys are left."""

    def logits(self, field: int, tables: Tensor, row: Tensor, number: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        return super().logits(field, tables, row, number, slot, torch.full_like(before, self.steps + 1))


# -------------------------------------------------------------------------------------------- who hears whom
def hears(model: MusicVAE, source: tuple[int, int, int], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which logits (B, U, S, F) hear the token at `source` (bar, slot, field), in words:

    those of later slots of its bar; where the first input is the previous slot, of the bar after the last slot of its
    bar; with a flat decoder, of all slots after it; each of its own stream only where each has a decoder; and those of
    the fields after it in its own slot, where heads are not plain, or by the order of the slots.
    """
    spec, config = model.spec, model.config
    B, U = lengths.shape
    stream = np.repeat(np.arange(len(spec.streams)), [len(s.fields) for s in spec.streams])
    if config.decoder == "flat":
        stream[:] = 0
    heads_chain, ordered = config.head_hidden > 0, model.decoders[0].heads.ordered
    v, r, f = source
    found = np.zeros((B, U, spec.slots, len(spec.sizes)), dtype=bool)
    for b, u, s in np.ndindex(B, U, spec.slots):
        if s >= lengths[b, u] or r >= lengths[b, v]:
            continue  # padding neither hears nor is heard
        after = u == v and s > r
        if config.decoder == "flat":
            after |= u > v
        elif config.first_input == "previous":
            after |= u == v + 1 and r == lengths[b, v] - 1
        for g in range(len(spec.sizes)):
            chained = (u, s) == (v, r) and g > f and (heads_chain or (ordered and (f, g) == (0, 1)))
            found[b, u, s, g] = stream[f] == stream[g] and (after or chained)
    return found


def probe_hearing(model: MusicVAE, B: int = 3) -> None:
    """Every token changes just those logits that hear it, all others stay as they are, bit for bit."""
    tokens, lengths = clips(B, model.config.bars, spec=model.spec)
    z, changed = latent(B), other(tokens, spec=model.spec)
    with torch.no_grad():
        plain = model.decode(z, tokens, lengths)
        for source in itertools.product(*map(range, tokens.shape[1:])):
            one = tokens.clone()
            one[:, *source] = changed[:, *source]
            found = slots_that_differ(plain, model.decode(z, one, lengths), tuple(tokens.shape))
            wanted = hears(model, source, lengths.numpy())
            assert not (found & ~wanted).any(), f"{np.argwhere(found & ~wanted)[0]} saw {source}"
            if not model.decoders[0].heads.ordered:
                assert not (wanted & ~found).any(), f"{np.argwhere(wanted & ~found)[0]} missed {source}"


def probe_future(model: MusicVAE) -> None:
    """All that comes after a field at once leaves its logits and those before as they are."""
    tokens, lengths = clips(3, model.config.bars, spec=model.spec)
    z, changed = latent(3), other(tokens, spec=model.spec)
    U, S, F = tokens.shape[1:]
    place = np.arange(U * S * F).reshape(U, S, F)
    with torch.no_grad():
        plain = model.decode(z, tokens, lengths)
        for p in range(0, U * S * F, 2):
            later = torch.from_numpy(place >= p)
            found = slots_that_differ(
                plain, model.decode(z, torch.where(later, changed, tokens), lengths), tuple(tokens.shape)
            )
            assert not found[:, place <= p].any(), f"the future of {p} was seen"


def probe_gradient(model: MusicVAE) -> None:
    """∂ logits[n, t] / ∂ decoder input[n', t'] is exactly 0 for n' ≠ n and for t' > t, and not in all of (n, ≤ t)."""
    tokens, lengths = clips(2, model.config.bars, spec=model.spec)
    flat = model.conductor is None
    kept: list[Tensor] = []

    def leaf(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hooks = [decoder.embedding.register_forward_hook(leaf) for decoder in model.decoders]
    logits = model.decode(latent(2), tokens, lengths)
    for hook in hooks:
        hook.remove()
    assert len(kept) == len(model.decoders), "one group, one call of each decoder"
    order = (lengths.sum(dim=1) if flat else lengths.flatten()).argsort()  # as by_length sorts the rows
    before = lengths.cumsum(dim=1) - lengths
    for i in range(0, len(logits.slots), 3):
        bar, t = divmod(int(logits.slots[i]), model.spec.slots)
        row = bar
        if flat:
            row, u = divmod(bar, model.config.bars)
            t += int(before[row, u])
        own = int((order == row).nonzero())
        first = 0
        for number, count in enumerate(model.fields):
            mine = logits.fields[first : first + count]
            loss = torch.stack([field[i].square().sum() for field in mine]).sum()
            gradients = torch.autograd.grad(loss, kept, retain_graph=True, allow_unused=True)
            for other_number, gradient in enumerate(gradients):
                assert (gradient is None) == (other_number != number), "decoders of two streams hear each other"
            heard = gradients[number].clone()
            assert (heard[own, : t + 1] != 0).any()
            heard[own, : t + 1] = 0
            assert (heard == 0).all(), f"slot {t} of row {row} hears of later slots or of other rows"
            first += count


class LeakyDecoder(Decoder):
    """Sees each slot before it predicts it: the usual slip of one place."""

    def forward(self, given: Tensor, cells: Tensor, tokens: Tensor, before: Tensor, seen: Tensor, *rest: Any) -> Any:
        return super().forward(given, cells, tokens, before, tokens, *rest)


class LeakyHeads(Heads):
    """Sees the field that it predicts."""

    def forward(self, field: int, x: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        return super().forward(field, x, slot, before) + 0.01 * slot[:, field : field + 1]


class DeafHeads(Heads):
    """Predicts the fields of a slot independently of each other."""

    def forward(self, field: int, x: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        return super().forward(field, x, slot * 0, before)


class TwoWayLSTM(LSTM):
    """Lets a little of each later slot through."""

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        output = super().forward(x, state)
        return output + 1e-3 * output.roll(-1, dims=1)


class OwnBar(MusicVAE):
    """Shows each bar its own last slot in place of that of the bar before."""

    def before(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return (
            super()
            .before(tokens.roll(-1, dims=1), lengths.roll(-1, dims=1))
            .roll(1, dims=1)
            .where(torch.arange(tokens.shape[2])[:, None] == 0, super().before(tokens, lengths))
        )


class LastPlace(MusicVAE):
    """Shows each bar what stands in the last place of the bar before, be it padding."""

    def before(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return super().before(tokens, torch.full_like(lengths, tokens.shape[2]))


class ForgetfulRow(MusicVAE):
    """Begins with nothing in each bar where the bar before should go on."""

    def before(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        found = super().before(tokens, lengths).clone()
        found[:, :, 0] = self.nothing
        return found


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_slot_hears_what_it_should_and_nothing_else(variant):
    probe_hearing(network(**variant))
    probe_hearing(unordered(network(**variant)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_causality(variant):
    probe_future(network(**variant))
    probe_gradient(network(**variant))


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
@pytest.mark.parametrize("kind", ["piano", "trio"])
def test_causality_of_16_bars(kind, decoder, first_input):
    probe_gradient(network(kind, 16, decoder=decoder, first_input=first_input))


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
@pytest.mark.parametrize(("part", "broken"), [("decoder", LeakyDecoder), ("heads", LeakyHeads), ("lstm", TwoWayLSTM)])
@pytest.mark.parametrize("kind", ["piano", "melody"])
def test_the_hearing_probes_see_a_leak(kind, part, broken, decoder, first_input):
    for probe, text in ((probe_hearing, r"saw \("), (probe_future, "the future of .* was seen")):
        model = network(kind, decoder=decoder, first_input=first_input)
        owner = model.decoders[0] if part == "decoder" else getattr(model.decoders[0], part)
        owner.__class__ = broken
        with pytest.raises(AssertionError, match=text):
            probe(model)


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
def test_the_gradient_probe_sees_a_leak(decoder, first_input):
    model = network(decoder=decoder, first_input=first_input)
    model.decoders[0].lstm.__class__ = TwoWayLSTM
    with pytest.raises(AssertionError, match="hears of later slots"):
        probe_gradient(model)


def test_the_hearing_probe_sees_a_deaf_head():
    model = unordered(network())
    model.decoders[0].heads.__class__ = DeafHeads
    with pytest.raises(AssertionError, match=r"missed \("):
        probe_hearing(model)


@pytest.mark.parametrize("kind", ["piano", "trio"])
def test_the_hearing_probe_sees_the_wrong_slot_before_a_bar(kind):
    settings = {"decoder": "hierarchical", "first_input": "previous"}
    model = unordered(network(kind, **settings))
    model.__class__ = OwnBar
    with pytest.raises(AssertionError, match=r"(missed|saw) \("):
        probe_hearing(model)
    if kind == "piano":
        model = unordered(network(kind, **settings))
        model.__class__ = LastPlace
        with pytest.raises(AssertionError, match=r"(missed|saw) \("):
            probe_hearing(model)
    model = unordered(network(kind, **settings))
    model.__class__ = ForgetfulRow
    with pytest.raises(AssertionError, match=r"missed \("):
        probe_hearing(model)


@pytest.mark.parametrize("is_flat", [True, False])
def test_one_decoder_is_told_from_three(is_flat):
    """Voices that hear each other where each should have a decoder of its own, and the other way round."""
    taken_for = network("trio", decoder="hierarchical" if is_flat else "flat")
    model = network("trio", decoder="flat" if is_flat else "hierarchical")
    lengths, source = np.full((3, 3), 4), (1, 1, 0)
    tokens, z = clips(3, 3, spec=model.spec)[0], latent(3)
    changed = tokens.clone()
    changed[:, *source] = other(tokens, spec=model.spec)[:, *source]
    with torch.no_grad():
        passes = [model.decode(z, t, torch.from_numpy(lengths)) for t in (tokens, changed)]
    found, wanted = slots_that_differ(*passes, tuple(tokens.shape)), hears(taken_for, source, lengths)
    assert ((found & ~wanted) if is_flat else (wanted & ~found)).any()
    assert np.array_equal(found, hears(model, source, lengths))


# ------------------------------------------------------------------------------- what is fed, what is true
@pytest.mark.parametrize("variant", VARIANTS)
def test_where_something_is_fed_the_truth_does_not_leak(variant):
    """With `fed` as it is, a true token changes later fields of its own slot alone; `fed` is heard as tokens are."""
    model = unordered(network(**variant))
    tokens, lengths = clips(3, 3, spec=model.spec)
    fed, changed, z = other(tokens, 7, model.spec), other(tokens, spec=model.spec), latent(3)
    shape, F = tuple(tokens.shape), tokens.shape[3]
    field = np.arange(F)
    with torch.no_grad():
        plain = model.decode(z, tokens, lengths, fed)
        for source in itertools.product(*map(range, shape[1:])):
            one, shown = tokens.clone(), fed.clone()
            one[:, *source] = changed[:, *source]
            shown[:, *source] = (fed[:, *source] + 1) % model.spec.sizes[source[2]]
            wanted = hears(model, source, lengths.numpy())
            own = np.zeros_like(wanted)
            own[:, source[0], source[1]] = field > source[2]
            found = slots_that_differ(plain, model.decode(z, one, lengths, fed), shape)
            assert np.array_equal(found, wanted & own), f"the true {source} is seen"
            found = slots_that_differ(plain, model.decode(z, tokens, lengths, shown), shape)
            assert np.array_equal(found, wanted & ~own), f"what is fed at {source} is not heard as it should"


@pytest.mark.parametrize("variant", VARIANTS)
def test_hidden_slots_are_not_seen(variant):
    """Where half of the slots are shown as nothing, what truly stands there matters for the slot itself alone."""
    model = unordered(network(**variant))
    tokens, lengths = clips(3, 3, spec=model.spec)
    z, changed = latent(3), other(tokens, spec=model.spec)
    hidden = torch.from_numpy(np.random.default_rng(5).random(tokens.shape[:3]) < 0.5)[..., None]
    both = torch.where(hidden, changed, tokens)
    with torch.no_grad():
        first, second = (model.decode(z, t, lengths, torch.where(hidden, model.nothing, t)) for t in (tokens, both))
        shown = model.decode(z, both, lengths)
    differ = slots_that_differ(first, second, tuple(tokens.shape))
    assert not differ[~hidden[..., 0].numpy()].any()
    assert not differ[..., 0].any()  # the fields of a slot see each other, hidden or not
    more = slots_that_differ(first, shown, tuple(tokens.shape))[..., 0]
    assert more.sum() > len(first.slots) // 4, "nothing was hidden"


@pytest.mark.parametrize("variant", VARIANTS[:12])
def test_what_is_true_fed_is_plain_teacher_forcing(variant):
    model = network(**variant)
    tokens, lengths = clips(3, 3, spec=model.spec)
    with torch.no_grad():
        plain, fed = (model.decode(latent(3), tokens, lengths, f) for f in (None, tokens.clone()))
    assert all(torch.equal(a, b) for a, b in zip(plain.fields, fed.fields, strict=True))


# ----------------------------------------------------------------------------------- batch independence
def probe_batch(model: MusicVAE) -> None:
    """A clip's posterior and logits do not depend on the clips beside it, bit for bit at equal shapes."""
    tokens, lengths = clips(9, model.config.bars, spec=model.spec)
    z = latent(9)
    with torch.no_grad():
        mu, sigma = model.encode(tokens, lengths)
        before = model.decode(z, tokens, lengths)
    for j in (0, 4, 8):
        changed = tokens.clone()
        changed[j] = other(tokens[j], spec=model.spec)
        changed_z = z.clone()
        changed_z[j] += 1
        with torch.no_grad():
            new_mu, new_sigma = model.encode(changed, lengths)
            after = model.decode(changed_z, changed, lengths)
        others = torch.arange(9) != j
        assert torch.equal(mu[others], new_mu[others]), "mu hears of other clips"
        assert torch.equal(sigma[others], new_sigma[others]), "sigma hears of other clips"
        assert not torch.equal(mu[j], new_mu[j])
        differ = slots_that_differ(before, after, tuple(tokens.shape))
        assert not differ[others.numpy()].any(), "logits hear of other clips"
        assert differ[j].any()


def probe_gradient_batch(model: MusicVAE) -> None:
    """∂ mu[i] / ∂ embedding[j ≠ i] and ∂ logits[i] / ∂ z[j ≠ i] are exactly 0, and those of i itself are not."""
    tokens, lengths = clips(3, model.config.bars, spec=model.spec)
    kept: list[Tensor] = []

    def leaf(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    shown = model.encoder.cells if model.encoder.roll else model.encoder.embedding
    hook = shown.register_forward_hook(leaf)
    mu, sigma = model.encode(tokens, lengths)
    hook.remove()
    assert len(kept) == 1
    z = latent(3).requires_grad_()
    logits = model.decode(z, tokens, lengths)
    clip = logits.slots // tokens[0, ..., 0].numel()
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


@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_independence(variant):
    probe_batch(network(**variant))
    probe_gradient_batch(network(**variant))


@pytest.mark.parametrize("encoder", ["flat", "hierarchical"])
def test_batch_independence_of_16_bars(encoder):
    probe_batch(network("piano", 16, encoder=encoder))
    probe_gradient_batch(network("piano", 16, encoder=encoder))


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(
    ("decoder", "find", "text"),
    [
        ("hierarchical", lambda m: m.encoder.mu, "hears? of other clips"),
        ("hierarchical", lambda m: m.conductor.initial, "logits hear of other clips"),
        ("flat", lambda m: m.decoders[0].initial, "logits hear of other clips"),
    ],
)
def test_the_batch_probes_see_a_mixture(kind, decoder, find, text):
    for probe in (probe_batch, probe_gradient_batch):
        model = network(kind, decoder=decoder)
        find(model).__class__ = MixingLinear
        with pytest.raises(AssertionError, match=text):
            probe(model)


def probe_groups(model: MusicVAE) -> None:
    """How the rows are grouped by length changes rounding at most (1e-5 of logits of size 1 to 10)."""
    tokens, lengths = clips(17, model.config.bars, spec=model.spec)
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


class UnsortedDecoder(Decoder):
    """Takes the rows of a group for those that stand there unsorted."""

    def forward(self, *arguments: Any) -> Any:
        fields, index = super().forward(*arguments)
        return fields, index if arguments[-1] == 1 else index.sort().values


@pytest.mark.parametrize("variant", PIANOS)
def test_groups_change_nothing(variant):
    probe_groups(network(**variant))


def test_groups_change_nothing_in_16_bars():
    probe_groups(network("piano", 16))


def test_the_groups_probe_sees_a_wrong_order():
    for part, broken in (("encoder", Unsorted), ("decoder", UnsortedDecoder)):
        for decoder in ("hierarchical", "flat"):
            model = network(decoder=decoder)
            (model.encoder if part == "encoder" else model.decoders[0]).__class__ = broken
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
    assert sorted(plain.logits.slots.tolist()) == real.flatten().nonzero()[:, 0].tolist()
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
@pytest.mark.parametrize("variant", PIANOS)
def test_padding(variant, groups):
    probe_padding(network(**variant, groups=groups))


@pytest.mark.parametrize("encoder", ["flat", "hierarchical"])
def test_padding_in_16_bars(encoder):
    probe_padding(network("piano", 16, encoder=encoder))


@pytest.mark.parametrize(("encoder", "part"), [("hierarchical", "slots"), ("flat", "clip")])
def test_the_padding_probe_sees_heedless_reading(encoder, part):
    model = network(encoder=encoder)
    setattr(model.encoder, part, Heedless(getattr(model.encoder, part)))
    with pytest.raises(AssertionError, match=r"hears the padding|not close"):
        probe_padding(model)


def test_the_padding_probe_sees_padding_before_a_bar():
    model = network(first_input="previous")
    model.__class__ = LastPlace
    with pytest.raises(AssertionError, match="logits hear the padding"):
        probe_padding(model)


def test_bars_are_joined_by_hand():
    """Two clips of two bars of at most three slots: 2 and 1 of them, 1 and 3."""
    tokens = torch.arange(12).reshape(2, 2, 3, 1)
    joined, numbers = join_bars(tokens, torch.tensor([[2, 1], [1, 3]]))
    assert numbers[0, :3].tolist() == [0, 1, 3]
    assert numbers[1, :4].tolist() == [0, 3, 4, 5]
    assert joined[0, :3, 0].tolist() == [0, 1, 3]
    assert joined[1, :4, 0].tolist() == [6, 9, 10, 11]
    assert joined.shape == (2, 6, 1)


# --------------------------------------------------------------------------------------------- use of z
def probe_z(model: MusicVAE) -> None:
    """Every field of every bar, the last one included, depends on every dimension of z, for every clip."""
    U, spec = model.config.bars, model.spec
    tokens, lengths = clips(2, U, spec=spec)
    lengths = lengths.clamp(min=2)
    z = latent(2).requires_grad_()
    logits = model.decode(z, tokens, lengths)
    clip, bar = logits.slots // (U * spec.slots), logits.slots // spec.slots % U
    for b, u, f in np.ndindex(2, U, len(spec.sizes)):
        mine = logits.fields[f][(clip == b) & (bar == u)]
        (gradient,) = torch.autograd.grad(mine.square().sum(), z, retain_graph=True, materialize_grads=True)
        assert (gradient[b] != 0).all(), f"field {f} of bar {u} does not use z"
        assert torch.isfinite(gradient).all()


class Forgetful(Conductor):
    """Has forgotten z by the last bar."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        embeddings, cells = super().forward(z)
        bars = embeddings.unflatten(0, (-1, self.bars))
        return torch.cat([bars[:, :-1], bars[:, -1:].detach()], dim=1).flatten(0, 1), cells


class ForgetfulDecoder(Decoder):
    """Hears of z in its heads and its inputs no more than in its state, which it has lost."""

    def forward(self, given: Tensor, *rest: Any) -> Any:
        return super().forward(given.detach(), *rest)


@pytest.mark.parametrize("variant", VARIANTS)
def test_z_is_used_in_every_bar(variant):
    probe_z(network(**variant))


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
@pytest.mark.parametrize("kind", ["piano", "trio"])
def test_z_is_used_in_every_of_16_bars(kind, decoder, first_input):
    probe_z(network(kind, 16, decoder=decoder, first_input=first_input))


@pytest.mark.parametrize("kind", SPECS)
def test_the_z_probe_sees_forgetfulness(kind):
    model = network(kind)
    model.conductor.__class__ = Forgetful
    with pytest.raises(AssertionError, match="field 0 of bar 2 does not use z"):
        probe_z(model)
    model = network("trio")
    model.decoders[2].__class__ = ForgetfulDecoder
    with pytest.raises(AssertionError, match="field 2 of bar 0 does not use z"):
        probe_z(model)


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
def test_64_bars_are_used_to_the_end(decoder, first_input):
    model = network("piano", 64, scale=1.0, decoder=decoder, first_input=first_input)
    tokens, lengths = clips(2, 64)
    z = latent(2).requires_grad_()
    out = model(tokens, lengths, latent(2))
    assert out.mu.shape == out.sigma.shape == (2, 5)
    assert [f.shape for f in out.logits.fields] == [(int(lengths.sum()), size) for size in SPEC.sizes]
    assert (out.sigma > 0).all()
    row, state = model.start(z)
    assert len(row) == len(state) == (2 if decoder == "flat" else 128)
    if decoder == "hierarchical":
        assert (torch.autograd.grad(row[63].sum(), z)[0][0] != 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_posterior_hears_every_slot_of_every_bar(variant):
    """Each changes mu and sigma, the last bar's last field included; of the piano, clips of two slots a bar."""
    model = network(**variant, bars=5)
    spec = model.spec
    tokens, lengths = clips(1, 5, spec=spec)
    slots = spec.slots
    if spec.end is not None:
        slots = 1
        tokens[..., 1:, :] = torch.tensor([8, 0, 0, 0])
        lengths = torch.full((1, 5), 2)
        if model.encoder.roll:
            tokens[..., 0, 0] %= 8  # the other fields of an end mark are no cells
    with torch.no_grad():
        mu, sigma = model.encode(tokens, lengths)
        for u, s, f in np.ndindex(5, slots, len(spec.sizes)):
            changed = tokens.clone()
            changed[0, u, s, f] = (changed[0, u, s, f] + 1) % spec.sizes[f]
            new_mu, new_sigma = model.encode(changed, lengths)
            assert not torch.equal(mu, new_mu), f"field {f} of slot {s} of bar {u}"
            assert not torch.equal(sigma, new_sigma), f"field {f} of slot {s} of bar {u}"


# ----------------------------------------------------------------------------------------- one-hot inputs
def test_slots_as_they_are_shown():
    """One-hot, the value of a vocabulary's size being nothing; the encoder is shown the members of a binary field."""
    fields = [Field("a", 3), Field("hits", 8, binary=True)]
    tokens = torch.tensor([[0, 0], [2, 5], [3, 8]])
    decoder = SlotEmbedding(fields, 0)
    assert decoder.width == 11
    assert decoder(tokens).tolist() == [
        [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0],
        [0] * 11,
    ]
    encoder = SlotEmbedding(fields, 0, bits=True)
    assert encoder.width == 7
    assert encoder(tokens[:2]).tolist() == [[1, 0, 0, 0, 0, 0, 1], [0, 0, 1, 1, 0, 1, 0]]  # 5 = bits 0 and 2
    assert not list(decoder.parameters())
    assert not list(encoder.parameters())
    learned = SlotEmbedding(fields, 4)
    assert learned.width == 4
    assert [tuple(p.shape) for p in learned.parameters()] == [(4, 4), (9, 4)]
    wanted = learned.tables[0].weight[2] + learned.tables[1].weight[5]
    assert torch.equal(learned(tokens)[1], wanted)


# ------------------------------------------------------------------------------------------------- LSTMs
def test_every_lstm_begins_by_remembering():
    """The two biases of each forget gate add up to 1, the others are small; a layer of its own says so, too."""
    model = MusicVAE(SPECS["trio"], network("trio", layers=3, embedding=0).config)
    layers = [m for m in model.modules() if isinstance(m, nn.LSTM)]
    assert len(layers) == 3 * 2 * 2 + 3 + 3 * 3  # both encoders, both ways; conductor; three decoders
    for layer in layers:
        both = layer.bias_ih_l0 + layer.bias_hh_l0
        H = layer.hidden_size
        assert (both[H : 2 * H] == 1).all()
        assert (both[:H] != 1).all()
        assert (both[2 * H :] != 1).all()


def test_an_lstm_of_layers_of_differing_sizes_by_hand():
    """One step after another, layer by layer, as torch's own cells do; the state is h of all layers, then c."""
    rng = torch.Generator().manual_seed(0)
    lstm = LSTM(2, (4, 2, 5), constant=1)
    assert lstm.state == 2 * (4 + 2 + 5)
    x, state = torch.randn(2, 6, 3, generator=rng), torch.randn(2, 22, generator=rng)
    x[:, :, 2] = x[:, :1, 2]
    h, c = list(state[:, :11].split([4, 2, 5], dim=1)), list(state[:, 11:].split([4, 2, 5], dim=1))
    outputs, steps, now = [], [], state
    with torch.no_grad():
        for t in range(6):
            value = x[:, t]
            for k, layer in enumerate(lstm.layers):
                cell = nn.LSTMCell(layer.input_size, layer.hidden_size)
                cell.load_state_dict({n.removesuffix("_l0"): p for n, p in layer.state_dict().items()})
                h[k], c[k] = cell(value, (h[k], c[k]))
                value = h[k]
            outputs.append(value)
            step, now = lstm.step(x[:, t, :2], lstm.constant(x[:, 0, 2:]), now)
            steps.append(step)
        whole = lstm(x, state)
    torch.testing.assert_close(torch.stack(outputs, dim=1), whole)
    torch.testing.assert_close(torch.stack(steps, dim=1), whole)
    torch.testing.assert_close(torch.cat([*h, *c], dim=1), now)


def test_a_bidirectional_lstm_is_torchs():
    """Packed sequences of torch's own, whose layers have one size; the last layer's final states, both ways."""
    lengths = torch.tensor([4, 1, 6, 2])
    x = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    ours, theirs = BiLSTM(3, (5, 5)), nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True)
    weights = {}
    for k, way in itertools.product(range(2), ("ahead", "behind")):
        for name, value in getattr(ours, way)[k].state_dict().items():
            weights[name.replace("_l0", f"_l{k}") + ("_reverse" if way == "behind" else "")] = value
    theirs.load_state_dict(weights)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        final = theirs(packed)[1][0]  # (layers · ways, N, H)
        torch.testing.assert_close(ours(x, lengths), torch.cat([final[2], final[3]], dim=1))
        final = theirs(x)[1][0]
        torch.testing.assert_close(ours(x), torch.cat([final[2], final[3]], dim=1))


# --------------------------------------------------------------------------------------------- the step
def probe_step(model: MusicVAE, B: int = 3) -> None:
    """Slot by slot with forced tokens, the step gives the logits of teacher forcing (to 1e-4, rounding of sums).

    Clip by clip and bar by bar, as plainly as it can be said.
    """
    U, spec, config = model.config.bars, model.spec, model.config
    tokens, lengths = clips(B, U, spec=spec)
    z = latent(B)
    taught = logits_of(model, z, tokens, lengths)
    with torch.no_grad():
        rows, states = model.start(z)
        assert len(rows) == len(states) == (B if config.decoder == "flat" else B * U)
        for b in range(B):
            before = model.nothing[None]
            for u in range(U):
                if config.decoder == "hierarchical":
                    state, mine = states[b * U + u, None], rows[b * U + u, None]
                elif u == 0:
                    state, mine = states[b, None], rows[b, None]
                if config.decoder == "hierarchical" and config.first_input == "start":
                    before = model.nothing[None]
                for s in range(int(lengths[b, u])):
                    truth = tokens[b, u, s]
                    noise = torch.cat(
                        [1e9 * nn.functional.one_hot(t, n) for t, n in zip(truth, spec.sizes, strict=True)]
                    )
                    drawn, state, logits = model.step(before, mine, state, noise[None].float(), torch.tensor(10.0))
                    assert torch.equal(drawn[0], truth), "not what was forced"
                    wanted = torch.cat(taught[(b * U + u) * spec.slots + s])
                    torch.testing.assert_close(logits[0], wanted, atol=1e-4, rtol=1e-5)
                    before = truth[None]


class OtherHeads(Heads):
    """Computes one thing in training and another when drawing."""

    def forward(self, field: int, x: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        return super().forward(field, x, slot, before) * (1 + 1e-3 * (len(x) == 1))


class LazyLSTM(LSTM):
    """Forgets a little of its state from step to step."""

    def step(self, x: Tensor, constant: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return super().step(x, constant, 0.99 * state)


@pytest.mark.parametrize("variant", VARIANTS)
def test_step_is_teacher_forcing(variant):
    probe_step(unordered(network(**variant)))


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
def test_step_is_teacher_forcing_in_16_bars_with_ordered_slots(decoder, first_input):
    """What the order rules out is −1e9 in both."""
    probe_step(network("piano", 16, decoder=decoder, first_input=first_input), B=2)


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
@pytest.mark.parametrize(("part", "broken"), [("heads", OtherHeads), ("lstm", LazyLSTM)])
def test_the_step_probe_sees_a_difference(part, broken, decoder, first_input):
    model = unordered(network(decoder=decoder, first_input=first_input))
    getattr(model.decoders[0], part).__class__ = broken
    with pytest.raises(AssertionError, match="not close"):
        probe_step(model)


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS[1:])
def test_the_step_probe_sees_the_wrong_slot_before_a_bar(decoder, first_input):
    model = unordered(network(decoder=decoder, first_input=first_input))
    model.__class__ = ForgetfulRow
    with pytest.raises(AssertionError, match="not close"):
        probe_step(model)


# ------------------------------------------------------------------------------ scored and drawn, slot by slot
ALL = [
    dict(zip(("kind", "decoder", "first_input", "encoder", "embedding", "head_hidden"), (k, *d, *rest), strict=True))
    for k, d, rest in itertools.product(SPECS, DECODERS, itertools.product(("flat", "hierarchical"), (0, 6), (0, 16)))
]


@pytest.mark.parametrize("variant", ALL, ids=lambda v: "-".join(map(str, v.values())))
def test_predicted_tokens_are_those_of_teacher_forcing(variant):
    """The likeliest values and the cross-entropies, which add up to a clip's loss (to 1e-3 of some hundred nats)."""
    model = network(**variant, layers=3)
    spec, F = model.spec, len(model.spec.sizes)
    tokens, lengths = clips(3, 3, spec=spec)
    z = latent(3)
    found = predict_tokens(TorchBackend(model), z.numpy(), tokens.numpy(), lengths.numpy())
    with torch.no_grad():
        logits = model.decode(z, tokens, lengths)
    taught = rows(logits)
    predicted, nats = found.tokens.reshape(-1, F), found.nats.reshape(-1, F)
    for slot, fields in taught.items():
        assert predicted[slot].tolist() == [int(field.argmax()) for field in fields]
    assert not np.delete(predicted, list(taught), axis=0).any()
    assert not np.delete(nats, list(taught), axis=0).any()
    assert found.nats.dtype == np.float64
    wanted = recon_nats(logits, tokens, spec).numpy()
    np.testing.assert_allclose(found.nats.sum(axis=(1, 2, 3)), wanted, atol=1e-3)


def lengths_of(tokens: NDArray[np.int64], spec: TokenSpec) -> NDArray[np.int64]:
    if spec.end is None:
        return np.full(tokens.shape[:2], spec.slots)
    return np.minimum((tokens[..., 0] != spec.end).sum(axis=-1) + 1, spec.slots)


@pytest.mark.parametrize("variant", ALL, ids=lambda v: "-".join(map(str, v.values())))
def test_greedy_decoding_agrees_with_itself(variant):
    """Fed its own greedy output, a model expects just that; but for the mark that the cap puts into a full bar."""
    model = network(**variant, layers=3, scale=3.5)
    spec, z = model.spec, 4 * latent(4).numpy()
    drawn = draw_tokens(TorchBackend(model), z)
    lengths = lengths_of(drawn, spec)
    expected = predict_tokens(TorchBackend(model), z, drawn, lengths).tokens
    real = np.arange(spec.slots) < lengths[..., None]
    wrong = (expected != drawn) & real[..., None]
    if spec.end is not None:
        wrong[..., 1:] &= drawn[..., :1] != spec.end  # nothing is asked of the other fields of a mark
        wrong[:, :, -1] = False
    assert not wrong.any()
    assert len(np.unique(drawn.reshape(len(z), -1), axis=0)) > 1, "one clip for every z"


# -------------------------------------------------------------------------------------------- the order
def probe_order(model: MusicVAE) -> int:
    """Drawn freely (temperature 3), the slots of every bar ascend by position, then pitch. Returns how many."""
    noise = generators(5, 40)
    tokens = draw_tokens(TorchBackend(model), prior(noise, 5), noise, temperature=3.0)
    count = 0
    for bar in tokens.reshape(-1, SPEC.slots, len(SPEC.sizes)):
        ended = np.logical_or.accumulate(bar[:, 0] == SPEC.end)
        assert ended[-1], "the last slot is the end mark"
        places = (bar[~ended, 0] * SPEC.sizes[1] + bar[~ended, 1]).tolist()
        assert places == sorted(set(places)), f"{places} does not ascend"
        count += len(places)
    assert (tokens < np.array(SPEC.sizes)).all()
    return count


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("variant", PIANOS)
def test_drawn_slots_ascend(variant, scale):
    """120 bars. A network that is not made to would keep to it in a bar of n notes with odds of about 1 in n!."""
    assert probe_order(network(**variant, scale=scale)) > 60


@pytest.mark.parametrize(("decoder", "first_input"), DECODERS)
def test_the_order_probe_sees_disorder(decoder, first_input):
    with pytest.raises(AssertionError, match="does not ascend"):
        probe_order(unordered(network(scale=1.0, decoder=decoder, first_input=first_input)))


def test_what_is_ruled_out_by_hand():
    heads = network().decoders[0].heads
    first = list(SPEC.sizes)
    cases = [  # slot before, position of this slot → positions and pitches that are left
        (first, 0, range(9), range(6)),
        ([8, 0, 0, 0], 0, range(9), range(6)),  # the mark of the bar before
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


def test_music_is_never_ruled_out():
    """Whatever the decoder, the true values of clips in order have logits above −1e8."""
    for decoder, first_input in DECODERS:
        model = network("piano", 16, decoder=decoder, first_input=first_input)
        tokens, lengths = clips(9, 16)
        with torch.no_grad():
            nats = recon_nats(model.decode(latent(9), tokens, lengths), tokens, SPEC)
        assert (nats < 1e6).all()


@pytest.mark.parametrize(
    ("kind", "slots", "sizes", "binary"),
    [
        ("piano", 65, (17, 88, 64, 8), ()),
        ("melody", 16, (90,), ()),
        ("drums", 16, (512,), ("drums",)),
        ("trio", 16, (90, 90, 512), ()),
    ],
)
def test_the_real_codecs_fit(kind, slots, sizes, binary):
    from musicvae.codecs import codec

    spec = codec(CodecConfig(kind=kind)).spec
    piano = kind == "piano"
    assert (spec.slots, spec.sizes, spec.end, spec.ordered) == (slots, sizes, 16 if piano else None, piano)
    assert tuple(f.name for s in spec.streams for f in s.fields if f.binary) == binary
