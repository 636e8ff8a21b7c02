"""The engine: music in, music out, the same for the same seed, and a clear word for what cannot be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import musicvae
from musicvae.config import SampleConfig
from musicvae.errors import BundleError, CodecError
from musicvae.latent import slerp
from musicvae.music import Reading, Report, Score
from musicvae.runtime import bundle as bundles
from musicvae.runtime import engine
from musicvae.runtime.engine import Model, load
from musicvae.runtime.sampling import generators


@pytest.fixture(scope="module")
def model(toy_bundle) -> Model:
    return load(toy_bundle(), threads=1)


def clip(seed: int, bars: int = 2, **more: object) -> Score:
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.choice(16 * bars, 5 * bars, replace=False))
    return Score.of(onset, rng.integers(40, 90, 5 * bars), 1, bars=bars, **more)  # type: ignore[arg-type]


def notes(clips: list[Score]) -> list[list[list[int]]]:
    return [[c.tolist() for c in clip.columns] for clip in clips]


# ------------------------------------------------------------------------------------------------ sample
def test_the_toy_is_worth_testing(model):
    """Its clips have notes and differ; else most of what follows could not fail."""
    clips = model.sample(20, seed=1)
    assert len({str(notes([c])) for c in clips}) == 20
    assert sum(len(c) for c in clips) > 100
    greedy = model.decode(np.random.default_rng(0).standard_normal((20, model.z)))
    assert len({str(notes([c])) for c in greedy}) > 5


def test_sample(model):
    clips = model.sample(3, seed=4, tempo=90)
    assert [(c.bars, c.tempo, c.meter, c.steps_per_beat) for c in clips] == [(2, 90, (4, 4), 4)] * 3
    assert len(model.sample()) == 1
    assert model.sample(0) == []


def test_the_same_seed_gives_the_same_clips(model):
    """Another seed gives others: six random clips agree with odds far below 1 in 10^20."""
    assert model.sample(6, seed=4) == model.sample(6, seed=4)
    assert all(a != b for a, b in zip(model.sample(6, seed=4), model.sample(6, seed=5), strict=True))


def test_a_clip_does_not_depend_on_how_many_there_are(model, monkeypatch):
    """Nor on the batch of 64 that it is drawn in."""
    many = model.sample(70, seed=9)
    assert model.sample(2, seed=9) == many[:2]
    assert model.sample(64, seed=9) == many[:64]
    monkeypatch.setattr(engine, "BATCH", 7)
    assert model.sample(70, seed=9) == many


def test_settling_is_a_way_through_the_model_and_back(model, monkeypatch):
    z = np.random.default_rng(1).standard_normal((9, model.z), dtype=np.float32)
    np.testing.assert_array_equal(model.settle(z, 0), z)
    before = z.copy()
    wanted = z
    for rounds in (1, 2):
        mu = np.concatenate([model.encode(c) for c in model.decode(wanted)])
        wanted = wanted + 1.2 * (mu - wanted)  # beyond what comes back
        np.testing.assert_allclose(model.settle(z, rounds), wanted, atol=1e-5)
        assert not np.allclose(wanted, z, atol=0.1)
    np.testing.assert_array_equal(z, before)
    np.testing.assert_allclose(model.settle(z[3], 2), wanted[3:4], atol=1e-5)
    monkeypatch.setattr(engine, "BATCH", 4)
    np.testing.assert_allclose(model.settle(z, 2), wanted, atol=1e-5)


def test_settled_clips(model):
    """The same noise draws what differs; where it lies before the attributes move it is what was settled."""
    settled = model.sample(5, seed=4, settle=2)
    assert settled == model.sample(5, seed=4, settle=2)
    assert settled[:2] == model.sample(2, seed=4, settle=2)
    assert settled != model.sample(5, seed=4)
    greedy = model.sample(5, seed=4, settle=2, temperature=0)
    z = model.prior(generators(4, 5))
    assert greedy == model.decode(model.settle(z, 2))


def test_settling_and_drawing_are_one_progress(model, monkeypatch):
    monkeypatch.setattr(engine, "BATCH", 2)
    seen: list[tuple[int, int]] = []
    model.sample(5, settle=3, progress=lambda done, total: seen.append((done, total)))
    assert len({total for _, total in seen}) == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_new_clips_settle_as_often_as_the_model_says(model, monkeypatch):
    plain, settled = model.sample(3, seed=4), model.sample(3, seed=4, settle=2)
    z = model.prior(generators(4, 3))
    config = replace(model.bundle.config, sample=SampleConfig(settle=2))
    monkeypatch.setattr(model, "bundle", model.bundle._replace(config=config))
    assert model.sample(3, seed=4) == settled != plain
    assert model.sample(3, seed=4, settle=0) == plain
    np.testing.assert_array_equal(model.settle(z), model.settle(z, 2))


def test_a_settled_clip_does_not_depend_on_how_many_there_are(model, monkeypatch):
    z = np.random.default_rng(1).standard_normal((9, model.z), dtype=np.float32)
    many = model.settle(z, 2)
    monkeypatch.setattr(engine, "BATCH", 4)
    np.testing.assert_array_equal(model.settle(z, 2), many)
    np.testing.assert_array_equal(model.settle(z[8], 2), many[8:])


def test_a_clip_without_a_note_settles(model, monkeypatch):
    monkeypatch.setattr(
        engine, "draw_tokens", lambda backend, z, **_: np.tile([16, 0, 0, 0], (len(z), 2, model.codec.spec.slots, 1))
    )
    found = model.settle(np.ones((2, model.z)), 3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[1])


def test_temperature(model):
    """At 0 noise is not used; above it, it is (equal by chance: below 1 in 10^6)."""
    z = np.random.default_rng(2).standard_normal((6, model.z))
    assert model.decode(z, seed=1) == model.decode(z, seed=2) == model.decode(z, temperature=0)
    assert model.decode(z, temperature=1, seed=1) == model.decode(z, temperature=1, seed=1)
    assert model.decode(z, temperature=1, seed=1) != model.decode(z, temperature=1, seed=2)
    # Just above 0 noise decides nothing, and all fields are the likeliest; at 0 durations are in the middle.
    near = model.decode(z, temperature=1e-6, seed=1)
    assert near == model.decode(z, temperature=1e-6, seed=2)
    assert (near == model.decode(z)) != ("piano" in model.codec.parts)


def test_clips_of_one_z_are_one(model):
    """Points decoded together share their noise, so they differ by z alone."""
    z = np.random.default_rng(3).standard_normal(model.z)
    a, b, c = model.decode([z, z, -z], temperature=1)
    assert a == b
    assert a != c
    assert model.decode(z, temperature=1) == [a]


def test_progress(model):
    for n in (3, 70):
        seen: list[tuple[int, int]] = []
        model.sample(n, seed=1, progress=lambda done, total, seen=seen: seen.append((done, total)))
        assert seen == sorted(seen)
        assert len({total for _, total in seen}) == 1
        assert 0 < seen[-1][0] == seen[-1][1]


# ---------------------------------------------------------------------------------------- encode, decode
def test_shapes(model):
    assert model.encode(clip(0)).shape == (1, model.z)
    assert model.encode(clip(0)).dtype == np.float32
    assert model.encode(clip(0, bars=9)).shape == (5, model.z)
    z = np.zeros((3, model.z))
    assert len(model.decode(z)) == 3
    assert len(model.decode(z[0])) == 1
    assert model.decode(z[:0]) == []
    assert len(model.decode(z.tolist())) == 3


def test_a_reading_is_music(model):
    score = clip(0)
    reading = Reading(score, Report("x.mid", 10, 10, ()))
    assert np.array_equal(model.encode(reading), model.encode(score))
    assert model.reconstruct(reading) == model.reconstruct(score)


def test_windows(model):
    """From the first bar with a note on; silent windows are left out; the last one is filled up."""
    score = Score.of([20, 24, 37, 100, 127], 60, [4, 40, 4, 4, 40], bars=8)  # bars 1, 1, 2, 6 and 7
    first, second, third = model.windows(score)
    assert first == Score.of([4, 8, 21], 60, [4, 24, 4], bars=2)
    assert second == Score.of(20, 60, 4, bars=2)
    assert third == Score.of(15, 60, 17, bars=2)
    assert np.array_equal(model.encode(score)[[0, 2]], np.concatenate([model.encode(first), model.encode(third)]))
    short = Score.of(0, 60, 4, bars=1)
    assert [w.bars for w in model.windows(short)] == [2]
    assert np.array_equal(model.encode(short), model.encode(Score.of(0, 60, 4, bars=2)))


def test_many_windows_cross_the_batch(model, monkeypatch):
    score = clip(5, bars=20)
    whole = model.encode(score)
    monkeypatch.setattr(engine, "BATCH", 3)
    np.testing.assert_allclose(model.encode(score), whole, atol=1e-6)


def test_reconstruct(model):
    score = clip(1, tempo=77)
    copy = model.reconstruct(score)
    (wanted,) = model.decode(model.encode(score), tempo=77)
    assert copy == wanted
    assert (copy.bars, copy.tempo) == (2, 77)


def test_reconstruct_long_music(model):
    """Windows are joined where they stood, and the length is that of the music."""
    score = Score.of([*(clip(1, bars=7).onset + 32)], 60, 1, bars=9)  # two bars of rest, seven of music
    copy = model.reconstruct(score)
    assert copy.bars == 9
    assert len(copy)
    assert copy.onset.min() >= 32
    clips = model.decode(model.encode(score))
    assert len(clips) == 4
    for i, part in enumerate(clips):
        mine = copy.cut(2 + 2 * i, 2)
        last = i == 3  # of its two bars the music has only one
        inside = part.onset < (16 if last else 32)
        assert np.array_equal(mine.onset, part.onset[inside])
        assert np.array_equal(mine.pitch, part.pitch[inside])


def test_changes(model):
    assert model.changes(clip(0).select(np.zeros(10, bool))) == ()
    (lost,) = model.changes(Score.of([0, 0], [5, 60], 1, 72))
    assert lost == ("dropped: pitch outside 21–108", 1)


# ----------------------------------------------------------------------------------- interpolate and vary
def test_the_ends_of_a_path_are_reconstructions(model):
    a, b = clip(1, tempo=77), clip(2, tempo=99)
    path = model.interpolate(a, b, steps=5)
    assert len(path) == 5
    assert {c.tempo for c in path} == {77}
    assert notes([path[0], path[-1]]) == notes([model.reconstruct(a), model.reconstruct(b)])
    ends = model.interpolate(a, b, steps=2, tempo=50)
    assert notes(ends) == notes([path[0], path[-1]])
    assert ends[0].tempo == 50


def test_a_path_between_latent_vectors(model):
    a, b = np.random.default_rng(0).standard_normal((2, model.z)).astype(np.float32)
    path = model.interpolate(a, b, steps=3, temperature=1, seed=8)
    assert path == model.decode([a, slerp(a, b, 0.5), b], temperature=1, seed=8)
    assert path[0].tempo == 120
    assert len({str(notes([c])) for c in model.interpolate(a, a.copy(), steps=4)}) == 1
    assert len(model.interpolate(a, -a, steps=4)) == 4
    assert len(model.interpolate(a, clip(0))) == 9


def test_of_long_music_the_first_window_is_taken(model):
    long, other = clip(3, bars=9), clip(4)
    assert notes(model.interpolate(long, other)) == notes(model.interpolate(long.cut(0, 2), other))
    assert notes(model.vary(long, n=2)) == notes(model.vary(long.cut(0, 2), n=2))


def test_vary(model):
    """From the reconstruction to new clips; variations depend neither on how many there are nor on the clip's tempo."""
    a = clip(1, tempo=77)
    assert model.vary(a, amount=0, n=3) == [model.reconstruct(a)] * 3
    far = model.vary(a, amount=1, n=8, seed=3)
    assert far == model.vary(a, amount=1, n=8, seed=3)
    assert far[:2] == model.vary(a, amount=1, n=2, seed=3)
    assert notes(far) == notes(model.vary(clip(2), amount=1, n=8, seed=3)), "nothing of the clip is left"
    assert far != model.vary(a, amount=1, n=8, seed=4)
    assert {c.tempo for c in far} == {77}
    assert model.vary(a, n=0) == []
    assert len(model.vary(np.zeros(model.z))) == 8


