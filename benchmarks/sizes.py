"""The models that are measured: bundled ones, presets, and two at the size of the published small model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicvae.config import Config
from musicvae.presets import PRESETS, preset

if TYPE_CHECKING:
    from musicvae.model import MusicVAE

_LAYERS: dict[str, Any] = dict.fromkeys(("encoder_hidden", "conductor_hidden", "decoder_hidden"), (512, 512))
_AT_SIZE = {"hierdec-mel-512": "hierdec-mel_16bar", "piano-512": "piano-16bar-small"}
"""At the size of the published small model: two layers of 512 in encoder, conductor and decoder, z 256."""
SIZES = (*_AT_SIZE, *PRESETS)
"""Every name that `settings` knows."""
SLOTS = 11.0
"""Notes a bar of LPD-cleansed's pianos, on average: what random weights are made to draw."""


def settings(name: str, *, quick: bool = False) -> Config:
    """Return the settings of a preset or of a model at size; `quick` makes them a toy of the same structure."""
    config = preset(_AT_SIZE.get(name, name))
    model, train = config.model, config.train
    if name in _AT_SIZE:
        model, train = replace(model, z=256, **_LAYERS), replace(train, batch=32)
    if quick:
        model = replace(
            model,
            z=8,
            embedding=min(model.embedding, 8),
            head_hidden=min(model.head_hidden, 8),
            bar_hidden=(8,) * len(model.bar_hidden),
            encoder_hidden=(8,) * len(model.encoder_hidden),
            conductor_hidden=(8,) * len(model.conductor_hidden),
            decoder_hidden=(8,) * len(model.decoder_hidden),
        )
        train = replace(train, batch=4)
    return replace(config, model=model, train=train)


def write(name: str, folder: str, temperature: float, quick: bool) -> None:
    """Write a model of random weights, always the same ones, that draws bars as full as real ones."""
    import torch

    from musicvae.codecs import codec
    from musicvae.model import music_vae
    from musicvae.runtime.export import write_bundle

    config = settings(name, quick=quick)
    torch.manual_seed(0)
    network = music_vae(codec(config.codec).spec, config.model).eval()
    if network.spec.end is not None:
        fill_bars(network, config, temperature, clips=2 if quick else 4)
    write_bundle(network, config, Path(folder), name=name, trained={"steps": 0}, int8=True)


def fill_bars(network: MusicVAE, config: Config, temperature: float, *, clips: int = 4) -> float:
    """Let a piano model of random weights draw SLOTS notes a bar on average; returns how many it comes to.

    It would end its bars anywhere, and a trained one where music does: that decides how long drawing takes. So the bias
    of the end mark's logit is searched; those of the positions fall by 1 each, so that bars do not rush to their end.
    """
    import torch

    from musicvae.runtime.sampling import draw_tokens, generators, prior
    from musicvae.runtime.torch import TorchBackend

    def notes(bias: float) -> float:
        with torch.no_grad():
            head.bias[-1] = bias
        noise = generators(1, clips)
        tokens = draw_tokens(TorchBackend(network), prior(noise, config.model.z), noise, temperature)
        return float((tokens[..., 0] != network.spec.end).sum(axis=-1).mean())

    decoder: Any = network.decoders[0]
    head = decoder.heads.out[0]
    with torch.no_grad():
        head.bias -= temperature * torch.arange(len(head.bias))
    low, high = -30.0, 10.0
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if notes(middle) > SLOTS else (low, middle)
    return notes((low + high) / 2)
