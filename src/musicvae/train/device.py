"""What a run computes on, and how precisely."""

from __future__ import annotations

import torch

from musicvae.errors import ConfigError

__all__ = ["choose_device", "half_precision"]


def choose_device(name: str) -> torch.device:
    """Return the device of this name; `auto` is a GPU where there is one. Raises ConfigError if it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name}: torch cannot use it here ({str(error).splitlines()[0]}). Use --device cpu"
        ) from None
    return device


def half_precision(device: torch.device, precision: str) -> bool:
    """Return whether to compute in bfloat16; `auto` does where the machine is made for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
