"""Where the latent vectors of music lie, and how far apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Moments"]


class Moments(nn.Module):
    """Moves and scales the latent space, so that the latent vectors of music have mean 0 and variance 1.

    The KL term holds each posterior near N(0, I), but at the weights that music asks for it leaves the mean of all
    posteriors beside 0, and their variance beside 1 (up to 5, where clips differ most); N(0, I) is then not where music
    is. Both are measured once a model has learnt; nothing that it decodes from a latent vector of music is changed by
    it. Has nothing that is learned.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, z: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(z))
        self.register_buffer("deviation", torch.ones(z))

    @torch.no_grad()
    def measure(self, mu: Tensor, sigma: Tensor) -> None:
        """Take posteriors (n, Z), seen with these moments: from now on samples of them have mean 0 and variance 1."""
        self.mean += self.deviation * mu.mean(dim=0)
        self.deviation *= (mu.var(dim=0, correction=0) + sigma.square().mean(dim=0)).sqrt()

    def outside(self, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Posteriors of the network within → posteriors of mean 0 and variance 1, (B, Z) each."""
        return (mu - self.mean) / self.deviation, sigma / self.deviation

    def inside(self, z: Tensor) -> Tensor:
        """Latent vectors → those that the network within decodes, (B, Z)."""
        return self.mean + self.deviation * z