def test_input_is_unchanged(model):
    a, z = clip(1), np.ones((2, model.z))
    before = notes([a])
    for call in (model.encode, model.reconstruct, model.vary, model.windows, model.changes):
        call(a)
    model.decode(z, temperature=1)
    model.interpolate(z[0], z[1])
    assert notes([a]) == before
    assert (z == 1).all()


def test_a_square_between_four(model):
    a, b, c, d = (clip(seed, tempo=60 + seed) for seed in range(4))
    square = model.grid([a, b, c, d], steps=3)
    assert [len(row) for row in square] == [3, 3, 3]
    assert {clip.tempo for row in square for clip in row} == {60}
    assert notes(square[0]) == notes(model.interpolate(a, b, steps=3))
    assert notes([row[0] for row in square]) == notes(model.interpolate(a, c, steps=3))
    assert notes(square[2]) == notes(model.interpolate(c, d, steps=3))
    assert notes([row[2] for row in square]) == notes(model.interpolate(b, d, steps=3))
    for corners, steps in (([a, b, c], 3), ([a, b, c, d], 1)):
        with pytest.raises(CodecError, match="wanted 4 corners and at least 2 steps"):
            model.grid(corners, steps=steps)


# -------------------------------------------------------------------------------------------- attributes
@pytest.fixture
def with_attributes(toy_bundle, tmp_path) -> Model:
    shutil.copytree(toy_bundle(), tmp_path / "model")
    vectors = {"density": np.array([3, 0, 0, 0, 0, 0], np.float32), "leaps": np.arange(6, dtype=np.float32)}
    bundles.write_attributes(tmp_path / "model", vectors, {"clips": 3})
    return load(tmp_path / "model", threads=1)


