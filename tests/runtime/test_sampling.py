"""Drawing and scoring tokens: every clip on its own, in whatever order the rows are worked on."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from musicvae.config import ModelConfig
from musicvae.model import MusicVAE
from musicvae.runtime.sampling import draw_tokens, generators, predict_tokens, prior
from musicvae.runtime.torch import TorchBackend
from musicvae.tokens import Field, Stream, TokenSpec

END = 8
PIANO = TokenSpec(
    7,
    (Stream("piano", (Field("position", 9), Field("pitch", 6), Field("duration", 5), Field("velocity", 3))),),
    end=END,
    ordered=True,
)
TRIO = TokenSpec(4, tuple(Stream(name, (Field(name, size),)) for name, size in (("a", 7), ("b", 6), ("c", 8))))
ORDERS = {  # how the rows stand
    "side by side": {"decoder": "hierarchical", "first_input": "start"},
    "bar by bar": {"decoder": "hierarchical", "first_input": "previous"},
    "flat": {"decoder": "flat"},
}
KINDS = list(itertools.product(("piano", "trio"), ORDERS))


def backend(kind: str = "piano", order: str = "flat", bars: int = 3, *, fewer_ends: float = 0.0) -> TorchBackend:
    config = ModelConfig(
        bars=bars, z=5, embedding=6, head_hidden=6, conductor_hidden=(7, 6), decoder_hidden=(8, 9), **ORDERS[order]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = MusicVAE(PIANO if kind == "piano" else TRIO, config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        if kind == "piano":
            model.decoders[0].heads.out[0].bias[END] -= fewer_ends
    return TorchBackend(model)


class Recorder:
    """Passes everything on to a backend and keeps what each step was given."""

    def __init__(self, inner: TorchBackend) -> None:
        self.inner, self.spec, self.config = inner, inner.spec, inner.config
        self.before: list[NDArray[np.int64]] = []
        self.noise: list[NDArray[np.float32]] = []

    def encode(self, *arguments: Any) -> Any:
        return self.inner.encode(*arguments)

    def start(self, z: Any) -> Any:
        return self.inner.start(z)

    def step(self, before: Any, row: Any, state: Any, noise: Any, temperature: float) -> Any:
        self.before.append(before.copy())
        self.noise.append(noise.copy())
        return self.inner.step(before, row, state, noise, temperature)


def vectors(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, 5)).astype(np.float32)


@pytest.mark.parametrize(("kind", "order"), KINDS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_clip_does_not_depend_on_those_beside_it(kind, order, temperature):
    """Not on how many there are, nor on which: its noise is its own, whenever its bars end."""
    drawing = backend(kind, order)
    z = vectors(6)
    whole = draw_tokens(drawing, z, generators(3, 6), temperature)
    assert whole.shape == (6, 3, drawing.spec.slots, len(drawing.spec.sizes))
    for n in (1, 2, 5):
        assert np.array_equal(draw_tokens(drawing, z[:n], generators(3, n), temperature), whole[:n])
    backwards = draw_tokens(drawing, z[::-1].copy(), generators(3, 6)[::-1], temperature)
    assert np.array_equal(backwards[::-1], whole)
    assert len(np.unique(whole.reshape(6, -1), axis=0)) > 2


@pytest.mark.parametrize(("kind", "order"), KINDS)
def test_clips_may_have_a_temperature_each(kind, order):
    model = backend(kind, order)
    temperatures = np.array([1.0, 0.0, 0.4, 2.0])
    z = prior(generators(0, 4), 5)
    together = draw_tokens(model, z, generators(1, 4), temperatures)
    for i, temperature in enumerate(temperatures):
        alone = draw_tokens(model, z, generators(1, 4), float(temperature))
        assert np.array_equal(together[i], alone[i])
    assert not np.array_equal(together, draw_tokens(model, z, generators(1, 4), 1.0))


@pytest.mark.parametrize(("kind", "order"), KINDS)
def test_seeds_and_temperature(kind, order):
    """At 0 noise is not used; six clips that noise decides agree by chance with odds far below 1 in 10^6."""
    drawing, z = backend(kind, order), vectors(6)
    greedy = draw_tokens(drawing, z)
    assert np.array_equal(draw_tokens(drawing, z, generators(1, 6), 0.0), greedy)
    assert np.array_equal(draw_tokens(drawing, z, generators(1, 6), 1e-9), greedy)
    one, same, other = (draw_tokens(drawing, z, generators(seed, 6), 1.0) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert (one < np.array(drawing.spec.sizes)).all()
    assert (one >= 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_the_noise_of_a_clip_is_drawn_in_one_way(order):
    """Standard Gumbel from each clip's own generator: (all bars, all values) a slot side by side, else (all values)."""
    recorder = Recorder(backend("trio", order))
    draw_tokens(recorder, vectors(2), generators(3, 2), 1.0)
    per_clip = 3 if order == "side by side" else 1
    for clip, rng in enumerate(generators(3, 2)):
        for noise in recorder.noise:
            wanted = -np.log(rng.standard_exponential((per_clip, 21), dtype=np.float32) + np.float32(1e-30))
            assert np.array_equal(noise[clip * per_clip : (clip + 1) * per_clip], wanted)
    assert len(recorder.noise) == (4 if order == "side by side" else 12)


