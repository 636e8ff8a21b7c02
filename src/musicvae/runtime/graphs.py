"""A function of the network → an ONNX graph without weights of its own.

The graphs refer to the tensors of model.safetensors, which stand there once, as a rule in half precision, and turn them
into what they compute with when they are loaded.
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from musicvae.model import MusicVAE

__all__ = ["FUNCTIONS", "graph", "in_int8"]

_OPSET = 17
_LEVELS = 63
"""An LSTM's output, −1 to 1, in int8 has this many levels on either side: 2 · (2 · 63 + 1) · 127 stays below 2¹⁵, where
the products of processors without VNNI instructions would overflow."""


class _Function(nn.Module):
    """One function of the network as a module, so that it can be traced."""

    def __init__(self, model: MusicVAE, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        if self.name == "encode":
            return self.model.encode(inputs[0], inputs[1])
        if self.name == "start":
            return self.model.start(inputs[0])
        return self.model.step(*inputs)


FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, dict[int, str]], str]] = {
    "encode": (("tokens", "lengths"), ("mu", "sigma"), {"tokens": {0: "B", 2: "S"}, "lengths": {0: "B"}}, "B"),
    "start": (("z",), ("row", "state"), {"z": {0: "B"}}, "n"),
    "step": (
        ("before", "row", "state", "noise", "temperature"),
        ("slot", "new_state", "logits"),
        {name: {0: "n"} for name in ("before", "row", "state", "noise")},
        "n",
    ),
}
"""Of each function of the network: inputs, outputs, free axes of the inputs, first axis of the outputs."""


def graph(model: MusicVAE, function: str, weights: Path) -> onnx.ModelProto:
    """Trace a function of a network whose weights lie in a safetensors file."""
    inputs, outputs, axes, first = FUNCTIONS[function]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter keeps one LSTM node a layer and the parameters under their names; the newer one
        # unrolls less predictably. It warns that it is the older one, and of batch sizes, which write_bundle tries.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Function(model, function),
            _examples(model, function),
            buffer,  # type: ignore[arg-type]  # any file is taken, the stub says a path
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes | {name: {0: first} for name in outputs},
            opset_version=_OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    proto = onnx.load_from_string(buffer.getvalue())
    _share_weights(proto, weights)
    _shorten_names(proto)
    return proto


def in_int8(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph of the step with the products of LSTM outputs and weights in int8; changes what it is given.

    An LSTM's output lies between −1 and 1, so its scale is the same for all rows, and a row does not depend on its
    neighbours. Weights have a scale for each output (Jacob et al. 2018); they are rounded when the graph is loaded.
    """
    nodes, step, middle = [], "step_of_int8", "middle_of_int8"
    maker = {name: node for node in proto.graph.node for name in node.output}
    for node in proto.graph.node:
        if node.op_type != "Gemm" or not any(_meets_output(name) for name in _weights(node.input[1], maker)):
            nodes.append(node)
            continue
        a, b, c = node.input
        names = ("transposed", "high", "low", "depth", "most", "scale", "none", "zero", "weight", "input", "product")
        transposed, high, low, depth, most, scale, none, zero, b8, a8, y = (f"{node.output[0]}.{n}" for n in names)
        if any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
            nodes.append(helper.make_node("Transpose", [b], [transposed], perm=[1, 0]))
            b = transposed
        nodes += [
            helper.make_node("ReduceMax", [b], [high], axes=[0], keepdims=0),
            helper.make_node("ReduceMin", [b], [low], axes=[0], keepdims=0),
            helper.make_node("Neg", [low], [depth]),
            helper.make_node("Max", [high, depth], [most]),
            helper.make_node("Div", [most, "top_of_int8"], [scale]),
            helper.make_node("Sub", [scale, scale], [none]),
            helper.make_node("Cast", [none], [zero], to=TensorProto.INT8),
            helper.make_node("QuantizeLinear", [b, scale, zero], [b8], axis=1),
            helper.make_node("QuantizeLinear", [a, step, middle], [a8]),
            helper.make_node("MatMulIntegerToFloat", [a8, b8, step, scale, middle], [y], domain="com.microsoft"),
            helper.make_node("Add", [y, c], [node.output[0]]),
        ]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    constants: dict[str, NDArray[Any]] = {
        step: np.array(1 / _LEVELS, np.float32),
        middle: np.array(_LEVELS + 1, np.uint8),
        "top_of_int8": np.array(127, np.float32),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def _examples(model: MusicVAE, function: str) -> tuple[Tensor, ...]:
    """Return inputs to trace a function with."""
    spec, config = model.spec, model.config
    slots = spec.slots if spec.end is None else 3
    if function == "encode":
        tokens = torch.zeros(1, config.bars, slots, len(spec.sizes), dtype=torch.int64)
        return tokens, torch.full((1, config.bars), slots)
    if function == "start":
        return (torch.zeros(1, config.z),)
    row, state = model.start(torch.zeros(2, config.z))
    before = torch.zeros(len(row), len(spec.sizes), dtype=torch.int64)
    return before, row.detach(), state.detach(), torch.zeros(len(row), sum(spec.sizes)), torch.tensor(1.0)


def _weights(name: str, maker: dict[str, onnx.NodeProto]) -> list[str]:
    """Return the names of all weights that a value is made of."""
    if name not in maker:
        return [name]
    return [weight for value in maker[name].input for weight in _weights(value, maker)]


def _meets_output(weight: str) -> bool:
    """Whether a weight is multiplied with the output of an LSTM."""
    return ".weight_hh_l0" in weight or ".heads.hidden.weight" in weight


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
    inner = proto.graph
    kept = {value.name for value in (*inner.input, *inner.output, *inner.initializer)}
    short: dict[str, str] = {"": ""}  # an optional input that is left out has no name
    for node in inner.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [name if name in kept else short.setdefault(name, str(len(short))) for name in names]
