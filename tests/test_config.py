"""Settings: strict loading, overriding, and one text for each."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.config import (
    CodecConfig,
    Config,
    LossConfig,
    ModelConfig,
    SampleConfig,
    TrainConfig,
    docs,
    from_dict,
    override,
    to_dict,
)
from musicvae.errors import ConfigError
from musicvae.tokens import Field, Stream, TokenSpec

SECTIONS = {
    "codec": CodecConfig,
    "model": ModelConfig,
    "loss": LossConfig,
    "train": TrainConfig,
    "sample": SampleConfig,
}


SIZES = st.lists(st.integers(1, 999), min_size=1, max_size=4).map(tuple)


@given(
    st.builds(
        ModelConfig,
        bars=st.integers(2, 64),
        z=st.integers(1, 999),
        encoder=st.sampled_from(["flat", "hierarchical"]),
        first_input=st.sampled_from(["start", "previous"]),
        embedding=st.integers(0, 99),
        head_hidden=st.integers(0, 99),
        bar_hidden=SIZES,
        encoder_hidden=SIZES,
        conductor_hidden=SIZES,
        decoder_hidden=SIZES,
    ),
    st.builds(
        LossConfig,
        beta=st.floats(0, 9),
        beta_schedule=st.sampled_from(["constant", "annealed", "cyclical"]),
        beta_cycles=st.integers(1, 9),
        free_bits=st.floats(0, 999),
    ),
    st.builds(
        CodecConfig,
        kind=st.sampled_from(["piano", "melody", "drums", "trio"]),
        polyphony=st.sampled_from(["highest", "skip"]),
        steps_per_beat=st.sampled_from([4, 8, 12, 24]),
        velocity_bins=st.integers(1, 128),
    ),
)
def test_any_settings_survive_json(model, loss, codec):
    config = Config(model=model, loss=loss, codec=codec, sample=SampleConfig(settle=4))
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
        ({"codec": {"kind": ["piano"]}}, "wanted one of: piano, melody, drums, trio"),
        ({"codec": {"kind": "melodie"}}, "(did you mean 'melody'?)"),
        ({"model": {"decoder_hidden": 512}}, "here: model: decoder_hidden is 512; wanted a list of whole numbers"),
        ({"model": {"decoder_hidden": "512,512"}}, "wanted a list of whole numbers, such as 512,512"),
        ({"model": {"decoder_hidden": [512, 1.5]}}, "here: model: decoder_hidden is 1.5; wanted a whole number"),
        ({"model": {"decoder_hidden": [True]}}, "decoder_hidden is True; wanted a whole number"),
        ({"model": {"decoder_hidden": []}}, "model.decoder_hidden is (); wanted a size of at least 1 for each layer"),
        ({"model": {"layers": 2}}, "here: model: no setting is called 'layers'"),
        ({"model": {"decoder": "flat", "first_input": "previous"}}, "wanted start: a flat decoder is never begun anew"),
        ({"train": {"sampling": "sigmoid"}}, "wanted one of: none, constant, inverse_sigmoid"),
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
        ("model", "z", [0, -1]),
        *(("model", name, [-1]) for name in ("embedding", "head_hidden")),
        *(
            ("model", f"{part}_hidden", [(), (0,), (5, -1), (3, 0, 3)])
            for part in ("bar", "encoder", "conductor", "decoder")
        ),
        ("loss", "beta_rate", [0.0, 1.0, -0.5, float("nan")]),
        ("loss", "beta_cycles", [0, -1]),
        ("train", "hide", [-0.1, 1.1, float("nan")]),
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
    assert override(config, "model.decoder_hidden=512,256,3").model.decoder_hidden == (512, 256, 3)
    assert override(config, "model.decoder_hidden = 512").model.decoder_hidden == (512,)
    assert override(config, "codec.kind=trio").codec.kind == "trio"


def test_settings_that_hang_together():
    """A rate is checked by the schedule that it is for, and only where there is one."""
    for sampling, wrong, right in (
        ("constant", (-0.1, 1.1, float("nan")), (0.0, 0.5, 1.0)),
        ("inverse_sigmoid", (0.0, 0.99, -3.0, float("nan")), (1.0, 2000.0)),
        ("none", (), (0.0, 0.5, 2000.0)),
    ):
        for rate in wrong:
            with pytest.raises(ConfigError, match=rf"train\.sampling_rate is .*; wanted .*\({sampling}\)"):
                TrainConfig(sampling=sampling, sampling_rate=rate)
        for rate in right:
            assert TrainConfig(sampling=sampling, sampling_rate=rate).sampling_rate == rate
    with pytest.raises(ConfigError, match=r"model\.first_input is previous; wanted start"):
        ModelConfig(decoder="flat", first_input="previous")
    assert ModelConfig(decoder="hierarchical", first_input="previous")
    assert ModelConfig(embedding=0, head_hidden=0)


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
        ("model.decoder_hidden=512,x", "--set model.decoder_hidden is 'x'; wanted a whole number"),
        ("model.decoder_hidden=512,", "--set model.decoder_hidden is ''; wanted a whole number"),
        ("model.decoder_hidden=512,0", "wanted a size of at least 1 for each layer"),
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


def test_sizes_of_a_slot():
    spec = TokenSpec(3, (Stream("a", (Field("x", 5), Field("y", 2))), Stream("b", (Field("z", 7),))))
    assert spec.sizes == (5, 2, 7)