def test_moving_along_attributes(with_attributes):
    model, z = with_attributes, np.ones((2, 6), np.float32)
    assert set(model.attributes) == {"density", "leaps"}
    assert np.array_equal(model.move(z, {}), z)
    assert model.move(z, {"density": 1.5, "leaps": -1}).tolist() == [[5.5, 0, -1, -2, -3, -4]] * 2
    assert model.move(z[0], {"density": 1}).tolist() == [4, 1, 1, 1, 1, 1]
    assert (z == 1).all(), "the input is unchanged"
    drawn = model.sample(3, seed=4, attributes={"density": 1})
    from musicvae.runtime.sampling import draw_tokens, generators, prior

    noise = generators(4, 3)
    tokens = draw_tokens(model.backend, model.move(prior(noise, 6), {"density": 1}), noise, 0.7)
    assert drawn == [model.codec.decode(t) for t in tokens]
    assert model.sample(3, seed=4, attributes={"density": 0}) == model.sample(3, seed=4)
    assert model.vary(clip(0), n=2, attributes={"leaps": 1}) != model.vary(clip(0), n=2)


def test_unknown_attributes_are_told(model, with_attributes):
    with pytest.raises(CodecError, match="toy has no attribute vector 'swing'; it has: density, leaps"):
        with_attributes.sample(1, attributes={"swing": 1})
    for amount in (float("nan"), float("-inf")):
        with pytest.raises(CodecError, match=r"attribute density is .*; wanted a finite number"):
            with_attributes.sample(1, attributes={"density": amount})
    with pytest.raises(CodecError, match=r"it has: none; find them with: musicvae attributes"):
        model.sample(1, attributes={"density": 1})


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"vectors": {"a": [1, 2]}}', '{"vectors": {"a": [NaN, 1, 1, 1, 1, 1]}}']
)
def test_damaged_attributes_are_told(with_attributes, content):
    folder = with_attributes.bundle.folder
    (folder / "attributes.json").write_text(content)
    with pytest.raises(BundleError, match=r"attributes\.json: is damaged"):
        load(folder, threads=1)


