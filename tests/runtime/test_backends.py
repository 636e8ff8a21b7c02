"""torch and onnxruntime compute the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from musicvae.codecs import codec
from musicvae.errors import BundleError
from musicvae.model import MusicVAE
from musicvae.music import Score
from musicvae.runtime import export, graphs
from musicvae.runtime.engine import Model, load
from musicvae.runtime.export import TOLERANCE, write_bundle
from musicvae.runtime.onnx import INT8
from musicvae.runtime.sampling import draw_tokens, generators, predict_tokens, prior

PREVIOUS = {"first_input": "previous"}
FLAT = {"decoder": "flat"}
PLAIN = {"embedding": 0, "head_hidden": 0}  # as published
KINDS: list[tuple[str, int, dict[str, Any]]] = [
    ("hierarchical", 2, {}),
    ("flat", 2, {}),
    ("hierarchical", 16, {}),
    ("flat", 16, {}),
    ("hierarchical", 2, PREVIOUS),
    ("flat", 3, FLAT),
    ("hierarchical", 2, {"roll": 12}),
    ("hierarchical", 2, {"roll": 12, **PREVIOUS}),
    ("hierarchical", 2, {"roll": 12, "key": "common", "z": 20}),
    ("flat", 3, {"key": "common", "z": 20, **FLAT}),
    ("hierarchical", 2, {"kind": "drums", "roll": 12}),
    ("hierarchical", 2, {"kind": "trio", "roll": 12, **PREVIOUS}),
    ("flat", 2, {"kind": "melody", **FLAT, **PLAIN}),
    ("hierarchical", 2, {"kind": "melody"}),
    ("flat", 2, {"kind": "drums", **FLAT, **PLAIN}),
    ("hierarchical", 2, {"kind": "drums", **PREVIOUS, "head_hidden": 0}),
    ("flat", 3, {"kind": "trio", **PREVIOUS, **PLAIN}),
    ("hierarchical", 2, {"kind": "trio", **FLAT, "embedding": 0}),
]


@pytest.fixture(
    scope="module", params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}-{'-'.join(map(str, kind[2].values()))}"
)
def pair(request, toy_bundle) -> tuple[Model, Model]:
    """One model in torch and in onnxruntime."""
    encoder, bars, structure = request.param
    folder = toy_bundle(encoder, bars, **structure)
    return load(folder, backend="torch"), load(folder, threads=1)


def song(model: Model, bars: int, seed: int) -> Score:
    """Music that a model's codec holds."""
    spec = model.codec.spec
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, spec.sizes, (bars, spec.slots, len(spec.sizes)))
    if spec.end is None:
        tokens[rng.random(tokens.shape) < 0.6] = 0
    return model.codec.decode(tokens, tempo=77)


class Recorder:
    """Passes everything on to a backend and keeps the logits of each step."""

    def __init__(self, backend) -> None:
        self.backend, self.logits = backend, []
        self.spec, self.config = backend.spec, backend.config

    def start(self, z):
        return self.backend.start(z)

    def step(self, *inputs):
        slot, state, logits = self.backend.step(*inputs)
        self.logits.append(np.asarray(logits))
        return slot, state, logits


@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_one_noise_one_music(pair, temperature):
    """The same notes from both; logits all along the way within 1e-4 (measured: below 4e-6, logits up to 13).

    With a roll there are logits of 1,000 and more, of which float32 knows no more than four places.
    """
    recorders = [Recorder(model.backend) for model in pair]
    drawn = []
    for recorder in recorders:
        noise = generators(6, 9)
        drawn.append(draw_tokens(recorder, prior(noise, recorder.config.z), noise, temperature))
    assert np.array_equal(*drawn)
    assert len(recorders[0].logits) == len(recorders[1].logits) > 2
    assert len(np.unique(drawn[0].reshape(9, -1), axis=0)) > 1
    for a, b in zip(*(r.logits for r in recorders), strict=True):
        assert a.shape == b.shape
        real = (a > -1e8) & (b > -1e8)
        assert ((a > -1e8) == (b > -1e8)).all()
        assert (np.abs(a - b) / np.maximum(1, np.abs(a)))[real].max() <= 1e-4
    clips = [model.sample(9, seed=6, temperature=temperature) for model in pair]
    assert clips[0] == clips[1]
    assert sum(map(len, clips[0])) > 10


