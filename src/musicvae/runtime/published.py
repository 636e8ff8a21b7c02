"""Checkpoints of the published implementation (magenta music_vae) → weights of this one.

Its network is one setting of ours: one-hot tokens, logits a linear map of the decoder's output, an encoder over all
steps, and a first input of each bar that is the last token of the bar before. What it writes differently: LSTM gates
stand in the order i, g, f, o, with one bias for both kernels, and 1 is added to the forget gate besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicvae.config import Config
from musicvae.errors import BundleError
from musicvae.tokens import TokenSpec

__all__ = ["published_config", "published_weights"]

Tensors = Mapping[str, NDArray[Any]]
Weights = dict[str, NDArray[np.float32]]

_ENCODER = "encoder/cell_{layer}/bidirectional_rnn/{direction}/multi_rnn_cell/cell_0/lstm_cell"
_CONDUCTOR = "decoder/hierarchical_level_0"


def published_config(tensors: Tensors, config: Config, spec: TokenSpec) -> Config:
    """Return a preset's settings with the sizes that a checkpoint has.

    Raises BundleError if the checkpoint is not of this preset's kind: another decoder, another codec.
    """
    model = config.model
    hierarchical = any(name.startswith(_CONDUCTOR) for name in tensors)
    if hierarchical != (model.decoder == "hierarchical"):
        kinds = ("hierarchical", "flat") if hierarchical else ("flat", "hierarchical")
        raise BundleError(
            f"the checkpoint has a {kinds[0]} decoder, the preset a {kinds[1]} one. Choose another --preset"
        )
    found = {
        "z": _get(tensors, "encoder/mu/bias").shape[0],
        "encoder_hidden": _sizes(tensors, _ENCODER.format(layer="{layer}", direction="fw")),
        "decoder_hidden": _sizes(
            tensors,
            _decoder(tensors, 0, model.decoder == "hierarchical", len(spec.streams))
            + "/multi_rnn_cell/cell_{layer}/lstm_cell",
        ),
    }
    if hierarchical:
        found["conductor_hidden"] = _sizes(tensors, _CONDUCTOR + "/cell_{layer}/lstm_cell")
        found["first_input"] = "previous"
    return replace(config, model=replace(model, embedding=0, head_hidden=0, encoder="flat", **found))


def published_weights(tensors: Tensors, config: Config, spec: TokenSpec) -> Weights:
    """Return the weights of a checkpoint under the names of `MusicVAE`, for settings from `published_config`.

    Raises BundleError for a variable that is absent or has another shape than the settings say.
    """
    model, weights = config.model, Weights()
    fields = [field for stream in spec.streams for field in stream.fields]
    inputs = sum(field.size.bit_length() if field.binary else field.size for field in fields)
    for layer, hidden in enumerate(model.encoder_hidden):
        for ours, direction in (("ahead", "fw"), ("behind", "bw")):
            cell = _ENCODER.format(layer=layer, direction=direction)
            weights |= _lstm(tensors, cell, f"encoder.clip.{ours}.{layer}", inputs, hidden)
        inputs = 2 * hidden
    for name in ("mu", "sigma"):
        weights |= _linear(tensors, f"encoder/{name}", f"encoder.{name}", inputs, model.z)
    given = model.z
    if model.decoder == "hierarchical":
        given = model.conductor_hidden[-1]
        weights |= _initial(
            tensors, f"{_CONDUCTOR}/initial_state", "conductor.initial", model.z, model.conductor_hidden
        )
        weights |= _stack(tensors, _CONDUCTOR, "conductor.lstm", 1, model.conductor_hidden)
    decoders = [stream.fields for stream in spec.streams] if model.decoder == "hierarchical" else [tuple(fields)]
    for number, mine in enumerate(decoders):
        root, ours = _decoder(tensors, number, model.decoder == "hierarchical", len(decoders)), f"decoders.{number}"
        sizes = [field.size for field in mine]
        weights |= _initial(tensors, f"{root}/z_to_initial_state", f"{ours}.initial", given, model.decoder_hidden)
        weights |= _stack(tensors, f"{root}/multi_rnn_cell", f"{ours}.lstm", sum(sizes) + given, model.decoder_hidden)
        out = _linear(tensors, f"{root}/output_projection", "", model.decoder_hidden[-1], sum(sizes))
        edges = np.cumsum([0, *sizes])
        for head, (a, b) in enumerate(pairwise(edges)):
            weights |= {f"{ours}.heads.out.{head}{name}": value[a:b] for name, value in out.items()}
    return weights


def _decoder(tensors: Tensors, number: int, hierarchical: bool, decoders: int) -> str:
    """Return where the variables of a decoder stand."""
    if not hierarchical:
        return "decoder"
    return f"core_decoder/core_decoder_{number}/decoder" if decoders > 1 else "core_decoder/decoder"


def _sizes(tensors: Tensors, cell: str) -> tuple[int, ...]:
    """Return the units of each layer of cells named by a pattern."""
    pattern = re.compile(re.escape(cell).replace(r"\{layer\}", r"(\d+)") + "/bias(:0)?")
    found = {int(m[1]): len(value) // 4 for name, value in tensors.items() if (m := pattern.fullmatch(name))}
    if sorted(found) != list(range(len(found))) or not found:
        raise BundleError(
            f"the checkpoint lacks {cell.format(layer=0)}; it is not of this preset. Choose another --preset"
        )
    return tuple(found[i] for i in range(len(found)))


def _stack(tensors: Tensors, root: str, ours: str, inputs: int, hidden: tuple[int, ...]) -> Weights:
    weights = Weights()
    for layer, size in enumerate(hidden):
        weights |= _lstm(tensors, f"{root}/cell_{layer}/lstm_cell", f"{ours}.layers.{layer}", inputs, size)
        inputs = size
    return weights


def _lstm(tensors: Tensors, cell: str, ours: str, inputs: int, hidden: int) -> Weights:
    kernel = _get(tensors, f"{cell}/kernel", (inputs + hidden, 4 * hidden)).T
    bias = _get(tensors, f"{cell}/bias", (4 * hidden,))
    i, g, f, o = (slice(k * hidden, (k + 1) * hidden) for k in range(4))
    order = np.r_[i, f, g, o]
    bias = bias + np.repeat(
        np.array([0, 0, 1, 0], dtype=np.float32), hidden
    )  # the forget gate's, added at run time there
    return {
        f"{ours}.weight_ih_l0": kernel[order, :inputs],
        f"{ours}.weight_hh_l0": kernel[order, inputs:],
        f"{ours}.bias_ih_l0": bias[order],
        f"{ours}.bias_hh_l0": np.zeros_like(bias),
    }


def _initial(tensors: Tensors, dense: str, ours: str, inputs: int, hidden: tuple[int, ...]) -> Weights:
    """Its states stand in the order c, h of each layer; ours h of every layer, then c of every layer."""
    weights = _linear(tensors, dense, ours, inputs, 2 * sum(hidden))
    starts = np.cumsum([0, *(2 * size for size in hidden)])
    c = [np.arange(a, a + size) for a, size in zip(starts, hidden, strict=False)]
    h = [np.arange(a + size, a + 2 * size) for a, size in zip(starts, hidden, strict=False)]
    order = np.concatenate([*h, *c])
    return {name: value[order] for name, value in weights.items()}


def _linear(tensors: Tensors, dense: str, ours: str, inputs: int, outputs: int) -> Weights:
    return {
        f"{ours}.weight": _get(tensors, f"{dense}/kernel", (inputs, outputs)).T,
        f"{ours}.bias": _get(tensors, f"{dense}/bias", (outputs,)),
    }


def _get(tensors: Tensors, name: str, shape: tuple[int, ...] | None = None) -> NDArray[np.float32]:
    value = tensors.get(name, tensors.get(f"{name}:0"))
    if value is None:
        raise BundleError(f"the checkpoint lacks {name}; it is not of this preset. Choose another --preset")
    if shape is not None and value.shape != shape:
        raise BundleError(f"{name} has shape {value.shape}; this preset wants {shape}. Choose another --preset")
    return np.asarray(value, dtype=np.float32)
