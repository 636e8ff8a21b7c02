"""Every preset is a complete setting, has the size it says, and gets from data to a clip."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from musicvae.cli import musicvae
from musicvae.codecs import codec
from musicvae.config import SHIFT_DIMENSIONS, Config, ModelConfig, from_dict, to_dict
from musicvae.data.dataset import Dataset
from musicvae.errors import ConfigError
from musicvae.evaluate.posteriors import posteriors
from musicvae.model import MusicVAE, music_vae
from musicvae.presets import PRESETS, PUBLISHED, preset
from musicvae.runtime.engine import load
from musicvae.train.loop import train

FAMILY = [f"{d}-{k}_16bar" for d in ("flat", "hierdec") for k in ("mel", "drums", "trio")]


def network(config: Config) -> MusicVAE:
    """Build a network without memory for its weights."""
    with torch.device("meta"):
        return music_vae(codec(config.codec).spec, config.model)


def small(config: Config) -> Config:
    """Shrink a preset to a toy of the same structure: layers, codec, kinds of inputs and heads, loss and schedules."""
    model = config.model
    z = 5 + (SHIFT_DIMENSIONS if model.key == "common" else 0)
    sizes: dict[str, Any] = {"z": z, "embedding": min(model.embedding, 6), "head_hidden": min(model.head_hidden, 7)}
    sizes["roll"] = min(model.roll, 8)
    for number, name in enumerate(("bar_hidden", "encoder_hidden", "conductor_hidden", "decoder_hidden")):
        sizes[name] = tuple(4 + number + layer for layer in range(len(getattr(model, name))))
    return replace(config, model=replace(model, **sizes), train=replace(config.train, batch=4, validation_clips=4))


# ----------------------------------------------------------------------------------------------- settings
def test_the_family_is_complete():
    """Melody, drums and trio, 16 bars, flat and hierarchical, and the 2-bar ones; each also at a size for two cores."""
    assert set(FAMILY) | {"cat-mel_2bar_small", "cat-mel_2bar_big", "cat-drums_2bar_small"} <= set(PRESETS)
    for name in FAMILY:
        model = PRESETS[name].model
        assert (model.bars, model.decoder) == (16, "flat" if name.startswith("flat") else "hierarchical")
        assert PRESETS[name].codec.kind == {"mel": "melody"}.get(name.split("-")[1][:3], name.split("-")[1][:-6])
        tiny = PRESETS[f"{name}-tiny"]
        assert (tiny.codec, tiny.model.bars, tiny.model.decoder) == (PRESETS[name].codec, 16, model.decoder)
    for name in ("piano-16bar-small", "piano-2bar-small", "piano-16bar", "piano-2bar", "piano-2bar-tiny"):
        assert PRESETS[name].codec.kind == "piano"


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    config = preset(name)
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'piano-16bar-smal' \(did you mean 'piano-16bar-small'\?\)\. There are: "):
        preset("piano-16bar-smal")


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_the_published_configurations_have_in_common(name):
    """One-hot tokens, linear logits, the whole clip read at once (music_vae/configs.py)."""
    config = PRESETS[name]
    model, loss, train_settings = config.model, config.loss, config.train
    assert (model.embedding, model.head_hidden, model.encoder) == (0, 0, "flat")
    two = "_2bar" in name
    assert model.bars == (2 if two else 16)
    assert (train_settings.lr, train_settings.lr_min, train_settings.lr_decay) == (1e-3, 1e-5, 0.9999)
    assert train_settings.lr_schedule == "exponential"
    assert train_settings.grad_clip == 1.0
    assert train_settings.batch == (256 if "trio" in name else 512)
    assert (loss.beta_schedule, train_settings.sampling) == (
        ("annealed", "inverse_sigmoid") if two else ("constant", "none")
    )
    assert loss.beta == (0.5 if name == "cat-mel_2bar_big" else 0.2)
    assert loss.free_bits == (256 if not two else 48 if "drums" in name else 0)
    moved = 5 if name.startswith("cat-mel") else 0
    assert (train_settings.transpose_down, train_settings.transpose_up) == (moved, moved)
    if two:
        assert (loss.beta_rate, train_settings.sampling_rate) == (0.99999, 1000)


# ------------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize("name", PRESETS)
def test_the_number_of_parameters_is_what_the_list_says(name):
    from musicvae.cli.presets import parameters

    config = PRESETS[name]
    built = sum(p.numel() for p in network(config).parameters())
    assert parameters(codec(config.codec).spec, config.model) == built
    rows = json.loads(CliRunner().invoke(musicvae, ["presets", "--json"]).output)
    assert rows[name]["parameters"] == built
    assert rows[name]["published_parameters"] == PUBLISHED.get(name)


@pytest.mark.parametrize(("change", "value"), [
    ("head_hidden", 7), ("embedding", 3), ("encoder", "hierarchical"), ("decoder", "hierarchical"),
    ("encoder_hidden", (5,)), ("decoder_hidden", (5, 6, 4)), ("conductor_hidden", (9, 2, 3)), ("bar_hidden", (3, 4, 5)),
    ("z", 9), ("bars", 5),
])  # fmt: skip
@pytest.mark.parametrize("name", ["flat-mel_16bar", "cat-drums_2bar_small", "hierdec-trio_16bar", "piano-2bar-tiny"])
def test_parameters_are_counted_for_any_settings(name, change, value):
    from musicvae.cli.presets import parameters

    config = PRESETS[name]
    model = replace(config.model, **{change: value})
    built = sum(p.numel() for p in network(replace(config, model=model)).parameters())
    assert parameters(codec(config.codec).spec, model) == built


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("cat-mel_2bar_small", "4.42"),
        ("cat-mel_2bar_big", "134.6"),
        ("cat-drums_2bar_small", "4.64"),
        ("flat-mel_16bar", "235.3"),
        ("hierdec-mel_16bar", "176.1"),
        ("flat-trio_16bar", "251.3"),
        ("hierdec-trio_16bar", "231.0"),
    ],
)
def test_published_sizes(name, millions):
    """Ours are those that were counted of the published configurations but for the second bias of each LSTM gate."""
    assert f"{PUBLISHED[name] / 1e6:.{len(millions.partition('.')[2])}f}" == millions
    model = PRESETS[name].model
    parameters = dict(network(PRESETS[name]).named_parameters())
    second = sum(p.numel() for key, p in parameters.items() if "bias_hh" in key)
    assert sum(p.numel() for p in parameters.values()) - second == PUBLISHED[name]
    voices = 3 if "trio" in name and model.decoder == "hierarchical" else 1
    units = 2 * sum(model.encoder_hidden) + voices * sum(model.decoder_hidden)
    if model.decoder == "hierarchical":
        units += sum(model.conductor_hidden)
    assert second == 4 * units


def by_hand(vocabulary: int, config: ModelConfig) -> int:
    """Count a published configuration of one voice as its source builds it: one bias a gate."""

    def lstm(inputs: int, sizes: tuple[int, ...]) -> int:
        return sum((w + h + 1) * 4 * h for w, h in pairwise((inputs, *sizes)))

    def dense(inputs: int, outputs: int) -> int:
        return (inputs + 1) * outputs

    total, width = 0, vocabulary
    for units in config.encoder_hidden:
        total, width = total + 2 * (width + units + 1) * 4 * units, 2 * units
    total, given = total + 2 * dense(width, config.z), config.z
    if config.decoder == "hierarchical":
        total += dense(config.z, 2 * sum(config.conductor_hidden)) + lstm(1, config.conductor_hidden)
        given = config.conductor_hidden[-1]
    total += dense(given, 2 * sum(config.decoder_hidden)) + lstm(vocabulary + given, config.decoder_hidden)
    return total + dense(config.decoder_hidden[-1], vocabulary)


@pytest.mark.parametrize("name", [n for n in PUBLISHED if "mel" in n])
def test_published_sizes_by_hand(name):
    assert by_hand(90, PRESETS[name].model) == PUBLISHED[name]


def test_the_tiny_ones_fit_two_cores_and_are_alike():
    """About as many parameters flat as hierarchical, so that one is compared with the other at one size."""
    for kind in ("mel", "drums", "trio"):
        sizes = [
            sum(p.numel() for p in network(PRESETS[f"{d}-{kind}_16bar-tiny"]).parameters()) for d in ("flat", "hierdec")
        ]
        assert max(sizes) < 12e6
        assert max(sizes) / min(sizes) < 1.1


# ------------------------------------------------------------------------------------------ from data to a clip
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_from_data_to_a_clip(name, toy_data, toy_band_data, tmp_path):
    """Shrunk to a toy, otherwise as it is: built, trained two steps, exported, sampled."""
    config = small(PRESETS[name])
    run, out = tmp_path / "run", tmp_path / name
    data = toy_data if config.codec.kind == "piano" else toy_band_data
    train(data, config, run, stop_after=2, device="cpu", sample_every=0)
    arguments = ["export", run, "-o", out, "--clips", "0"]
    result = CliRunner().invoke(musicvae, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    model = load(out, threads=1)
    assert (model.bundle.name, model.bundle.config) == (name, config)
    clips = model.sample(2, seed=3)
    assert [c.bars for c in clips] == [config.model.bars] * 2
    assert isinstance(clips[0].save(Path(tmp_path) / "x.mid"), Path)
    learnt = Dataset(data).clips("train", model.codec, model.bars)
    mu, sigma = (np.concatenate(part) for part in list(zip(*posteriors(model.backend, learnt, 4096), strict=True))[1:])
    free = slice(SHIFT_DIMENSIONS if config.model.key == "common" else 0, None)  # the others tell the key
    np.testing.assert_allclose(mu.mean(axis=0)[free], 0, atol=0.02)
    np.testing.assert_allclose((mu.var(axis=0) + np.square(sigma).mean(axis=0))[free], 1, rtol=0.02)
    assert f"mean 0 and variance 1 over {len(mu):,} training clips" in (out / "README.md").read_text(encoding="utf-8")
    away = tmp_path / "away"  # a run whose data set is elsewhere is exported as it is
    record = json.loads((run / "run.json").read_text())
    record["data"]["folder"] = str(tmp_path / "nowhere")
    (run / "run.json").write_text(json.dumps(record))
    result = CliRunner().invoke(musicvae, ["export", str(run), "-o", str(away)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "The latent space is as the training left it" in result.output
    assert "mean 0 and variance 1" not in (away / "README.md").read_text(encoding="utf-8")