# ------------------------------------------------------------------------------------------ other codecs
@pytest.mark.parametrize(
    ("kind", "parts"), [("melody", {1}), ("drums", {3}), ("trio", {1, 2, 3})], ids=["melody", "drums", "trio"]
)
def test_every_codec_from_music_to_music(toy_bundle, kind, parts):
    """Sampled, encoded, reconstructed over several windows, and written as MIDI."""
    model = load(toy_bundle(kind=kind, decoder="hierarchical"), threads=1)
    clips = model.sample(20, seed=1, temperature=1.0)
    found = set(np.concatenate([c.part for c in clips]).tolist())
    assert found == parts
    assert len({str(notes([c])) for c in clips}) > 10
    music = clips[0].cut(0, 5)
    assert model.encode(music).shape == (len(model.windows(music)), model.z)
    copy = model.reconstruct(music)
    assert (copy.bars, copy.tempo) == (5, music.tempo)
    assert set(copy.part.tolist()) <= parts
    assert model.changes(clips[0]) == ()
    assert notes(model.decode(model.encode(clips[0]))) == notes([model.reconstruct(clips[0])])


# ------------------------------------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.encode(Score.of([], [], [], bars=2)), "the music has no notes"),
        (lambda m: m.reconstruct(Score.of([], [], [], bars=2)), "the music has no notes"),
        (lambda m: m.vary(Score.of([], [], [], bars=2)), "the music has no notes"),
        (lambda m: m.encode(Score.of(0, 60, 1, meter=(5, 4))), "the meter is 5/4"),
        (lambda m: m.encode(Score.of(0, 60, 1, steps_per_beat=8)), "8 steps a beat; this codec has 4"),
        (lambda m: m.decode(np.zeros((2, 7))), r"z has shape \(2, 7\); .* wanted \(n, 6\) or \(6,\)"),
        (lambda m: m.decode(np.zeros((2, 3, 6))), r"z has shape \(2, 3, 6\)"),
        (lambda m: m.decode(0.0), r"z has shape \(\)"),
        (lambda m: m.decode([[np.nan] * 6]), "not finite"),
        (lambda m: m.decode([np.inf] * 6), "not finite"),
        (lambda m: m.settle(np.zeros((2, 7)), 1), r"z has shape \(2, 7\)"),
        (lambda m: m.settle([np.nan] * 6, 0), "not finite"),
        (lambda m: m.sample(settle=-1), "settle is -1; wanted 0 to 100 rounds"),
        (lambda m: m.settle(np.zeros((2, 6)), 101), "settle is 101; wanted 0 to 100 rounds"),
        (lambda m: m.sample(temperature=-0.1), "temperature is -0.1; wanted 0"),
        (lambda m: m.sample(temperature=float("nan")), "temperature is nan"),
        (lambda m: m.sample(temperature=float("inf")), "temperature is inf"),
        (lambda m: m.sample(tempo=0), "tempo is 0"),
        (lambda m: m.interpolate(np.zeros(6), np.zeros(6), steps=1), "steps is 1; wanted at least 2"),
        (lambda m: m.interpolate(np.zeros(5), np.zeros(6)), r"6 finite numbers; got shape \(5,\)"),
        (lambda m: m.interpolate(np.zeros(6), np.full(6, np.nan)), "6 finite numbers"),
        (lambda m: m.vary(np.zeros(6), amount=1.1), r"amount is 1\.1; wanted 0"),
        (lambda m: m.vary(np.zeros(6), amount=-0.1), r"amount is -0\.1"),
        (lambda m: m.vary(np.zeros(6), amount=float("nan")), "amount is nan"),
    ],
)
def test_what_cannot_be_is_told(model, call, text):
    with pytest.raises(CodecError, match=text):
        call(model)


