"""The network and its loss. Knows settings and torch, nothing of music or files."""

from musicvae.config import ModelConfig
from musicvae.model.elbo import Elbo, Scores, elbo, kl_nats, scores
from musicvae.model.key import KeyedVAE
from musicvae.model.vae import MusicVAE, Output, PackedLogits
from musicvae.tokens import TokenSpec

__all__ = [
    "Elbo",
    "KeyedVAE",
    "MusicVAE",
    "Output",
    "PackedLogits",
    "Scores",
    "elbo",
    "kl_nats",
    "music_vae",
    "scores",
]


def music_vae(spec: TokenSpec, config: ModelConfig, groups: int = 8) -> MusicVAE:
    """Return the network of these settings; `groups` as for MusicVAE. Raises ConfigError where they do not fit."""
    return (KeyedVAE if config.key == "common" else MusicVAE)(spec, config, groups)
