"""The torch backend: the network that is being trained, or one loaded from a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from musicvae.config import ModelConfig
from musicvae.errors import BundleError
from musicvae.model import MusicVAE, music_vae
from musicvae.tokens import TokenSpec

__all__ = ["TorchBackend", "load_network", "read_weights"]


class TorchBackend:
    """Computes with torch, on whatever device the network lies."""

    def __init__(self, model: MusicVAE) -> None:
        self.model = model
        self.spec, self.config = model.spec, model.config
        self.device = next(model.parameters()).device

    @torch.no_grad()
    def encode(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z)."""
        mu, sigma = self.model.encode(torch.from_numpy(tokens).to(self.device), torch.from_numpy(lengths))
        return mu.cpu().numpy(), sigma.cpu().numpy()

    @torch.no_grad()
    def start(self, z: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Z (B, Z) → what is the same in all slots of each row (N, C), its initial state: see `MusicVAE.start`."""
        row, state = self.model.start(torch.from_numpy(z).to(self.device))
        return row, state

    @torch.no_grad()
    def step(
        self, before: NDArray[np.int64], row: Tensor, state: Tensor, noise: NDArray[np.float32], temperature: float
    ) -> tuple[NDArray[np.int64], Tensor, NDArray[np.float32]]:
        """Draw the next slot of n rows: see `MusicVAE.step`."""
        slot, state, logits = self.model.step(
            torch.tensor(before, device=self.device),
            row,
            state,
            torch.from_numpy(noise).to(self.device),
            torch.tensor(temperature, device=self.device),
        )
        return slot.cpu().numpy(), state, logits.cpu().numpy()


def load_network(folder: Path, spec: TokenSpec, config: ModelConfig) -> TorchBackend:
    """Open a bundle's weights in float32; raises BundleError if they are absent or do not fit the settings."""
    network = music_vae(spec, config, groups=1).eval()
    try:
        network.load_state_dict(read_weights(folder))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BundleError(f"{folder}: weights and settings do not fit ({reason}). Export the model again") from None
    return TorchBackend(network)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read a bundle's weights as float32; raises BundleError if they cannot be read."""
    path = folder / "model.safetensors"
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path}: cannot be read ({error}). Export the model again") from None