@pytest.mark.parametrize("order", ORDERS)
def test_draws_are_those_of_the_models_distribution(order):
    """The first slot's first field: 4,000 clips of one z; a share lies 5 standard errors off with odds below 10^-5."""
    drawing, n = backend("trio", order, bars=2), 4000
    z = np.repeat(vectors(1), n, axis=0)
    for temperature in (1.0, 0.5):
        drawn = draw_tokens(drawing, z, generators(8, n), temperature)[:, 0, 0, 0]
        noise = np.zeros((1, 21), np.float32)
        row, state = drawing.start(z[:1])
        logits = drawing.step(np.array([[7, 6, 8]]), row[:1], state[:1], noise, 1.0)[2][0, :7] / temperature
        share = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        found = np.bincount(drawn, minlength=7) / n
        assert (np.abs(found - share) <= 5 * np.sqrt(share * (1 - share) / n) + 1e-9).all()
        assert (share > 0.02).sum() > 2, "nothing to choose"


# -------------------------------------------------------------------------------------- the slot before a bar
@pytest.mark.parametrize("order", ORDERS)
def test_what_a_bar_is_shown_first(order):
    """Nothing in the first bar; in the next ones nothing, too, or the last slot of the bar before, as it was drawn."""
    recorder = Recorder(backend("trio", order))
    drawn = draw_tokens(recorder, vectors(1), generators(3, 1), 1.0)[0]  # (U, S, F)
    nothing = [7, 6, 8]
    if order == "side by side":
        assert recorder.before[0].tolist() == [nothing] * 3
        for s in range(1, 4):
            assert np.array_equal(recorder.before[s], drawn[:, s - 1])
        return
    flat = drawn.reshape(12, 3)
    assert recorder.before[0].tolist() == [nothing]
    for s in range(1, 12):
        assert np.array_equal(recorder.before[s][0], flat[s - 1])