@pytest.mark.parametrize("B", [1, 2, 9])
def test_one_posterior(pair, B):
    """Mu and sigma within 1e-5, whatever the number of clips and of slots."""
    rng = np.random.default_rng(B)
    spec, U = pair[0].backend.spec, pair[0].bars
    for S in (1, 2, spec.slots) if spec.end is not None else (spec.slots,):
        tokens = rng.integers(0, spec.sizes, (B, U, S, len(spec.sizes)))
        lengths = rng.integers(1, S + 1, (B, U)) if spec.end is not None else np.full((B, U), S)
        for a, b in zip(*(model.backend.encode(tokens, lengths) for model in pair), strict=True):
            assert a.shape == b.shape == (B, pair[0].z)
            assert a.dtype == b.dtype == np.float32
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_one_reconstruction(pair):
    for seed in range(2):
        music = song(pair[0], 7, seed)
        assert len(music) > 10
        one, other = (model.reconstruct(music) for model in pair)
        assert one == other
        assert (one.bars, one.tempo) == (7, 77)


def test_one_score(pair):
    """Teacher-forced expectations: the same tokens, cross-entropies within 1e-4."""
    rng = np.random.default_rng(4)
    spec, U = pair[0].backend.spec, pair[0].bars
    noise = generators(4, 3)
    z = prior(noise, pair[0].z)
    tokens = draw_tokens(pair[0].backend, z, noise, 2.0)
    lengths = np.full((3, U), spec.slots)
    if spec.end is not None:
        lengths = np.minimum((tokens[..., 0] != spec.end).sum(axis=-1) + 1, spec.slots)
    z += rng.standard_normal(z.shape, dtype=np.float32)
    one, other = (predict_tokens(model.backend, z, tokens, lengths) for model in pair)
    assert np.array_equal(one.tokens, other.tokens)
    np.testing.assert_allclose(one.nats, other.nats, atol=1e-4)
    assert one.nats.sum() > 10


def test_padding_changes_nothing(pair):
    """The graphs, too, read each bar to its own end."""
    if pair[0].codec.spec.end is None:
        pytest.skip("every bar is full")
    score = Score.of([0, 3, 9, 20], [60, 62, 64, 60], 2, bars=pair[0].bars)
    tokens = pair[0].codec.encode(score).tokens[None]
    lengths = (tokens[..., 0] != 16).sum(axis=-1) + 1
    for model in pair:
        short = model.backend.encode(tokens[:, :, : lengths.max()], lengths)
        junk = np.where((np.arange(tokens.shape[2]) < lengths[..., None])[..., None], tokens, 3)
        for a, b in zip(short, model.backend.encode(junk, lengths), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("structure", [{}, {"kind": "trio", **PREVIOUS, **PLAIN}, {"kind": "melody", **FLAT, **PLAIN}])
def test_the_graphs_hold_no_weights(toy_bundle, structure):
    folder = toy_bundle("flat", 3 if structure.get("kind") == "trio" else 2, **structure)
    assert {p.name for p in folder.iterdir()} >= {"config.json", "model.safetensors", "encode.onnx", "step.onnx"}
    for name in ("encode", "start", "step"):
        graph = onnx.load(folder / f"{name}.onnx", load_external_data=False).graph
        large = [t for t in graph.initializer if np.prod(t.dims) > 64]
        assert large
        assert all(t.data_location == onnx.TensorProto.EXTERNAL for t in large)
        assert all(t.data_type == onnx.TensorProto.FLOAT16 for t in large)


# -------------------------------------------------------------------------------------------------- int8
WIDE = {"decoder_hidden": (96, 64), "conductor_hidden": (32, 24)}
INT8_KINDS = [
    {},
    {"kind": "piano", "head_hidden": 0},
    {"kind": "piano", "roll": 12},
    {"kind": "melody", "embedding": 0, "head_hidden": 0},
    {"kind": "drums", "decoder": "flat"},
    {"kind": "trio"},
]


@pytest.fixture(scope="module", params=INT8_KINDS, ids=lambda kind: "-".join(map(str, kind.values())) or "piano")
def rounded(request, toy_config, tmp_path_factory) -> tuple[Model, Model]:
    """One model in float32 and in int8, with LSTMs that are wide enough for errors to cancel."""
    config = toy_config(**request.param)
    config = replace(config, model=replace(config.model, **WIDE))
    folder = tmp_path_factory.mktemp("int8") / "m"
    torch.manual_seed(2)
    made = network(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3)  # outputs of LSTMs as large as a trained network's
    write_bundle(made, config, folder, name="x", trained={}, int8=True)
    return load(folder, threads=1, precision="float32"), load(folder, threads=1)


def test_int8_is_near_float32(rounded):
    """Logits within a tenth of their spread, as toys go; not equal, or it would not be int8."""
    exact, int8 = (model.backend for model in rounded)
    spec = exact.spec
    rng = np.random.default_rng(0)
    row, state = exact.start(rng.standard_normal((8, exact.config.z), dtype=np.float32))
    before = rng.integers(0, spec.sizes, (len(row), len(spec.sizes)))
    noise = np.zeros((len(row), sum(spec.sizes)), np.float32)
    for _ in range(4):
        (slot, state_a, a), (other, _, b) = (x.step(before, row, state, noise, 0.0) for x in (exact, int8))
        same = (slot == other).all(axis=1)  # what is impossible in a slot follows from what was drawn before in it
        assert same.mean() > 0.7
        a, b = a[same], b[same]
        real = a > -1e8
        assert (real == (b > -1e8)).all()
        error = np.sqrt(np.mean((a - b)[real] ** 2)) / a[real].std()
        assert 0 < error < 0.1
        before, state = slot, state_a


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_in_int8_a_clip_does_not_depend_on_those_beside_it(rounded, temperature):
    backend = rounded[1].backend
    z = 3 * np.random.default_rng(1).standard_normal((5, backend.config.z), dtype=np.float32)
    together = draw_tokens(backend, z, generators(0, 5), temperature)
    for i in range(5):
        alone = draw_tokens(backend, z[i : i + 1], generators(0, 5)[i : i + 1], temperature)
        assert np.array_equal(alone[0], together[i])


def test_without_its_graph_a_model_computes_in_float32(toy_bundle):
    folder = toy_bundle()
    assert not (folder / f"{INT8}.onnx").exists()
    clips = [load(folder, threads=1, precision=p).sample(2, seed=1) for p in ("int8", "float32")]
    assert clips[0] == clips[1]


def test_int8_does_not_overflow_where_pairs_of_products_have_16_bits(rounded):
    """The largest activations and weights: 2 · a · w must stay below 2¹⁵ (processors without VNNI instructions)."""
    graph = onnx.load(rounded[1].backend.folder / f"{INT8}.onnx", load_external_data=False).graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("_int8")}
    most = constants["middle_of_int8"].astype(int) + np.rint(1 / constants["step_of_int8"]).astype(int)
    assert 2 * most * int(constants["top_of_int8"]) < 2**15
    quantised = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(quantised) >= 2


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


