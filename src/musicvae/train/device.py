"""What a run computes on, how precisely, and how fast that can be."""

from __future__ import annotations

import itertools
import math
import re
import time
from typing import NamedTuple

import torch
from torch import Tensor

from musicvae.errors import ConfigError
from musicvae.train.distributed import Ranks

__all__ = ["Limit", "autocast", "choose_device", "half_precision", "limit", "to_device"]

PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A40": 150e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Operations a second of dense bfloat16 products, from the maker's data sheets, by words of the GPU's name."""
PARTIAL = r"MIG|Laptop|\bD\b"
"""In the names of GPUs that are less than the one they are called after."""

GEMM_SECONDS = 0.1
GEMM_TRIES = 5
"""How long the rate of matrix products is measured, and how often at least: others may be at work meanwhile."""
GEMM_SIZE = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the matrices: enough to keep a device busy."""


class Limit(NamedTuple):
    """The most operations a second that a device reaches."""

    name: str
    """`peak`, from a data sheet, or `GEMM rate`, measured."""
    flops: float
    """Operations a second."""

    @property
    def key(self) -> str:
        """Under which metrics.jsonl has the share of it: `of_peak` or `of_gemm_rate`."""
        return f"of_{self.name.lower().replace(' ', '_')}"


def choose_device(name: str, ranks: Ranks = Ranks()) -> torch.device:  # noqa: B008  (immutable)
    """Return the device of this name; `auto` is a GPU where there is one. Raises ConfigError if it cannot be used.

    Where several processes train, `auto` and `cuda` mean the GPU of each one's own number on its machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.size > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise ConfigError(f"--device {name}: each of the {ranks.size} processes has its own GPU. Use --device cuda")
        if ranks.local >= torch.cuda.device_count():
            raise ConfigError(
                f"--device cuda: this machine has {torch.cuda.device_count()} GPUs, and torchrun started more "
                "processes. Use as many with --nproc-per-node, or --device cpu"
            )
        name = f"cuda:{ranks.local}"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name}: torch cannot use it here ({str(error).splitlines()[0]}). Use --device cpu"
        ) from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def half_precision(device: torch.device, precision: str) -> bool:
    """Return whether to compute in bfloat16; `auto` does where the machine is made for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast(device: torch.device, amp: bool) -> torch.autocast:
    """Return the context in which the network computes, in bfloat16 where `amp`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on the device, without waiting for what the device is doing."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def limit(device: torch.device, amp: bool) -> Limit:
    """Return what a device reaches at most: a known GPU's peak in bfloat16, else its measured rate of products."""
    if device.type == "cuda" and amp:
        name = torch.cuda.get_device_name(device)
        found = [flops for words, flops in PEAKS.items() if re.search(rf"\b{words}\b", name)]
        if found and not re.search(PARTIAL, name):
            return Limit("peak", found[0])
    return Limit("GEMM rate", gemm_rate(device, torch.bfloat16 if amp else torch.float32))


def gemm_rate(device: torch.device, kind: torch.dtype) -> float:
    """Measure the operations a second of products of square matrices: the fastest of GEMM_SECONDS, or of GEMM_TRIES."""
    size = GEMM_SIZE.get(device.type, 4096)
    a, b = (torch.full((size, size), 0.5, dtype=kind, device=device) for _ in range(2))
    out, best = torch.empty_like(a), math.inf
    until = time.perf_counter() + GEMM_SECONDS
    for tries in itertools.count(1):
        began = time.perf_counter()
        torch.mm(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        best = min(best, now - began)
        if now > until and tries >= GEMM_TRIES:
            break
    return 2 * size**3 / best
