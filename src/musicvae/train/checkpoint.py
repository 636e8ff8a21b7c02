"""Checkpoints: one safetensors file with weights, optimiser state and the step; replaced atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from musicvae.errors import TrainingError

__all__ = ["Checkpoint", "load", "save"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Checkpoint(NamedTuple):
    """What a checkpoint file holds."""

    weights: dict[str, Tensor]
    """The network's parameters by name."""
    moments: dict[str, Tensor]
    """Adam's running averages, as `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`."""
    state: dict[str, Any]
    """Plain data: `step` (updates made), `seconds` (trained), `best` (lowest validation loss), …"""

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Adam | None = None) -> None:
        """Put weights and optimiser state in place; raises TrainingError if names or shapes differ."""
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise TrainingError(
                f"the checkpoint does not fit the model: {str(error).splitlines()[-1].strip()}"
            ) from None
        if optimizer is None:
            return
        for name, parameter in model.named_parameters():
            optimizer.state[parameter] = {
                "step": torch.tensor(
                    float(self.state["step"]), device=parameter.device if optimizer.defaults["fused"] else "cpu"
                ),
                **{m: self.moments[f"{m}.{name}"].to(parameter.device) for m in _MOMENTS},
            }


def save(path: Path, model: torch.nn.Module, optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Write a checkpoint next to `path` and move it there, so that `path` is whole at any moment."""
    tensors = {f"weights.{name}": value.detach() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = optimizer.state[parameter][moment]
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial, metadata={"state": json.dumps(state)})
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; raises TrainingError if it is absent or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            state = json.loads(file.metadata()["state"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: is not a readable checkpoint ({error.__class__.__name__}: {error})") from None
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    return Checkpoint(weights, {k: v for k, v in tensors.items() if not k.startswith("weights.")}, state)
