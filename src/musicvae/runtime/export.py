"""A network → a bundle.

The ONNX graphs hold no weights: they refer to the tensors of model.safetensors, which stand there once, as a rule in
half precision, and turn them into float32 when a graph is loaded.
"""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save
from torch import Tensor, nn

from musicvae.codecs import codec
from musicvae.config import Config, to_dict
from musicvae.errors import BundleError
from musicvae.model import MusicVAE
from musicvae.runtime.bundle import FORMAT
from musicvae.runtime.onnx import OnnxBackend
from musicvae.runtime.published import published_config, published_weights
from musicvae.runtime.sampling import Backend
from musicvae.runtime.tensorflow import read_checkpoint
from musicvae.runtime.torch import load_network

__all__ = ["TOLERANCE", "import_checkpoint", "write_bundle"]

TOLERANCE = 1e-4
"""Largest difference of any output between torch and onnxruntime on the same weights."""

_OPSET = 17


class _Graph(nn.Module):
    """One function of the network as a module, so that it can be traced."""

    def __init__(self, model: MusicVAE, function: str) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.function == "encode":
            return self.model.encode(inputs[0], inputs[1])
        if self.function == "start":
            return self.model.start(inputs[0])
        return self.model.step(*inputs)


def write_bundle(
    model: MusicVAE, config: Config, folder: Path, *, name: str, trained: dict[str, Any], half: bool = True
) -> None:
    """Write a bundle (see `bundle`) whole or not at all, after checking that onnxruntime computes what torch does.

    Weights are stored in half precision, or as they are (float32) without `half`.

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
        for graph, inputs, names, outputs, axes in _graphs(network):
            proto = _trace(_Graph(network, graph), inputs, names, outputs, axes)
            _share_weights(proto, partial / "model.safetensors")
            _shorten_names(proto)
            (partial / f"{graph}.onnx").write_bytes(proto.SerializeToString())
        content = {"format": FORMAT, "name": name, "config": to_dict(config), "trained": trained}
        (partial / "config.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        _check(partial, network)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    network = MusicVAE(spec, config.model).eval()
    weights = published_weights(tensors, config, spec)
    network.load_state_dict({key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in weights.items()})
    parameters = sum(value.size for value in weights.values())
    trained = {"imported": {"checkpoint": checkpoint.name, "parameters": parameters}}
    write_bundle(network, config, folder, name=name, trained=trained, half=half)
    return config, parameters


def _graphs(model: MusicVAE) -> list[tuple[str, tuple[Tensor, ...], list[str], list[str], dict[str, dict[int, str]]]]:
    """Name, example inputs, names of inputs and outputs, and free axes of each graph."""
    spec, config = model.spec, model.config
    F, width = len(spec.sizes), sum(spec.sizes)
    slots = spec.slots if spec.end is None else 3
    tokens = torch.zeros(1, config.bars, slots, F, dtype=torch.int64)
    given, state = model.start(torch.zeros(2, config.z))
    step = (
        torch.zeros(len(given), F, dtype=torch.int64),
        given.detach(),
        state.detach(),
        torch.zeros(len(given), width),
        torch.tensor(1.0),
    )
    n = {0: "n"}
    return [
        ("encode", (tokens, torch.full((1, config.bars), slots)), ["tokens", "lengths"], ["mu", "sigma"],
         {"tokens": {0: "B", 2: "S"}, "lengths": {0: "B"}, "mu": {0: "B"}, "sigma": {0: "B"}}),
        ("start", (torch.zeros(1, config.z),), ["z"], ["given", "state"], {"z": {0: "B"}, "given": n, "state": n}),
        ("step", step, ["before", "given", "state", "noise", "temperature"], ["slot", "new_state", "logits"],
         dict.fromkeys(("before", "given", "state", "noise", "slot", "new_state", "logits"), n)),
    ]  # fmt: skip


def _trace(
    module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], axes: dict[str, dict[int, str]]
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter keeps one LSTM node a layer and the parameters under their names; the newer one
        # unrolls less predictably. It warns that it is the older one, and of batch sizes, which _check tries.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            buffer,  # type: ignore[arg-type]  # any file is taken, the stub says a path
            input_names=names,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=_OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    return onnx.load_from_string(buffer.getvalue())


def _share_weights(proto: onnx.ModelProto, path: Path) -> None:
    """Let every parameter of a graph refer to its bytes in the safetensors file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    casts = []
    for tensor in proto.graph.initializer:
        entry = header.get(tensor.name.removeprefix("model."))
        if entry is None:
            continue
        begin, end = entry["data_offsets"]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        if entry["dtype"] == "F16":
            half = f"{tensor.name}.half"
            casts.append(helper.make_node("Cast", [half], [tensor.name], to=TensorProto.FLOAT))
            tensor.name, tensor.data_type = half, TensorProto.FLOAT16
        for key, value in (("location", path.name), ("offset", 8 + size + begin), ("length", end - begin)):
            tensor.external_data.add(key=key, value=str(value))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _shorten_names(proto: onnx.ModelProto) -> None:
    """Give what lies between inputs, weights and outputs numbers for names: long names are most of a graph's bytes."""
    graph = proto.graph
    kept = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    short: dict[str, str] = {"": ""}  # an optional input that is left out has no name
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [name if name in kept else short.setdefault(name, str(len(short))) for name in names]


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
        pairs = zip(run(torch_backend), run(onnx_backend), strict=True)
        worst = max(float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()) for a, b in pairs)
        if not worst <= TOLERANCE:
            raise BundleError(f"{folder}: {label}.onnx differs from torch by {worst:.2g} (allowed: {TOLERANCE:g})")
