"""The principal components that a model with a roll begins with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from musicvae.codecs import codec
from musicvae.data.dataset import Dataset
from musicvae.model import MusicVAE
from musicvae.train.principal import begin_with_components, components
from musicvae.train.resident import Resident


def test_components_are_those_of_numpy():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((400, 6)) @ rng.standard_normal((6, 30)) + rng.standard_normal(30)).astype(np.float32)
    x += 0.01 * rng.standard_normal(x.shape).astype(np.float32)
    mean, vectors, variances = components(lambda part: torch.from_numpy(x[part * 100 : part * 100 + 100]), 4, 5, 0)
    values, wanted = np.linalg.eigh(np.cov(x.T, bias=True))
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(variances, values[::-1][:5], rtol=1e-3)
    cosine = np.abs((vectors.numpy() * wanted[:, ::-1][:, :5]).sum(axis=0))
    np.testing.assert_allclose(cosine, 1, atol=1e-3)


@pytest.mark.parametrize("kind", ["piano", "trio"])
def test_a_model_begins_by_giving_its_music_back(kind, toy_data, toy_band_data, toy_config):
    """Untrained, its cells are nearer to the clip than the mean of all clips is; mu has variance 1."""
    config = toy_config(kind=kind, roll=64, z=48)
    coded = codec(config.codec)
    torch.manual_seed(0)
    model = MusicVAE(coded.spec, config.model).eval()
    data = Dataset(toy_data if kind == "piano" else toy_band_data)
    clips = data.clips("train", coded, config.model.bars)
    shown = []
    begin_with_components(model, Resident(clips, torch.device("cpu")), config.train, lambda *n: shown.append(n))
    assert shown
    assert shown[-1][0] < shown[-1][1]
    batch = clips.draw(config.train.seed, 0, 64, (config.train.transpose_down, config.train.transpose_up))
    tokens, lengths = torch.from_numpy(batch.tokens), torch.from_numpy(batch.lengths)
    with torch.no_grad():
        mu, _ = model.encode(tokens, lengths)
        cells = model.encoder.cells(tokens, lengths).flatten(0, 1)
        found = model.conductor(mu)[1]
    error, spread = (found - cells).square().sum(), (cells - cells.mean(dim=0)).square().sum()
    assert error < 0.7 * spread
    assert 0.2 < float(mu.var(dim=0)[:4].mean()) < 3


def test_the_same_seed_gives_the_same_components(toy_data, toy_config):
    config = toy_config(roll=16)
    coded = codec(config.codec)
    clips = Resident(Dataset(toy_data).clips("train", coded, config.model.bars), torch.device("cpu"))
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        model = MusicVAE(coded.spec, config.model)
        begin_with_components(model, clips, config.train)
        weights.append(model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_the_weights_of_durations_and_velocities_are_settings(toy_data, toy_config):
    deviations = []
    for size in (1, 2):
        config = toy_config(roll=16, duration_weight=1.2 * size, velocity_weight=0.2 * size)
        coded = codec(config.codec)
        clips = Resident(Dataset(toy_data).clips("train", coded, config.model.bars), torch.device("cpu"))
        model = MusicVAE(coded.spec, config.model)
        begin_with_components(model, clips, config.train)
        deviations.append(model.encoder.cells.deviation)
    assert torch.allclose(deviations[0], 2 * deviations[1])
