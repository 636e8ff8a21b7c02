"""A network → a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from musicvae.codecs import codec
from musicvae.config import Config, to_dict
from musicvae.errors import BundleError
from musicvae.model import MusicVAE, music_vae
from musicvae.runtime.bundle import FORMAT
from musicvae.runtime.graphs import FUNCTIONS, graph, in_int8
from musicvae.runtime.onnx import INT8, OnnxBackend
from musicvae.runtime.published import published_config, published_weights
from musicvae.runtime.sampling import Backend
from musicvae.runtime.tensorflow import read_checkpoint
from musicvae.runtime.torch import load_network

__all__ = ["TOLERANCE", "import_checkpoint", "standardise", "write_bundle"]

TOLERANCE = 1e-4
"""Largest difference of any output between torch and onnxruntime on the same weights."""


def write_bundle(
    model: MusicVAE,
    config: Config,
    folder: Path,
    *,
    name: str,
    trained: dict[str, Any],
    half: bool = True,
    int8: bool = False,
) -> None:
    """Write a bundle (see `bundle`) whole or not at all, after checking that onnxruntime computes what torch does.

    Weights are stored in half precision, or as they are (float32) without `half`. With `int8` there is a graph of the
    step that computes in int8, too: whether it is good enough, only held-out music can tell.

    Raises BundleError if the folder holds something else than a bundle, or if an output differs by more than TOLERANCE.
    """
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder}: is a file; wanted a folder. Choose another with -o")
    if folder.exists() and any(folder.iterdir()) and not (folder / "model.safetensors").exists():
        raise BundleError(f"{folder}: is not empty and not a model folder; nothing was written. Choose another with -o")
    kind = torch.float16 if half else torch.float32
    weights = {k: v.detach().cpu().to(kind).contiguous() for k, v in model.state_dict().items()}
    if not all(torch.isfinite(v).all() for v in weights.values()):
        raise BundleError(f"the weights have values that are not finite in {kind}; nothing was written")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        (partial / "model.safetensors").write_bytes(save(weights))  # save_file would keep it from other users
        network = load_network(partial, model.spec, model.config).model
        for function in FUNCTIONS:
            proto = graph(network, function, partial / "model.safetensors")
            (partial / f"{function}.onnx").write_bytes(proto.SerializeToString())
            if function == "step" and int8:
                (partial / f"{INT8}.onnx").write_bytes(in_int8(proto).SerializeToString())
        content = {"format": FORMAT, "name": name, "config": to_dict(config), "trained": trained}
        (partial / "config.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        _check(partial, network)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def standardise(model: MusicVAE, mu: NDArray[np.float32], sigma: NDArray[np.float32]) -> None:
    """Bring the latent space of a network to mean 0 and variance 1 of these posteriors (n, Z): see `Moments`.

    The dimensions of a shift, which come first, stay as they are.
    """
    own = len(model.moments.mean)
    model.moments.measure(torch.from_numpy(mu[:, -own:]), torch.from_numpy(sigma[:, -own:]))


def import_checkpoint(
    checkpoint: Path, config: Config, folder: Path, *, name: str, half: bool = False
) -> tuple[Config, int]:
    """Write a bundle from a checkpoint of the published implementation.

    `config` is the preset it was trained with; sizes are taken from the checkpoint. Returns the settings of the bundle
    and the number of parameters. Raises BundleError if the checkpoint cannot be read or is not of this preset.
    """
    tensors = read_checkpoint(checkpoint)
    spec = codec(config.codec).spec
    config = published_config(tensors, config, spec)
    network = music_vae(spec, config.model).eval()
    weights = published_weights(tensors, config, spec)
    own = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in weights.items()}
    network.load_state_dict(network.moments.state_dict(prefix="moments.") | own)
    parameters = sum(value.size for value in weights.values())
    trained = {"imported": {"checkpoint": checkpoint.name, "parameters": parameters}}
    write_bundle(network, config, folder, name=name, trained=trained, half=half)
    return config, parameters


def _check(folder: Path, model: MusicVAE) -> None:
    """Compare the graphs with torch on shapes other than those they were traced with."""
    rng, spec, config = np.random.default_rng(0), model.spec, model.config
    torch_backend, onnx_backend = load_network(folder, spec, config), OnnxBackend(folder, spec, config)
    B, S = 3, spec.slots if spec.end is None else min(5, spec.slots)
    tokens = rng.integers(0, spec.sizes, (B, config.bars, S, len(spec.sizes)))
    lengths = rng.integers(1, S + 1, (B, config.bars))
    z = rng.standard_normal((B, config.z), dtype=np.float32)
    rows = B * (1 if model.conductor is None else config.bars)
    noise = rng.gumbel(size=(rows, sum(spec.sizes))).astype(np.float32)
    first = np.tile(np.array(spec.sizes), (rows, 1))
    runs: dict[str, Callable[[Backend], tuple[Any, ...]]] = {
        "encode": lambda backend: backend.encode(tokens, lengths),
        "start": lambda backend: backend.start(z),
        "step": lambda backend: backend.step(first, *backend.start(z), noise, 0.7),
    }
    for label, run in runs.items():
        worst = _difference(run(torch_backend), run(onnx_backend))
        if not worst <= TOLERANCE:
            raise BundleError(f"{folder}: {label}.onnx differs from torch by {worst:.2g} (allowed: {TOLERANCE:g})")


def _difference(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> float:
    """Return the largest difference of any value, as a share of those beyond 1."""
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(ours, theirs, strict=True)]
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(a))).max()) for a, b in pairs)
