"""Drawing a value: with noise as Gumbel has it, without noise the likeliest one, of an amount the one in the middle."""

from __future__ import annotations

import pytest
import torch

from musicvae.codecs import codec
from musicvae.config import CodecConfig
from musicvae.model.slots import draw


def logits(*shares: list[float]) -> torch.Tensor:
    return torch.tensor(shares).clamp(min=1e-9).log()


def test_an_amount_without_noise_is_the_median():
    rows = logits([0.4, 0.0, 0.3, 0.3], [0.1, 0.8, 0.1, 0.0], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0])
    nothing = torch.zeros_like(rows)
    assert draw(rows, nothing, amount=False).flatten().tolist() == [0, 1, 3, 0]
    assert draw(rows, nothing, amount=True).flatten().tolist() == [2, 1, 3, 0]


def test_each_row_has_noise_of_its_own():
    rows = logits([0.4, 0.0, 0.3, 0.3], [0.4, 0.0, 0.3, 0.3])
    noise = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 9.0]])
    assert draw(rows, noise, amount=True).flatten().tolist() == [2, 3]


@pytest.mark.parametrize("amount", [False, True])
def test_draws_with_noise_have_the_shares_of_the_distribution(amount):
    torch.manual_seed(0)
    shares = [0.4, 0.0, 0.3, 0.3]
    rows = logits(shares).expand(4000, -1)
    noise = -torch.log(-torch.log(torch.rand(4000, 4).clamp(1e-9, 1 - 1e-7)))
    found = draw(rows, noise, amount).flatten().bincount(minlength=4) / 4000
    assert found.tolist() == pytest.approx(shares, abs=0.03)


def test_of_piano_only_durations_are_amounts():
    fields = codec(CodecConfig()).spec.streams[0].fields
    assert [field.name for field in fields if field.amount] == ["duration"]
