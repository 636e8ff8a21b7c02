"""The latent space moved and scaled: what is measured has mean 0 and variance 1, and what is decoded stays."""

from __future__ import annotations

import pytest
import torch

from musicvae.config import ModelConfig
from musicvae.model import music_vae
from musicvae.model.moments import Moments
from musicvae.tokens import Field, Stream, TokenSpec

STEPS = TokenSpec(8, (Stream("melody", (Field("event", 6),)),), end=None, ordered=False)


def posteriors(n: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return 3 + torch.tensor([0.2, 1.0, 4.0]) * torch.randn(n, 3), torch.rand(n, 3) + 0.1


def test_what_was_measured_has_mean_0_and_variance_1():
    mu, sigma = posteriors()
    moments = Moments(3)
    torch.testing.assert_close(moments.outside(mu, sigma), (mu, sigma))
    for _ in range(2):  # measured anew in the space as it is now: nothing is left to move
        moments.measure(*moments.outside(mu, sigma))
        m, s = moments.outside(mu, sigma)
        torch.testing.assert_close(m.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(m.var(dim=0, correction=0) + s.square().mean(dim=0), torch.ones(3))
    torch.testing.assert_close(moments.inside(m), mu)


def test_the_share_of_noise_stays():
    """How much of a dimension is known of a clip, mu beside sigma, is what it was."""
    mu, sigma = posteriors()
    moments = Moments(3)
    moments.measure(mu, sigma)
    m, s = moments.outside(mu, sigma)
    torch.testing.assert_close((m[0] - m[1]) / s[0], (mu[0] - mu[1]) / sigma[0])


@pytest.mark.parametrize("decoder", ["flat", "hierarchical"])
def test_what_is_decoded_stays(decoder):
    torch.manual_seed(1)
    config = ModelConfig(
        bars=2, z=3, decoder=decoder, embedding=4, bar_hidden=(5,), encoder_hidden=(5,), conductor_hidden=(5,)
    )
    model = music_vae(STEPS, config).eval()
    tokens, lengths = torch.randint(0, 6, (7, 2, 8, 1)), torch.full((7, 2), 8)
    with torch.no_grad():
        mu, sigma = model.encode(tokens, lengths)
        before = model.decode(mu, tokens, lengths), model.start(mu)
        model.moments.measure(4 * mu + 1, sigma)  # any others than these
        moved, _ = model.encode(tokens, lengths)
        assert not torch.allclose(moved, mu, atol=0.1)
        after = model.decode(moved, tokens, lengths), model.start(moved)
    torch.testing.assert_close(after, before)
