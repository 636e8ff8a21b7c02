"""A network that hears all music in one key: what a transposition changes, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from musicvae.config import SHIFT_DIMENSIONS, ModelConfig
from musicvae.errors import ConfigError
from musicvae.model import KeyedVAE, elbo, music_vae
from musicvae.model.key import Shifts, nearest_in_key
from musicvae.tokens import Field, Stream, TokenSpec

OUTSIDE, WITHIN = 88, 99
PIANO = TokenSpec(
    9,
    (Stream("piano", (Field("position", 17), Field("pitch", OUTSIDE), Field("duration", 8), Field("velocity", 4))),),
    end=16,
    ordered=True,
)
CONFIG = ModelConfig(
    bars=2,
    z=SHIFT_DIMENSIONS + 12,
    key="common",
    roll=10,
    embedding=6,
    encoder_hidden=(8,),
    conductor_hidden=(8, 8),
    decoder_hidden=(10,),
    head_hidden=8,
)


def clip(*bars: list[tuple[int, int]], move: int = 0) -> tuple[Tensor, Tensor]:
    """Bars of notes (position, pitch) → tokens (1, U, 9, 4), lengths (1, U)."""
    tokens = torch.zeros(1, len(bars), PIANO.slots, 4, dtype=torch.int64)
    tokens[..., 0] = 16
    for u, notes in enumerate(bars):
        for s, (position, pitch) in enumerate(sorted(notes)):
            tokens[0, u, s] = torch.tensor([position, pitch + move, s % 8, s % 4])
    return tokens, torch.tensor([[len(notes) + 1 for notes in bars]])


SONG = ([(0, 39), (4, 43), (8, 46), (12, 51)], [(0, 44), (4, 48), (4, 51), (8, 46), (8, 50), (8, 53)])  # C, F, G


@pytest.fixture
def model() -> KeyedVAE:
    torch.manual_seed(0)
    found = music_vae(PIANO, CONFIG).eval()
    assert isinstance(found, KeyedVAE)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return found


@torch.no_grad()
@pytest.mark.parametrize("move", [-12, -5, -1, 1, 2, 6, 11, 12])
def test_a_transposition_changes_the_first_dimensions_only(model, move):
    mu, sigma = model.encode(*clip(*SONG))
    moved, moved_sigma = model.encode(*clip(*SONG, move=move))
    torch.testing.assert_close(mu[:, SHIFT_DIMENSIONS:], moved[:, SHIFT_DIMENSIONS:])
    torch.testing.assert_close(sigma, moved_sigma)
    shift, other = (model.shifts.of_latent(m[:, :SHIFT_DIMENSIONS]) for m in (mu, moved))
    assert (other - shift).tolist() == [move]


@torch.no_grad()
@pytest.mark.parametrize("move", [-7, 3])
def test_what_is_decoded_is_moved_back(model, move):
    """The logits of a transposed clip are the clip's own logits, transposed."""
    tokens, lengths = clip(*SONG)
    moved, _ = clip(*SONG, move=move)
    logits, others = (model.decode(model.encode(t, lengths)[0], t, lengths) for t in (tokens, moved))
    pitch, other = logits.fields[1], others.fields[1]
    both = slice(max(0, move), OUTSIDE + min(0, move)), slice(max(0, -move), OUTSIDE + min(0, -move))
    inner, outer = other[:, both[0]], pitch[:, both[1]]
    seen = (inner > -1e8) & (outer > -1e8)
    assert seen.any()
    torch.testing.assert_close(inner[seen], outer[seen], rtol=1e-4, atol=1e-4)
    for f in (0, 2, 3):
        torch.testing.assert_close(logits.fields[f], others.fields[f], rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_steps_give_the_logits_of_teacher_forcing(model, temperature):
    tokens, lengths = clip(*SONG, move=-9)
    mu, _ = model.encode(tokens, lengths)
    forced = model.decode(mu, tokens, lengths)
    row, state = model.start(mu)
    before = torch.tensor(PIANO.sizes).repeat(2, 1)
    expected = torch.cat(forced.fields, dim=-1)
    for slot in range(4):  # notes in both bars
        truth = tokens[0, :, slot]
        noise = torch.zeros(2, sum(PIANO.sizes))
        edges = np.cumsum([0, *PIANO.sizes[:-1]])
        if temperature:
            noise.scatter_(1, truth + torch.from_numpy(edges), 1e12)
        drawn, state, logits = model.step(before, row, state, noise, torch.tensor(temperature))
        if not temperature:
            assert drawn[:, 1].tolist() == logits[:, 17 : 17 + OUTSIDE].argmax(dim=1).tolist()
        else:
            assert torch.equal(drawn, truth)
            for bar in range(2):
                at = (forced.slots == bar * PIANO.slots + slot).nonzero().item()
                torch.testing.assert_close(logits[bar], expected[at], rtol=1e-4, atol=1e-4)
        before = truth


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, OUTSIDE - 1), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_every_note_has_its_place_within(pitches, seed):
    shifts = Shifts(OUTSIDE, WITHIN, 16)
    shifts.register_.copy_(torch.tensor([-5.0, 8.0]))
    shifts.profile.copy_(torch.randn(12, generator=torch.Generator().manual_seed(seed)))
    tokens, lengths = clip([(i, pitch) for i, pitch in enumerate(pitches)])
    shift = shifts.of(tokens, lengths)
    inner = torch.tensor(pitches) - shift
    assert inner.min() >= 0
    assert inner.max() < WITHIN
    assert int(shift) % 12 == int(
        shifts.best_key(torch.bincount(torch.tensor(pitches) % 12, minlength=12).float()[None])
    )
    mu, sigma = shifts.to_latent(shift)
    assert mu.shape == sigma.shape == (1, SHIFT_DIMENSIONS)
    if -WITHIN + 12 <= int(shift) <= OUTSIDE - 12:
        assert shifts.of_latent(mu).tolist() == shift.tolist()


