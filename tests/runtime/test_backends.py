"""torch and onnxruntime compute the same, and every preset gets as far as a clip."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from musicvae.cli import musicvae
from musicvae.codecs import codec
from musicvae.config import PRESETS, ModelConfig
from musicvae.errors import BundleError
from musicvae.model import MusicVAE
from musicvae.music import Score
from musicvae.runtime import export
from musicvae.runtime.engine import Model, load
from musicvae.runtime.export import TOLERANCE, write_bundle
from musicvae.runtime.sampling import draw_tokens, generators, prior
from musicvae.train.loop import train

KINDS = [("hierarchical", 2), ("flat", 2), ("hierarchical", 16), ("flat", 16)]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def pair(request, toy_bundle) -> tuple[Model, Model]:
    """One model in torch and in onnxruntime."""
    folder = toy_bundle(*request.param)
    return load(folder, backend="torch"), load(folder, threads=1)


class Recorder:
    """Passes everything on to a backend and keeps the logits of each step."""

    def __init__(self, backend) -> None:
        self.backend, self.logits = backend, []
        self.spec, self.bars, self.z = backend.spec, backend.bars, backend.z

    def start(self, z):
        return self.backend.start(z)

    def step(self, *inputs):
        slot, state, logits = self.backend.step(*inputs)
        self.logits.append(np.asarray(logits))
        return slot, state, logits


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_one_noise_one_music(pair, temperature):
    """The same notes from both; logits all along the way within 1e-4 (measured: below 4e-6, logits up to 13)."""
    recorders = [Recorder(model.backend) for model in pair]
    drawn = []
    for recorder in recorders:
        noise = generators(6, 9)
        drawn.append(draw_tokens(recorder, prior(noise, recorder.z), noise, temperature))
    assert np.array_equal(*drawn)
    assert len(recorders[0].logits) == len(recorders[1].logits) > 2
    for a, b in zip(*(r.logits for r in recorders), strict=True):
        assert a.shape == b.shape
        real = (a > -1e8) & (b > -1e8)
        assert ((a > -1e8) == (b > -1e8)).all()
        assert np.abs(a - b)[real].max() <= 1e-4
    clips = [model.sample(9, seed=6, temperature=temperature) for model in pair]
    assert clips[0] == clips[1]
    assert sum(map(len, clips[0])) > 30


@pytest.mark.parametrize("B", [1, 2, 9])
def test_one_posterior(pair, B):
    """Mu and sigma within 1e-5, whatever the number of clips and of slots."""
    rng = np.random.default_rng(B)
    spec, U = pair[0].backend.spec, pair[0].bars
    for S in (1, 2, spec.slots):
        tokens = rng.integers(0, spec.sizes, (B, U, S, len(spec.sizes)))
        lengths = rng.integers(1, S + 1, (B, U))
        for a, b in zip(*(model.backend.encode(tokens, lengths) for model in pair), strict=True):
            assert a.shape == b.shape == (B, pair[0].z)
            assert a.dtype == b.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_one_reconstruction(pair, toy_songs):
    for song in toy_songs[-2:]:
        assert pair[0].reconstruct(song) == pair[1].reconstruct(song)


def test_padding_changes_nothing(pair):
    """The graphs, too, read each bar to its own end."""
    score = Score.of([0, 3, 9, 20], [60, 62, 64, 60], 2, bars=pair[0].bars)
    tokens = pair[0].codec.encode(score).tokens[None]
    lengths = (tokens[..., 0] != 16).sum(axis=-1) + 1
    for model in pair:
        short = model.backend.encode(tokens[:, :, : lengths.max()], lengths)
        junk = np.where((np.arange(tokens.shape[2]) < lengths[..., None])[..., None], tokens, 3)
        for a, b in zip(short, model.backend.encode(junk, lengths), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_graphs_hold_no_weights(toy_bundle):
    folder = toy_bundle()
    assert {p.name for p in folder.iterdir()} >= {"config.json", "model.safetensors", "encode.onnx", "step.onnx"}
    for name in ("encode", "start", "step"):
        graph = onnx.load(folder / f"{name}.onnx", load_external_data=False).graph
        large = [t for t in graph.initializer if np.prod(t.dims) > 64]
        assert large
        assert all(t.data_location == onnx.TensorProto.EXTERNAL for t in large)
        assert all(t.data_type == onnx.TensorProto.FLOAT16 for t in large)


# ------------------------------------------------------------------------------------------------ export
def network(config) -> MusicVAE:
    return MusicVAE(codec(config.codec).spec, config.model)


def test_export_refuses_a_foreign_folder(toy_config, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="is not empty and not a model folder; nothing was written"):
        write_bundle(network(toy_config()), toy_config(), tmp_path, name="x", trained={})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(BundleError, match="is a file"):
        write_bundle(network(toy_config()), toy_config(), tmp_path / "thesis.txt", name="x", trained={})


def test_export_replaces_a_model(toy_config, tmp_path):
    config = toy_config()
    for name in ("one", "two"):
        write_bundle(network(config), config, tmp_path / "m", name=name, trained={})
    assert load(tmp_path / "m", threads=1).bundle.name == "two"


def test_export_refuses_weights_that_are_not_finite(toy_config, tmp_path):
    broken = network(toy_config())
    with torch.no_grad():
        next(broken.parameters()).fill_(1e6)  # finite in single precision, not in half
    with pytest.raises(BundleError, match="not finite in half precision; nothing was written"):
        write_bundle(broken, toy_config(), tmp_path / "m", name="x", trained={})
    assert not list((tmp_path / "m").glob("*"))


def test_export_sees_a_graph_that_differs(toy_config, tmp_path, monkeypatch):
    """Negative control of the check that every export makes."""
    forward = export._Graph.forward
    monkeypatch.setattr(
        export._Graph, "forward", lambda self, *x: tuple(y + 2e-4 for y in forward(self, *x)), raising=True
    )
    with pytest.raises(BundleError, match=rf"encode\.onnx differs from torch by .* \(allowed: {TOLERANCE:g}\)"):
        write_bundle(network(toy_config()), toy_config(), tmp_path / "m", name="x", trained={})


def test_weights_of_another_model(toy_bundle, tmp_path):
    shutil.copytree(toy_bundle(), tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["model"]["z"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="do not fit"):
        load(tmp_path / "m", backend="torch")


# ----------------------------------------------------------------------------------------------- presets
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_from_data_to_a_clip(name, toy_data, tmp_path):
    """Shrunk to a toy, otherwise as it is: built, trained two steps, exported, sampled."""
    config = PRESETS[name]
    sizes = {
        field: 4 + i for i, field in enumerate(ModelConfig.__dataclass_fields__) if field not in ("bars", "encoder")
    }
    small = replace(
        config,
        model=replace(config.model, **{**sizes, "layers": config.model.layers}),
        train=replace(config.train, batch=4, validation_clips=4),
    )
    run, out = tmp_path / "run", tmp_path / name
    train(toy_data, small, run, stop_after=2, device="cpu", sample_every=0)
    arguments = ["export", run, "-o", out, "--clips", "0"]
    result = CliRunner().invoke(musicvae, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    model = load(out, threads=1)
    assert (model.bundle.name, model.bundle.config) == (name, small)
    clips = model.sample(2, seed=3)
    assert [c.bars for c in clips] == [config.model.bars] * 2
    assert isinstance(clips[0].save(Path(tmp_path) / "x.mid"), Path)