def test_full_precision_is_kept(toy_config, tmp_path):
    """Bit for bit; in half precision it is not (negative control)."""
    config = toy_config()
    model = network(config)
    for half in (False, True):
        write_bundle(model, config, tmp_path / str(half), name="x", trained={}, half=half)
        stored = load_file(tmp_path / str(half) / "model.safetensors")
        same = [torch.equal(value, stored[name].float()) for name, value in model.state_dict().items()]
        assert all(same) == (not half)
        assert load(tmp_path / str(half), threads=1).sample(1)


def test_export_refuses_weights_that_are_not_finite(toy_config, tmp_path):
    broken = network(toy_config())
    with torch.no_grad():
        next(broken.parameters()).fill_(1e6)  # finite in single precision, not in half
    with pytest.raises(BundleError, match=r"not finite in torch\.float16; nothing was written"):
        write_bundle(broken, toy_config(), tmp_path / "m", name="x", trained={})
    assert not list((tmp_path / "m").glob("*"))


def test_export_sees_a_graph_that_differs(toy_config, tmp_path, monkeypatch):
    """Negative control of the check that every export makes."""
    forward = graphs._Function.forward
    monkeypatch.setattr(
        graphs._Function, "forward", lambda self, *x: tuple(y + 2e-4 for y in forward(self, *x)), raising=True
    )
    with pytest.raises(BundleError, match=rf"encode\.onnx differs from torch by .* \(allowed: {TOLERANCE:g}\)"):
        write_bundle(network(toy_config()), toy_config(), tmp_path / "m", name="x", trained={})


def test_what_fails_leaves_nothing(toy_config, tmp_path, monkeypatch):
    """Neither a half-written folder nor anything beside it; a model that was there stays."""
    config = toy_config()
    write_bundle(network(config), config, tmp_path / "m", name="one", trained={})

    def broken(*_: object) -> None:
        raise BundleError("no")

    monkeypatch.setattr(export, "_check", broken)
    for folder in ("m", "other"):
        with pytest.raises(BundleError, match="no"):
            write_bundle(network(config), config, tmp_path / folder, name="two", trained={})
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert load(tmp_path / "m", threads=1).bundle.name == "one"


def test_weights_of_another_model(toy_bundle, tmp_path):
    shutil.copytree(toy_bundle(), tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["model"]["z"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="do not fit"):
        load(tmp_path / "m", backend="torch")
