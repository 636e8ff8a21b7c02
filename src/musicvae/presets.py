"""Complete settings by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from musicvae.config import CodecConfig, Config, LossConfig, ModelConfig, SampleConfig, TrainConfig, nearest
from musicvae.errors import ConfigError

__all__ = ["PRESETS", "PUBLISHED", "preset"]

# ---------------------------------------------------------------------------------------------- piano
_SMALL = ModelConfig()
_TINY = ModelConfig(
    bars=2,
    z=16,
    embedding=16,
    bar_hidden=(16, 16),
    encoder_hidden=(16, 16),
    conductor_hidden=(16, 16),
    decoder_hidden=(32, 32),
    head_hidden=16,
)
_PIANO_16 = ModelConfig(
    z=512, roll=320, key="common", encoder_hidden=(256,), conductor_hidden=(384, 384), decoder_hidden=(384,)
)
_PIANO_2 = replace(_PIANO_16, bars=2)  # of the same sizes, so that the long one can begin with the short one
_LITTLE = LossConfig(beta=0.02, beta_schedule="annealed", beta_rate=0.9998, free_bits=0)
_PIANO = {
    "piano-16bar-small": Config(train=TrainConfig(lr=2e-3)),
    "piano-2bar-small": Config(
        model=replace(_SMALL, bars=2), loss=LossConfig(free_bits=48), train=TrainConfig(batch=128, lr=2e-3)
    ),
    "piano-16bar": Config(
        model=_PIANO_16,
        loss=replace(_LITTLE, beta=0.06),
        train=TrainConfig(batch=16, transpose_down=0, transpose_up=0, duration_weight=0.5, velocity_weight=0.25),
        sample=SampleConfig(settle=3),
    ),
    "piano-2bar": Config(
        model=_PIANO_2,
        loss=replace(_LITTLE, beta=0.015),
        train=TrainConfig(transpose_down=0, transpose_up=0),
    ),
    "piano-2bar-tiny": Config(
        model=_TINY, loss=LossConfig(free_bits=8), train=TrainConfig(batch=16, validation_clips=64)
    ),
}

# -------------------------------------------------------------------- the paper's family, as published
# Sizes, loss and schedules of the published configurations (magenta/models/music_vae/configs.py). In their networks
# tokens are one-hot, logits a linear map of the decoder's output, and the encoder runs over all steps.
_PUBLISHED = ModelConfig(encoder="flat", embedding=0, head_hidden=0, z=512, encoder_hidden=(2048, 2048))
_TWO_BARS = replace(_PUBLISHED, bars=2, decoder="flat")
_FLAT = replace(_PUBLISHED, decoder="flat", decoder_hidden=(2048, 2048, 2048))
_HIERARCHICAL = replace(_PUBLISHED, conductor_hidden=(1024, 1024), decoder_hidden=(1024, 1024))
_MELODY, _DRUMS, _TRIO = CodecConfig(kind="melody"), CodecConfig(kind="drums"), CodecConfig(kind="trio")
_ANNEALED = LossConfig(beta_schedule="annealed", free_bits=0)
_PAPER = TrainConfig(batch=512, lr_schedule="exponential", warmup=0, transpose_down=0, transpose_up=0)
_SAMPLED = replace(_PAPER, sampling="inverse_sigmoid", sampling_rate=1000)
_MOVED = replace(_SAMPLED, transpose_down=5, transpose_up=5)

_FAMILY = {
    "cat-mel_2bar_small": Config(
        codec=_MELODY,
        model=replace(_TWO_BARS, z=256, encoder_hidden=(512,), decoder_hidden=(256, 256)),
        loss=_ANNEALED,
        train=_MOVED,
    ),
    "cat-mel_2bar_big": Config(
        codec=_MELODY,
        model=replace(_TWO_BARS, encoder_hidden=(2048,), decoder_hidden=(2048, 2048, 2048)),
        loss=replace(_ANNEALED, beta=0.5),
        train=_MOVED,
    ),
    "cat-drums_2bar_small": Config(
        codec=_DRUMS,
        model=replace(_TWO_BARS, z=256, encoder_hidden=(512,), decoder_hidden=(256, 256)),
        loss=replace(_ANNEALED, free_bits=48),
        train=_SAMPLED,
    ),
    "flat-mel_16bar": Config(codec=_MELODY, model=_FLAT, train=_PAPER),
    "hierdec-mel_16bar": Config(codec=_MELODY, model=_HIERARCHICAL, train=_PAPER),
    "flat-trio_16bar": Config(codec=_TRIO, model=_FLAT, train=replace(_PAPER, batch=256)),
    "hierdec-trio_16bar": Config(codec=_TRIO, model=_HIERARCHICAL, train=replace(_PAPER, batch=256)),
}

_FAMILY |= {  # the paper's, but of no published configuration
    "flat-drums_16bar": replace(_FAMILY["flat-mel_16bar"], codec=_DRUMS),
    "hierdec-drums_16bar": replace(_FAMILY["hierdec-mel_16bar"], codec=_DRUMS),
}


_OURS = {  # the paper's other kinds of music with the way past the LSTMs that piano has
    "melody-16bar": Config(
        codec=_MELODY, model=replace(_PIANO_16, key="own", roll=256), loss=_LITTLE, train=TrainConfig()
    ),
    "drums-16bar": Config(
        codec=_DRUMS, model=replace(_PIANO_16, key="own", roll=128), loss=_LITTLE, train=TrainConfig()
    ),
    "trio-16bar": Config(
        codec=_TRIO, model=replace(_PIANO_16, key="own", roll=320), loss=_LITTLE, train=TrainConfig(batch=16)
    ),
}

_FLAT_LAYERS = {"melody": (360, 360), "drums": (360, 360), "trio": (540, 540)}


def _tiny(name: str) -> Config:
    """Return a size of a preset that two cores can train in an hour, flat and hierarchical alike.

    In so few updates plain one-hot tokens and linear logits stay at guessing the commonest token (docs/log.md), so
    these are learned and chained as for piano, bars are read one by one, and batches are small.
    """
    config = _FAMILY[name]
    model = replace(
        config.model,
        z=128 if config.model.bars == 2 else 256,
        encoder="hierarchical",
        embedding=128,
        bar_hidden=(128, 128),
        encoder_hidden=(256, 256),
        conductor_hidden=(256, 256),
        decoder_hidden=(256, 256),
        head_hidden=192,
    )
    if config.model.decoder == "flat" and config.model.bars == 16:
        model = replace(model, decoder_hidden=_FLAT_LAYERS[config.codec.kind])
    batch = 64 if config.model.bars == 2 else 16
    lr = 1e-3 if config.codec.kind == "drums" else 2e-3  # at 2e-3 the posterior of drums dies (docs/log.md)
    return replace(
        config, model=model, train=replace(config.train, batch=batch, lr=lr, lr_schedule="cosine", warmup=100)
    )


PRESETS: Mapping[str, Config] = _PIANO | _OURS | _FAMILY | {f"{name}-tiny": _tiny(name) for name in _FAMILY}
"""Complete settings by name: ours and `-tiny` ones train on two CPU cores, those of the paper want a GPU."""

PUBLISHED: Mapping[str, int] = {
    "cat-mel_2bar_small": 4_423_770,
    "cat-mel_2bar_big": 134_571_098,
    "cat-drums_2bar_small": 4_636_672,
    "flat-mel_16bar": 235_250_778,
    "hierdec-mel_16bar": 176_061_530,
    "flat-trio_16bar": 251_279_028,
    "hierdec-trio_16bar": 230_975_156,
}
"""Parameters of the published configurations: theirs have one bias a gate where torch's LSTM has two."""


def preset(name: str) -> Config:
    """Return a preset by name; raises ConfigError that suggests the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}{nearest(name, PRESETS)}. There are: {', '.join(PRESETS)}")
    return PRESETS[name]
