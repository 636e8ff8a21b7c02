"""The loss by hand."""

from __future__ import annotations

import math

import pytest
import torch

from musicvae.model import Output, PackedLogits, elbo, kl_nats, scores
from musicvae.model.elbo import recon_nats
from musicvae.tokens import Field, Stream, TokenSpec

SPEC = TokenSpec(slots=3, streams=(Stream("x", (Field("a", 4), Field("b", 5), Field("c", 2))),), end=3)
# Two clips of one bar: two notes and the end mark; the end mark alone, then padding.
TOKENS = torch.tensor([[[[0, 1, 1], [2, 4, 0], [3, 0, 0]]], [[[3, 0, 0], [3, 0, 0], [3, 0, 0]]]])
SLOTS = torch.tensor([3, 0, 1, 2])  # in any order, as the groups by length leave them


def uniform(value: float = 0.0) -> PackedLogits:
    return PackedLogits(tuple(torch.full((4, size), value) for size in SPEC.sizes), SLOTS)


def output(logits: PackedLogits, mu: list[list[float]], sigma: list[list[float]]) -> Output:
    return Output(torch.tensor(mu), torch.tensor(sigma), torch.tensor(mu), logits)


def test_kl_by_hand():
    mu = torch.tensor([[0.0, 0.0], [1.0, -2.0], [0.0, 0.0]])
    sigma = torch.tensor([[1.0, 1.0], [1.0, 1.0], [math.e, 1.0]])
    kl = kl_nats(mu, sigma).tolist()
    assert kl == pytest.approx([0.0, (1 + 4) / 2, (math.e**2 - 1 - 2) / 2], abs=1e-6)


def test_kl_is_that_of_torch():
    rng = torch.Generator().manual_seed(0)
    mu, sigma = torch.randn(3, 5, generator=rng), torch.rand(3, 5, generator=rng) + 0.1
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(mu, sigma), normal(torch.zeros(5), torch.ones(5))).sum(-1)
    torch.testing.assert_close(kl_nats(mu, sigma), wanted)


def test_a_uniform_model_pays_the_log_of_every_real_field():
    """A note costs all its fields, the end mark its first alone, padding nothing."""
    note, end = math.log(4 * 5 * 2), math.log(4)
    for value in (0.0, 7.0):
        assert recon_nats(uniform(value), TOKENS, SPEC).tolist() == pytest.approx([2 * note + end, end])


def test_where_there_is_no_end_mark_all_fields_count():
    spec = TokenSpec(slots=3, streams=SPEC.streams)
    assert recon_nats(uniform(), TOKENS, spec).tolist() == pytest.approx([3 * math.log(40), math.log(40)])


def test_the_other_fields_of_the_end_mark_cost_and_teach_nothing():
    rng = torch.Generator().manual_seed(0)
    fields = [torch.randn(4, size, generator=rng).requires_grad_() for size in SPEC.sizes]
    nats = recon_nats(PackedLogits(tuple(fields), SLOTS), TOKENS, SPEC)
    changed = TOKENS.clone()
    changed[..., 1:][changed[..., 0] == SPEC.end] = 1
    assert torch.equal(nats, recon_nats(PackedLogits(tuple(fields), SLOTS), changed, SPEC))
    nats.sum().backward()
    ends = torch.tensor([True, False, False, True])  # rows 3 and 2 of SLOTS
    for field in fields[1:]:
        assert (field.grad[ends] == 0).all()
        assert (field.grad[~ends] != 0).any(dim=1).all()
    assert (fields[0].grad != 0).any(dim=1).all()


def test_free_bits_are_taken_off_each_clip():
    """KL of 2 bits and of 10; 4 bits are free: only the second clip pays, for 6 bits."""
    bit = math.log(2)
    mu = [[math.sqrt(2 * 2 * bit), 0.0], [math.sqrt(2 * 6 * bit), math.sqrt(2 * 4 * bit)]]
    out = output(uniform(), mu, [[1.0, 1.0]] * 2)
    recon = (2 * math.log(40) + 2 * math.log(4)) / 2
    loss = elbo(out, TOKENS, SPEC, 0.5, 4)
    assert (loss.kl_nats / bit).tolist() == pytest.approx([2, 10])
    assert loss.loss_nats.item() == pytest.approx(recon + 0.5 * 6 * bit / 2)
    # By batch mean, (2 + 10) / 2 − 4 = 2 bits; by dimension, 2 bits of the 6 alone: neither is this.
    assert loss.recon_nats.mean().item() == pytest.approx(recon)
    without = elbo(out, TOKENS, SPEC, 0, 0)
    assert without.loss_nats.item() == pytest.approx(recon)
    plain = elbo(out, TOKENS, SPEC, 1, 0)
    assert plain.loss_nats.item() == pytest.approx(recon + 6 * bit)


def test_a_certain_model_pays_nothing():
    target = TOKENS.flatten(0, 2)[SLOTS]
    sure = tuple(60 * torch.nn.functional.one_hot(target[:, f], s).float() for f, s in enumerate(SPEC.sizes))
    assert recon_nats(PackedLogits(sure, SLOTS), TOKENS, SPEC).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_scores_and_their_denominators():
    """Right: a of three of four slots, b and c of one of two notes each, all fields of one note."""
    guess = torch.tensor([[3, 1, 1], [0, 1, 1], [2, 0, 1], [1, 0, 0]])  # rows: end, note, note, end
    logits = tuple(torch.nn.functional.one_hot(guess[:, f], s).float() for f, s in enumerate(SPEC.sizes))
    counts = scores(PackedLogits(logits, SLOTS), TOKENS, SPEC)
    assert counts.right.tolist() == [3, 1, 1, 1]
    assert counts.total.tolist() == [4, 2, 2, 2]


def test_scores_without_an_end_mark():
    spec = TokenSpec(slots=3, streams=SPEC.streams)
    target = TOKENS.flatten(0, 2)[SLOTS]
    logits = tuple(torch.nn.functional.one_hot(target[:, f], s).float() for f, s in enumerate(SPEC.sizes))
    counts = scores(PackedLogits(logits, SLOTS), TOKENS, spec)
    assert counts.right.tolist() == counts.total.tolist() == [4, 4, 4, 4]