@pytest.mark.parametrize("order", ["bar by bar", "flat"])
def test_behind_an_end_mark_the_mark_is_shown_as_music_has_it(order):
    """A decoder that goes on behind a bar has learned from marks whose other fields are 0, so it is shown no others."""
    recorder = Recorder(backend("piano", order, fewer_ends=1.0))
    drawn = draw_tokens(recorder, vectors(20), generators(3, 20), 1.5)
    ends = drawn[..., 0] == END
    assert (drawn[ends][:, 1:] == 0).all()
    shown = np.concatenate(recorder.before)
    shown = shown[shown[:, 0] == END]
    assert len(shown) >= 40
    assert (shown[:, 1:] == 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_the_states_begin_anew_in_each_bar(order):
    """With a conductor, z of other bars' embeddings does not reach a bar; a flat decoder carries its state on."""
    inner = backend("trio", order)
    row, state = inner.start(vectors(1))
    rows = 1 if order == "flat" else 3
    assert len(row) == len(state) == rows
    seen: list[Any] = []

    class Spy(Recorder):
        def step(self, before: Any, row: Any, state: Any, noise: Any, temperature: float) -> Any:
            seen.append((row.clone(), state.clone()))
            return super().step(before, row, state, noise, temperature)

    draw_tokens(Spy(inner), vectors(1))
    if order == "side by side":
        assert torch.equal(seen[0][0], row)
        return
    for t, (now_row, now_state) in enumerate(seen):
        bar, slot = divmod(t, 4)
        assert torch.equal(now_row[0], row[bar % rows])
        anew = slot == 0 and (order == "bar by bar" or bar == 0)
        assert torch.equal(now_state[0], state[bar % rows]) == anew


# ----------------------------------------------------------------------------------------- ends, caps, progress
@pytest.mark.parametrize("order", ORDERS)
def test_a_bar_that_would_not_end_is_ended(order):
    """The last slot of a bar can only be its mark, and the next bar begins behind it."""
    drawing = backend("piano", order, fewer_ends=1e6)
    tokens = draw_tokens(drawing, vectors(4), generators(3, 4), 1.0)
    assert (tokens[:, :, 6] == [END, 0, 0, 0]).all()
    # Without a mark a bar is full, unless its slots ran out of places: then what is left is all as unlikely as the end.
    assert (tokens[:, :, 0, 0] < END).all()
    assert (tokens[..., 0] < END).sum(axis=2).mean() > 3


@pytest.mark.parametrize("order", ORDERS)
def test_bars_that_end_at_once(order):
    drawing = backend("piano", order, fewer_ends=-1e6)
    tokens = draw_tokens(drawing, vectors(4), generators(3, 4), 1.0)
    assert (tokens == [END, 0, 0, 0]).all()


def test_no_clips():
    for kind, order in KINDS:
        drawing = backend(kind, order)
        assert draw_tokens(drawing, vectors(0)).shape == (0, 3, drawing.spec.slots, len(drawing.spec.sizes))


@pytest.mark.parametrize(("kind", "order"), KINDS)
@pytest.mark.parametrize("ends", [-1e6, 0.0, 1e6])
def test_progress_only_rises_and_ends_at_the_total(kind, order, ends):
    seen: list[tuple[int, int]] = []
    drawing = backend(kind, order, fewer_ends=ends)
    draw_tokens(drawing, vectors(5), generators(3, 5), 1.0, lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert done[0] >= 0
    assert done[-1] == totals[0]


# --------------------------------------------------------------------------------------------------- scoring
@pytest.mark.parametrize(("kind", "order"), KINDS)
def test_scores_do_not_depend_on_the_clips_beside(kind, order):
    drawing, z = backend(kind, order), vectors(5)
    tokens = draw_tokens(drawing, z, generators(3, 5), 1.0)
    spec = drawing.spec
    lengths = np.full(tokens.shape[:2], spec.slots)
    if spec.end is not None:
        lengths = np.minimum((tokens[..., 0] != END).sum(axis=-1) + 1, spec.slots)
    whole = predict_tokens(drawing, z, tokens, lengths)
    assert np.isfinite(whole.nats).all()
    assert (whole.nats >= 0).all()
    assert (whole.nats[..., 0].sum(axis=(1, 2)) > 0).all()
    for i in range(5):
        one = predict_tokens(drawing, z[i : i + 1], tokens[i : i + 1], lengths[i : i + 1])
        assert np.array_equal(one.tokens[0], whole.tokens[i])
        np.testing.assert_allclose(one.nats[0], whole.nats[i], atol=1e-4)
    if spec.end is not None:
        ends = (tokens[..., 0] == END) & (np.arange(spec.slots) < lengths[..., None])
        assert (whole.nats[ends][:, 1:] == 0).all()
        assert (whole.nats[ends][:, 0] > 0).any()


def test_generators_and_prior():
    assert np.array_equal(prior(generators(4, 2), 5), prior(generators(4, 7), 5)[:2])
    assert prior(generators(4, 3), 5).dtype == np.float32
    many = prior(generators(4, 4000), 2)
    assert np.abs(many.mean(axis=0)).max() < 5 / np.sqrt(4000)  # odds below 10^-5
    assert np.abs(many.std(axis=0) - 1).max() < 5 / np.sqrt(8000)
