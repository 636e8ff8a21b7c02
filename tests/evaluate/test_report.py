"""Everything measured at once: the figures are those of the modules that know them, on the same clips."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from musicvae.data.dataset import Dataset
from musicvae.errors import ConfigError, DataError
from musicvae.evaluate import copying
from musicvae.evaluate.compare import compare
from musicvae.evaluate.novelty import Index
from musicvae.evaluate.reconstruction import count_notes, reconstruction
from musicvae.evaluate.report import PAIRS, SHOWN, measure, silent
from musicvae.runtime.engine import load

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def model(toy_bundle):
    return load(toy_bundle())


@pytest.fixture(scope="module")
def dataset(toy_data, tmp_path_factory) -> Dataset:
    """A data set that an index may be kept in."""
    return Dataset(shutil.copytree(toy_data, tmp_path_factory.mktemp("report") / "data"))


@pytest.fixture(scope="module")
def found(model, dataset):
    return measure(model, dataset, split="train", clips=16, temperature=0.9, seed=3, rounds=3)


def test_figures_are_those_of_the_modules_that_know_them(found, model, dataset):
    clips = dataset.clips("train", model.codec, model.bars)
    index = clips.spread_index(16)
    batch, songs = clips.batch(index), clips.songs[index]
    drawn = model.sample(16, temperature=0.9, seed=3)
    assert list(found.samples) == drawn[:SHOWN]
    assert found.reconstruction == reconstruction(model.backend, model.codec, batch, songs, temperature=0.9, seed=3)
    real = [model.codec.decode(tokens) for tokens in batch.tokens]
    expected = compare(drawn, real, songs, rounds=3, baselines=True, seed=3)
    assert found.comparison.to_dict() == expected.to_dict()
    usual = copying.held_out(dataset, model.codec, model.bars)
    index = Index.of(dataset, model.codec.parts)
    assert found.novelty == copying.compare(index, drawn, usual, dataset.sources())


def test_pairs_are_of_different_songs_and_scored_as_they_are_shown(found, model, dataset):
    assert len(found.pairs) == PAIRS
    assert len({pair.source for pair in found.pairs}) == PAIRS
    for pair in found.pairs:
        assert pair.onset_f1 == count_notes(pair.original, pair.copy).onset[2]
        row = dataset.sources().index(pair.source)
        assert pair.original.tempo == pair.copy.tempo == pytest.approx(float(dataset.songs["tempo"][row]))
        assert pair.copy == model.reconstruct(pair.original)


def test_real_against_real_is_of_different_songs(found):
    assert set(found.halves) == {row.feature for row in found.comparison.features}
    assert any(row.figures.overlap > 0.3 for row in found.halves.values())


def test_the_same_figures_twice_and_as_json(found, model, dataset):
    again = measure(model, dataset, split="train", clips=16, temperature=0.9, seed=3, rounds=3)
    one, two = (json.dumps(m.to_dict(), allow_nan=False) for m in (found, again))
    assert one == two
    other = measure(model, dataset, split="train", clips=16, temperature=0.9, seed=4, rounds=3)
    assert json.dumps(other.to_dict(), allow_nan=False) != one


def test_stages_tell_how_far_they_are(model, dataset):
    seen: dict[str, list[tuple[int, int]]] = {}
    measure(
        model,
        dataset,
        split="train",
        clips=4,
        temperature=1.0,
        rounds=1,
        progress=lambda label: lambda done, total: seen.setdefault(label, []).append((done, total)),
    )
    assert len(seen) == 4
    assert all(steps[-1][0] == steps[-1][1] for steps in seen.values())


def test_what_cannot_be_measured_is_left_out_with_a_word(model, toy_data, tmp_path):
    found = measure(model, Dataset(toy_data), split="train", clips=4, temperature=1.0, rounds=1)
    assert found.comparison.listener is None
    assert any(text.startswith("The machine listener") for text in found.left_out)
    nothing_held_out = shutil.copytree(toy_data, tmp_path / "data")
    songs = np.load(nothing_held_out / "songs.npy")
    songs["split"] = 0
    np.save(nothing_held_out / "songs.npy", songs)
    found = measure(model, Dataset(nothing_held_out), split="train", clips=4, temperature=1.0, rounds=1)
    assert found.novelty is None
    assert f"Novelty: no song of {model.bars} bars or more is held out to compare with." in found.left_out
    songs["split"] = [0, *[1] * (len(songs) - 1)]  # one song of its split
    np.save(nothing_held_out / "songs.npy", songs)
    found = measure(model, Dataset(nothing_held_out), split="train", clips=4, temperature=1.0, rounds=1)
    assert not found.halves
    assert sum(text.startswith(("Real against", "Overlaps")) for text in found.left_out) == 2
    json.dumps(found.to_dict(), allow_nan=False)


def test_features_of_drums_say_nothing_of_pitch(toy_bundle, toy_band_data):
    found = measure(load(toy_bundle(kind="drums")), Dataset(toy_band_data), split="train", clips=6, temperature=1.0)
    named = {one.feature for one in found.unheard}
    assert {"pitch_count", "pitch_class_histogram", "scale_consistency"} <= named
    assert {"note_count", "inter_onset_interval"} <= {row.feature for row in found.heard}
    assert not any(silent(row) for row in found.heard)


def test_too_little_to_compare(model, dataset):
    with pytest.raises(ConfigError, match="clips is 1; wanted 2"):
        measure(model, dataset, clips=1, temperature=1.0)
    longer = SimpleNamespace(codec=model.codec, bars=64)
    with pytest.raises(DataError, match="test split has no clip of 64 bars"):
        measure(longer, dataset, temperature=1.0)
