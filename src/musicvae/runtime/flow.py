"""A prior that was fitted to the latent vectors of music: noise flows to where music is.

The latent vectors of music do not fill N(0, I) evenly. A small network learns how fast a point of noise must move, at
each time from 0 to 1, to become the latent vector of a clip (flow matching: Lipman et al. 2023; to the same end Mittal
et al. 2021 fit a diffusion model to the latent vectors of MusicVAE). The way is deterministic: noise is turned into the
same clip each time, and noise that is near is turned into clips that are near.

The latent vectors of music differ in length far more than noise does (of 512 dimensions noise has a mean square of 1 ±
.06, music of .5 to 1.7), since bars that are full lie further out than bars that are nearly empty. So the network is
told the size of a point beside the time, and stretches as well as shifts.

Axes: B clips, Z latent dimensions, H units, E numbers that tell the time and the size.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import BundleError

__all__ = ["FILE", "STEPS", "TIMES", "TINY", "TOLD", "Flow", "gaussian", "read_flow", "write_flow"]

FILE = "prior.npz"
"""The fitted prior within a model folder."""
STEPS = 16
"""Steps from noise to music, by the midpoint rule."""
TIMES = 8
"""The time is told by the sines and cosines of so many half turns."""
TOLD = 2 * TIMES + 1
"""E: those, and the logarithm of the size."""
TINY = 1e-4
"""Mean square of a point of size nothing."""


class Flow:
    """A fitted prior. Weights by name: see `musicvae.train.flow.Velocity`, which computes the same.

    In double precision: the last digits of a product depend on how many rows it has, and in single precision such a
    digit can become another note of a clip, which must not depend on how many are asked for.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self.weights = {name: w.astype(np.float64) for name, w in weights.items()}
        self.blocks = sum(name.endswith(".up.weight") for name in weights)

    def __call__(self, noise: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn noise (B, Z) ~ N(0, I) into latent vectors (B, Z)."""
        x, width = np.asarray(noise, dtype=np.float64), 1 / STEPS
        for step in range(STEPS):
            half = x + width / 2 * self.velocity(x, step / STEPS)
            x = x + width * self.velocity(half, (step + 0.5) / STEPS)
        return (self.weights["mean"] + self.weights["deviation"] * x).astype(np.float32)

    def velocity(self, x: NDArray[np.float64], time: float) -> NDArray[np.float64]:
        """Return how fast points (B, Z) move at a time from 0 to 1 → (B, Z)."""
        turns = np.pi * time * np.arange(1, TIMES + 1, dtype=np.float64)
        size = np.log(np.square(x).mean(axis=-1, keepdims=True) / (time**2 + (1 - time) ** 2) + TINY)
        waves = np.concatenate([np.sin(turns), np.cos(turns)])
        told = np.concatenate([np.tile(waves, (len(x), 1)), 2 * size], axis=-1)  # (B, E)
        h = self._linear("into", x)
        for number in range(self.blocks):
            wide = self._linear(f"blocks.{number}.up", _normal(h)) + self._linear(f"blocks.{number}.time", told)
            h = h + self._linear(f"blocks.{number}.down", _silu(wide))
        h = _normal(h)
        gains = self._linear("gains", _silu(self._linear("told", told)))
        stretch = gaussian(time) + gains[:, 1:] + self._linear("stretch", h)
        moved: NDArray[np.float64] = np.exp(gains[:, :1]) * self._linear("shift", h) + stretch * x
        return moved

    def _linear(self, name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return found


def gaussian(time: Any) -> Any:  # a number or a tensor
    """Return the velocity of points at 1, were the latent vectors N(0, I), too: the network adds what they are not."""
    return (2 * time - 1) / (time**2 + (1 - time) ** 2)


def _silu(h: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = h / (1 + np.exp(-h))
    return found


def _normal(h: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows (B, H) to mean 0 and variance 1."""
    h = h - h.mean(axis=-1, keepdims=True)
    found: NDArray[np.float64] = h / np.sqrt((h * h).mean(axis=-1, keepdims=True) + 1e-5)
    return found


def read_flow(folder: Path, z: int) -> Flow | None:
    """Return the fitted prior of a model folder; None where it has none. Raises BundleError if it is damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            weights = {name: file[name].astype(np.float32) for name in file.files if name != "facts"}
        flow = Flow(weights)
        made = flow(np.zeros((1, z), np.float32))
        if made.shape != (1, z) or not np.isfinite(made).all():
            raise ValueError(f"it does not give {z} finite numbers")
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: is damaged ({error}). Fit the prior anew: musicvae prior") from None
    return flow


def write_flow(folder: Path, weights: dict[str, NDArray[np.float32]], facts: dict[str, Any]) -> None:
    """Store a fitted prior in a model folder, in half precision, with how it was fitted."""
    partial = folder / f".{FILE}"
    try:
        with partial.open("wb") as file:
            halves = {name: w.astype(np.float16) for name, w in weights.items()}
            np.savez_compressed(file, facts=np.array(json.dumps(facts)), **halves)  # type: ignore[arg-type]
        partial.replace(folder / FILE)
    except OSError as error:
        raise BundleError(f"{folder}: {FILE} cannot be written ({error.strerror}). Copy the model first") from None
