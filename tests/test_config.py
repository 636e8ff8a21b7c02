"""Settings: strict loading, overriding, and one text for each."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.config import (
    PRESETS,
    CodecConfig,
    Config,
    Field,
    LossConfig,
    ModelConfig,
    Stream,
    TokenSpec,
    TrainConfig,
    docs,
    from_dict,
    override,
    preset,
    to_dict,
)
from musicvae.errors import ConfigError

SECTIONS = {"codec": CodecConfig, "model": ModelConfig, "loss": LossConfig, "train": TrainConfig}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    config = preset(name)
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


@given(
    st.builds(ModelConfig, bars=st.integers(2, 64), z=st.integers(1, 999), encoder=st.sampled_from(["flat"])),
    st.builds(LossConfig, beta=st.floats(0, 9), free_bits=st.floats(0, 999)),
    st.builds(CodecConfig, steps_per_beat=st.sampled_from([4, 8, 12, 24]), velocity_bins=st.integers(1, 128)),
)
def test_any_settings_survive_json(model, loss, codec):
    config = Config(model=model, loss=loss, codec=codec)
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_absent_names_take_their_defaults():
    assert from_dict(Config, {}) == Config()
    assert from_dict(Config, {"model": {"z": 3}}).model == ModelConfig(z=3)
    value = from_dict(Config, {"loss": {"beta": 1}}).loss.beta  # whole numbers stand for numbers
    assert (value, type(value)) == (1.0, float)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_documented(section):
    names = [f.name for f in dataclasses.fields(SECTIONS[section])]
    texts = docs(SECTIONS[section])
    assert list(texts) == names
    assert all(text.strip() and "\n" not in text for text in texts.values())
    assert set(docs(Config)) == set(SECTIONS) == {f.name for f in dataclasses.fields(Config)}


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().model.z = 3  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        Config().model.zz = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"modell": {}}, "here: no setting is called 'modell' (did you mean 'model'?)"),
        ({"train": {"leraning": 1}}, "here: train: no setting is called 'leraning'"),
        ({"train": {"bach": 1}}, "(did you mean 'batch'?)"),
        ({"train": {"lr": "fast"}}, "here: train: lr is 'fast'; wanted a number"),
        ({"train": {"lr": True}}, "here: train: lr is True; wanted a number"),
        ({"train": {"batch": 1.5}}, "here: train: batch is 1.5; wanted a whole number"),
        ({"train": {"batch": 0}}, "train.batch is 0; wanted at least 1"),
        ({"train": {"batch": None}}, "here: train: batch is None"),
        ({"model": {"encoder": "hierarchic"}}, "(did you mean 'hierarchical'?); wanted one of: flat, hierarchical"),
        ({"model": None}, "here: model: wanted settings by name, got None"),
        ([], "here: wanted settings by name, got []"),
        ({"codec": {"kind": ["piano"]}}, "wanted one of: piano"),
    ],
)
def test_what_does_not_fit_is_refused(data, text):
    with pytest.raises(ConfigError) as error:
        from_dict(Config, data, "here")
    assert text in str(error.value)
    assert str(error.value).startswith("here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "name", "values"),
    [
        ("codec", "steps_per_beat", [0, 5, 16]),
        ("codec", "max_notes", [0, 257]),
        ("codec", "pitch_low", [-1, 109]),
        ("codec", "pitch_high", [20, 128]),
        ("codec", "max_duration_bars", [0, 65]),
        ("codec", "velocity_bins", [0, 129]),
        ("model", "bars", [1, 65]),
        *(("model", name, [0, -1]) for name in ("z", "embedding", "bar_hidden", "encoder_hidden", "layers")),
        *(("model", name, [0, -1]) for name in ("conductor_hidden", "decoder_hidden", "head_hidden")),
        *(("loss", name, [-0.1, float("nan")]) for name in ("beta", "free_bits")),
        *(("train", name, [0, -1]) for name in ("epochs", "batch", "validation_clips")),
        *(("train", name, [-1]) for name in ("warmup", "seed", "transpose_down", "transpose_up")),
        *(("train", name, [0.0, -1.0, float("nan")]) for name in ("lr", "grad_clip")),
        ("train", "lr_min", [-1.0, 2.0]),
        ("train", "lr_decay", [0.0, 1.1]),
    ],
)
def test_values_out_of_range_are_refused(section, name, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf"{section}\.\w+ is .*; wanted "):
            SECTIONS[section](**{name: value})


def test_override():
    config = override(override(Config(), "train.lr=3e-4"), " model.encoder = flat ")
    assert (config.train.lr, config.model.encoder) == (3e-4, "flat")
    assert override(config, "train.lr=0.001").train.lr == Config().train.lr
    assert Config().train.lr == 1e-3
    assert type(override(config, "train.lr=1").train.lr) is float


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("train.lr", "'train.lr' is not a setting; write it as name=value"),
        ("train.lrr=1", "--set train.lrr: no setting is called 'lrr' (did you mean 'lr'?)"),
        ("trian.lr=1", "(did you mean 'train'?)"),
        ("train=1", "--set train: name a single setting"),
        ("train.lr.x=1", "--set train.lr.x: name a single setting"),
        ("train.batch=many", "--set train.batch is 'many'; wanted a whole number"),
        ("train.batch=1.5", "wanted a whole number"),
        ("model.encoder=fat", "(did you mean 'flat'?)"),
        ("train.batch=-1", "train.batch is -1; wanted at least 1"),
        ("train.lr=nan", "train.lr is nan; wanted above 0"),
        ("=1", "no setting is called ''"),
    ],
)
def test_wrong_overrides_are_refused(assignment, text):
    with pytest.raises(ConfigError) as error:
        override(Config(), assignment)
    assert text in str(error.value)


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'piano-16bar-smal' \(did you mean 'piano-16bar-small'\?\)\. There are: "):
        preset("piano-16bar-smal")


def test_sizes_of_a_slot():
    spec = TokenSpec(3, (Stream("a", (Field("x", 5), Field("y", 2))), Stream("b", (Field("z", 7),))))
    assert spec.sizes == (5, 2, 7)