@pytest.mark.parametrize("call", [lambda m: m.sample(seed=-1), lambda m: m.sample(-1), lambda m: m.vary(clip(0), n=-1)])
def test_negative_numbers_are_told(model, call):
    with pytest.raises(CodecError, match="is -1; wanted"):
        call(model)


# ----------------------------------------------------------------------------------------------- bundles
def test_repr_and_names(model):
    assert repr(model) == "Model('toy', 2 bars, z 6)"
    assert (model.bundle.name, model.bundle.trained) == ("toy", {"steps": 0})
    assert bundles.bundled() == sorted(bundles.bundled()) == musicvae.bundled()


def test_every_bundled_model_loads():
    for name in bundles.bundled():
        opened = load(name, threads=1)
        assert opened.bundle.name == name
        assert len(opened.sample(1)) == 1


def test_a_fresh_checkout_without_models(monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "_models", lambda: tmp_path / "models")
    assert bundles.bundled() == []
    with pytest.raises(BundleError, match=r"neither a bundled model \(none is installed\) nor a folder"):
        load()


def test_unknown_models(tmp_path):
    with pytest.raises(BundleError, match=r"^piano-17bar: is neither a bundled model \(.*\) nor a folder$"):
        load("piano-17bar")
    with pytest.raises(BundleError, match="is not a model folder"):
        load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="nor a folder"):
        load(tmp_path / "file")


