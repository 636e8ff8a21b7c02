"""A prior fitted to latent vectors: torch and numpy compute the same, and noise goes where the data is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from musicvae.cli import musicvae
from musicvae.errors import BundleError
from musicvae.runtime.engine import load
from musicvae.runtime.flow import FILE, Flow, read_flow, write_flow
from musicvae.train.flow import Posteriors, Velocity, fit_flow


def random_flow(z: int = 5) -> tuple[Velocity, Flow]:
    torch.manual_seed(3)
    model = Velocity(z, 8, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
        model.gains.weight *= 0.1  # of an exponent
        model.stretch.weight *= 0.2  # of a rate of growth
    weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
    weights |= {"mean": np.arange(z, dtype=np.float32), "deviation": np.full(z, 2, np.float32)}
    return model, Flow(weights)


@pytest.mark.parametrize("time", [0.0, 0.3, 1.0])
def test_numpy_computes_what_torch_does(time):
    model, flow = random_flow()
    x = np.random.default_rng(0).standard_normal((7, 5), dtype=np.float32)
    with torch.no_grad():
        wanted = model(torch.from_numpy(x), torch.full((7,), time)).numpy()
    np.testing.assert_allclose(flow.velocity(x, time), wanted, rtol=1e-5, atol=1e-5)


def test_where_the_way_leads():
    """As with a hundred times the steps."""
    model, flow = random_flow()
    x = np.random.default_rng(1).standard_normal((4, 5), dtype=np.float32)
    point = torch.from_numpy(x)
    with torch.no_grad():
        for step in range(1600):
            point = point + model(point, torch.full((4,), (step + 0.5) / 1600)) / 1600
    np.testing.assert_allclose(flow(x), np.arange(5) + 2 * point.numpy(), rtol=0.01, atol=0.05)


def test_it_learns_two_clusters_where_the_normal_prior_has_one():
    rng = np.random.default_rng(0)
    side = rng.choice([-3.0, 3.0], (4000, 1))
    mu = np.concatenate([side, -side, rng.standard_normal((4000, 1))], axis=1).astype(np.float32)
    sigma = np.full_like(mu, 0.1)
    weights, fit = fit_flow(Posteriors(mu, sigma), Posteriors(mu[:500], sigma[:500]), hidden=32, blocks=2, steps=800)
    made = Flow(weights)(rng.standard_normal((1000, 3), dtype=np.float32))
    near = np.abs(np.abs(made[:, 0]) - 3) < 1
    assert near.mean() > 0.85
    assert (np.sign(made[:, 0]) == -np.sign(made[:, 1])).mean() > 0.97
    assert 0.35 < (made[:, 0] > 0).mean() < 0.65
    assert abs(made[:, 2].std() - 1) < 0.2
    assert fit["error"] == pytest.approx(fit["error_held_out"], rel=0.2)


def test_it_learns_that_some_lie_far_out_and_some_near():
    """Points on spheres of two sizes: their directions say nothing, and in many dimensions noise has but one size."""
    rng = np.random.default_rng(0)
    size = rng.choice([0.5, 1.5], (4000, 1))
    mu = (size * rng.standard_normal((4000, 40))).astype(np.float32)
    data = Posteriors(mu, np.full_like(mu, 0.01))
    weights, fit = fit_flow(data, data, hidden=32, blocks=2, steps=800)
    made = np.sqrt(np.square(Flow(weights)(rng.standard_normal((1000, 40), dtype=np.float32))).mean(axis=1))
    assert 0.3 < (made < 0.75).mean() < 0.7
    assert 0.3 < (made > 1.2).mean() < 0.7
    assert fit["error"] < 1.5  # of N(0, I) with their variance: 1.571


def test_a_point_does_not_depend_on_how_many_there_are():
    """To the last digit, which can become another note; of a size at which libraries change their ways."""
    torch.manual_seed(0)
    network = Velocity(64, 96, 2)
    torch.nn.init.normal_(network.shift.weight, std=0.05)
    weights = {name: p.detach().numpy() for name, p in network.state_dict().items()}
    flow = Flow({**weights, "mean": np.zeros(64, np.float32), "deviation": np.ones(64, np.float32)})
    noise = np.random.default_rng(0).standard_normal((70, 64), dtype=np.float32)
    many = flow(noise)
    assert np.abs(many - noise).max() > 0.1
    for count in (1, 2, 3, 5, 15, 17, 31, 64):
        np.testing.assert_array_equal(flow(noise[:count]), many[:count])


def test_the_same_seed_fits_the_same():
    mu = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    data = Posteriors(mu, np.full_like(mu, 0.2))
    one, two = (fit_flow(data, data, hidden=8, blocks=1, steps=5, seed=4)[0] for _ in range(2))
    assert all(np.array_equal(w, two[name]) for name, w in one.items())


def test_half_precision_learns_the_same():
    mu = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32) ** 3
    data = Posteriors(mu, np.full_like(mu, 0.2))
    full, half = (fit_flow(data, data, hidden=16, blocks=2, steps=150, precision=p) for p in ("float32", "bfloat16"))
    assert any(not np.array_equal(w, half[0][name]) for name, w in full[0].items())
    assert half[1]["error"] == pytest.approx(full[1]["error"], rel=0.03)
    assert all(w.dtype == np.float32 for w in half[0].values())


def test_half_precision_is_written_and_read(tmp_path):
    _, flow = random_flow()
    write_flow(tmp_path, flow.weights, {"steps": 3})
    again = read_flow(tmp_path, 5)
    assert again is not None
    x = np.random.default_rng(2).standard_normal((3, 5), dtype=np.float32)
    np.testing.assert_allclose(again(x), flow(x), atol=0.05)
    assert read_flow(tmp_path / "elsewhere", 5) is None
    with pytest.raises(BundleError, match=r"prior\.npz: is damaged .*it does not give 6 finite numbers|damaged"):
        read_flow(tmp_path, 6)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04]q\x00."])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(BundleError, match="Fit the prior anew"):
        read_flow(tmp_path, 5)


def test_no_pickle_is_loaded(tmp_path):
    np.savez(tmp_path / FILE, mean=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match="damaged"):
        read_flow(tmp_path, 5)


def test_from_the_command_line(toy_bundle, toy_data, tmp_path):
    """Fitted, stored, used by default; `--prior normal` gives what was given before."""
    import shutil

    shutil.copytree(toy_bundle(), folder := tmp_path / "m")

    def clips(out: str, *more: str) -> list[bytes]:
        asked = ["generate", "--model", folder, "-n", "3", "--seed", "5", "-o", tmp_path / out, *more]
        result = CliRunner().invoke(musicvae, [str(a) for a in asked], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [p.read_bytes() for p in sorted((tmp_path / out).glob("*.mid"))]

    plain = clips("a")
    refused = CliRunner().invoke(musicvae, ["generate", "--model", str(folder), "--prior", "fitted"])
    assert refused.exit_code != 0
    assert isinstance(refused.exception, BundleError) or "no fitted prior" in refused.output
    asked = ["prior", folder, toy_data, "--clips", "100", "--steps", "20", "--hidden", "8", "--blocks", "1"]
    dry = CliRunner().invoke(musicvae, [*map(str, asked), "--dry-run"], catch_exceptions=False)
    assert dry.exit_code == 0, dry.output
    assert not (folder / FILE).exists()
    card = folder / "README.md"
    card.write_text("# m\n\nNo network.\n\n## What it is for, and what not\n\nMusic.\n")
    for _ in range(2):  # again: one section, not two
        result = CliRunner().invoke(musicvae, [*map(str, asked), "--json"], catch_exceptions=False)
    text = card.read_text()
    assert text.count("## The fitted prior\n") == text.count("## What it is for, and what not\n\nMusic.\n") == 1
    assert text.startswith("# m\n\nNo network.\n\n## The fitted prior\n\n")
    assert result.exit_code == 0, result.output
    assert '"error_held_out"' in result.output
    assert load(folder, threads=1).flow is not None
    assert clips("b") == clips("c", "--prior", "fitted") != plain
    assert clips("d", "--prior", "normal") == plain
    model = load(folder, threads=1)
    for i, clip in enumerate(model.sample(3, seed=5, settle=2)):  # settling begins where the prior drew
        clip.save(tmp_path / f"settled-{i}.mid")
    assert clips("e", "--settle", "2") == [(tmp_path / f"settled-{i}.mid").read_bytes() for i in range(3)]
