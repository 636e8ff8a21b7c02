"""The network and its loss. Knows settings and torch, nothing of music or files."""

from musicvae.model.elbo import Elbo, Scores, elbo, kl_nats, scores
from musicvae.model.vae import MusicVAE, Output, PackedLogits

__all__ = ["Elbo", "MusicVAE", "Output", "PackedLogits", "Scores", "elbo", "kl_nats", "scores"]