def test_a_run_is_no_model(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match=r"is a training run\. Make a model of it with: musicvae export"):
        load(tmp_path)


def test_no_such_backend(toy_bundle):
    with pytest.raises(BundleError, match="no backend is called 'jax'; there are onnx and torch"):
        load(toy_bundle(), backend="jax")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: [], "is not a model's settings (lacks 'format')"),
        (lambda d: None, "is not a model's settings (lacks 'format')"),
        (lambda d: {k: v for k, v in d.items() if k != "trained"}, "is not a model's settings (lacks 'trained')"),
        (lambda d: d | {"format": 99}, "has format 99; this version of musicvae reads 3. Export the model again"),
        (lambda d: d | {"format": 1}, "has format 1; this version of musicvae reads 3. Export the model again"),
        (lambda d: d | {"config": {"modell": {}}}, "no setting is called 'modell'"),
        (lambda d: d | {"config": 3}, "wanted settings by name, got 3"),
    ],
)
def test_a_damaged_config_is_told(toy_bundle, tmp_path, change, text):
    shutil.copytree(toy_bundle(), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BundleError) as error:
        load(tmp_path / "model")
    assert text in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "model"))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("damage", ["absent", "empty", "half"])
def test_damaged_weights_are_told(toy_bundle, tmp_path, backend, damage):
    shutil.copytree(toy_bundle(), tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "absent":
        path.write_bytes(content[: len(content) // 2 if damage == "half" else 0])
    with pytest.raises(BundleError, match="Export the model again"):
        load(tmp_path / "model", backend=backend, threads=1).sample(1)


@pytest.mark.parametrize("damage", [None, b"", b"junk"])
def test_a_damaged_graph_is_told(toy_bundle, tmp_path, damage):
    shutil.copytree(toy_bundle(), tmp_path / "model")
    (tmp_path / "model" / "step.onnx").unlink()
    if damage is not None:
        (tmp_path / "model" / "step.onnx").write_bytes(damage)
    opened = load(tmp_path / "model", threads=1)
    assert opened.encode(clip(0)).shape == (1, 6)
    with pytest.raises(BundleError, match=r"step\.onnx: cannot be loaded .*Export the model again"):
        opened.sample(1)


def test_music_of_other_parts_is_refused(toy_bundle, toy_songs):
    """A piano piece has nothing for a model of drums: silence would be a wrong answer."""
    model = load(toy_bundle(kind="drums"), threads=1)
    with pytest.raises(CodecError, match=r"no notes of drums. Read it with parts=\('drums',\)"):
        model.encode(toy_songs[0])