@given(st.integers(-100, 100), st.integers(0, 11))
def test_nearest_in_key(pitch, key):
    found = int(nearest_in_key(torch.tensor([float(pitch)]), torch.tensor([key])))
    assert found % 12 == key
    assert abs(found - pitch) <= 6


def test_nothing_stays_nothing():
    shifts = Shifts(OUTSIDE, WITHIN, 16)
    nothing = torch.tensor([list(PIANO.sizes)])
    assert shifts.inside(nothing, torch.tensor([3]))[0, 1] == WITHIN


def test_silence_has_a_shift(model):
    tokens, lengths = clip([], [])
    mu, sigma = model.encode(tokens, lengths)
    assert torch.isfinite(mu).all()
    assert torch.isfinite(sigma).all()


def test_keys_are_told_by_what_the_music_holds():
    """Songs of five black keys in all keys: after measuring they share one profile, so a shift is up to a constant."""
    shifts = Shifts(OUTSIDE, WITHIN, 16)
    scale = (0, 2, 4, 7, 9)
    bars = [[[(i, 30 + move + p) for i, p in enumerate((*scale, 0, 7))]] for move in range(12)]
    parts = [clip(*bar) for bar in bars]
    tokens, lengths = (torch.cat(side) for side in zip(*parts, strict=True))
    shifts.measure(tokens, lengths)
    found = (shifts.of(tokens, lengths) - torch.arange(12)) % 12
    assert len(set(found.tolist())) == 1
    assert shifts.profile.exp().sum() == pytest.approx(1, abs=1e-5)
    assert (shifts.profile.exp() > 0.05).sum() == len(scale)


def test_the_loss_reaches_every_weight(model):
    tokens, lengths = clip(*SONG)
    output = model(tokens, lengths, torch.randn(1, CONFIG.z))
    loss = elbo(output, tokens, PIANO, 1.0, 0.0).loss_nats
    assert torch.isfinite(loss)
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_drums_have_no_key():
    drums = TokenSpec(16, (Stream("drums", (Field("drums", 512, binary=True),)),))
    with pytest.raises(ConfigError, match=r"model\.key"):
        music_vae(drums, CONFIG)


@pytest.mark.parametrize(("z", "holds"), [(13, False), (14, True), (33, True), (34, False)])
def test_how_large_the_latent_vector_may_be(z, holds):
    if holds:
        ModelConfig(bars=2, roll=10, z=z, key="common")
    else:
        with pytest.raises(ConfigError, match=r"model\.z"):
            ModelConfig(bars=2, roll=10, z=z, key="common")
