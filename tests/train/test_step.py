"""An update: nothing of it is read before its time, and one that is not finite changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from musicvae.codecs import codec
from musicvae.config import Config, override
from musicvae.data.dataset import Dataset
from musicvae.errors import TrainingError
from musicvae.model import MusicVAE
from musicvae.train import feeding, step
from musicvae.train.distributed import Ranks
from musicvae.train.resident import Resident
from musicvae.train.step import Updates

STRUCTURES: dict[str, dict[str, Any]] = {
    "piano": {"hide": 0.1},
    "piano-flat": {"encoder": "flat", "decoder": "flat", "sampling": "constant", "sampling_rate": 0.5},
    "piano-previous": {"first_input": "previous"},
    "piano-roll": {"roll": 16},
    "trio-roll": {"kind": "trio", "roll": 16, "embedding": 0},
    "melody": {"kind": "melody", "encoder": "flat", "decoder": "flat", "embedding": 0, "head_hidden": 0},
    "drums": {"kind": "drums", "embedding": 0},
    "trio": {"kind": "trio", "first_input": "previous", "sampling": "constant", "sampling_rate": 0.5},
}


def updates_of(data: Path, config: Config, device: str = "cpu", amp: bool = False) -> Updates:
    coded = codec(config.codec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = MusicVAE(coded.spec, config.model).to(device)
    clips = Dataset(data).clips("train", coded, config.model.bars)
    return Updates(model, Resident(clips, torch.device(device)), config, 100, Ranks(), amp, Path("last.safetensors"))


@pytest.fixture(params=STRUCTURES)
def made(request, toy_data, toy_band_data, toy_config) -> tuple[Path, Config]:
    structure = STRUCTURES[request.param]
    return (toy_band_data if "kind" in structure else toy_data), toy_config(**structure)


# ----------------------------------------------------------------------------------------- nothing is waited for
def on_meta(updates: Updates, monkeypatch: pytest.MonkeyPatch) -> Updates:
    """Move an `Updates` to the device that holds no values: whoever reads one on the way, even a number, fails."""
    meta = torch.device("meta")
    model = updates.forward.model.to(meta)  # type: ignore[union-attr, operator]
    updates.parameters = list(model.parameters())
    updates.device, updates.clips = meta, Resident(updates.clips.clips, meta)
    updates.optimizer = SimpleNamespace(  # type: ignore[assignment]  # the fused one knows no such device
        param_groups=[{"share": 1.0}],
        step=lambda: None,
        zero_grad=lambda set_to_none: model.zero_grad(set_to_none=set_to_none),
    )
    monkeypatch.setattr(step, "autocast", lambda device, amp: torch.autocast("cpu", enabled=False))
    monkeypatch.setattr(feeding, "device_gumbel", lambda seed, shape, device: torch.empty(shape, device=device))
    return updates


def test_no_step_reads_what_lies_on_the_device(made, monkeypatch):
    updates = on_meta(updates_of(*made), monkeypatch)
    for number in range(3):
        updates.update(number)
    assert len(updates.unread) == 3
    assert all(p.grad is not None and p.grad.is_meta for p in updates.parameters)
    assert updates.optimizer.found_inf.is_meta  # type: ignore[attr-defined]
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        updates.read()


@pytest.mark.parametrize("reads", [float, bool, torch.Tensor.tolist, torch.Tensor.nonzero, lambda x: x[x > 0]])
def test_a_reading_would_be_noticed(toy_data, toy_config, monkeypatch, reads):  # negative control
    updates = on_meta(updates_of(toy_data, toy_config()), monkeypatch)
    elbo = step.elbo

    def reading(*arguments: Any) -> Any:
        loss = elbo(*arguments)
        reads(loss.loss_nats)
        return loss

    monkeypatch.setattr(step, "elbo", reading)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        updates.update(0)


class NoWaiting(TorchDispatchMode):
    """Fails where a copy from the CPU, asked for or made to index with, would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat = pytree.tree_leaves((args, kwargs))
        tensors = [x for x in flat if isinstance(x, torch.Tensor) and x.dim()]
        if func is torch.ops.aten._to_copy.default:
            there = torch.device(kwargs.get("device") or args[0].device).type == "meta"
            assert args[0].is_meta or not there or kwargs.get("non_blocking"), "a copy that waits"
        elif any(x.is_meta for x in tensors):
            assert all(x.is_meta for x in tensors), f"{func} copies to the device"
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_a_copy(made, monkeypatch):
    updates = on_meta(updates_of(*made), monkeypatch)
    with NoWaiting():
        updates.update(0)


def test_drawing_waits_for_no_copy(made, monkeypatch):
    updates = on_meta(updates_of(*made), monkeypatch)
    with NoWaiting():
        assert updates.clips.draw(made[1].train, 3).tokens.is_meta
        with pytest.raises(AssertionError, match="a copy that waits"):  # negative control
            torch.zeros(3).to("meta")
        with pytest.raises(AssertionError, match="copies to the device"):
            torch.zeros(3, device="meta")[torch.tensor([1])]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("amp", [False, True])
def test_no_step_waits_for_the_gpu(made, amp):
    updates = updates_of(*made, device="cuda", amp=amp)
    updates.update(0)  # libraries set themselves up
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(1, 4):
            updates.update(number)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(updates.read()) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_and_a_cpu_make_the_same_first_steps(made):
    """In float32, but for what is drawn on the device: 3 steps agree to some 1e-4."""
    data, config = made
    config = override(config, "train.sampling=none")
    both = [updates_of(data, config, device) for device in ("cpu", "cuda")]
    for updates in both:
        for number in range(3):
            updates.update(number)
    one, other = ([figures["loss_nats"] for figures in updates.read()] for updates in both)
    assert one == pytest.approx(other, rel=1e-3)


# ------------------------------------------------------------------------------------------------ not finite
def state(updates: Updates) -> list[torch.Tensor]:
    """Return weights and what the optimiser keeps."""
    kept = [value for p in updates.parameters for value in updates.optimizer.state[p].values()]
    return [t.detach().clone() for t in (*updates.parameters, *kept)]


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_nothing(toy_data, toy_config, monkeypatch, what, value):
    """Steps 2 and 3 of 0 to 4 are broken: what is left is as if they were not made; the first of them is named."""
    updates, elbo = updates_of(toy_data, toy_config()), step.elbo

    def broken(*arguments: Any) -> Any:
        loss = elbo(*arguments)
        if what == "loss":  # beside a gradient that is finite
            return loss._replace(loss_nats=loss.loss_nats + value)
        weight = next(updates.forward.parameters()).sum()
        return loss._replace(loss_nats=loss.loss_nats + (weight - weight.detach()) * value)

    for number in range(5):
        monkeypatch.setattr(step, "elbo", broken if number in (2, 3) else elbo)
        before = state(updates) if number else []
        updates.update(number)
        assert not number or (number in (2, 3)) == all(map(torch.equal, before, state(updates)))
    with pytest.raises(TrainingError, match=r"^step 3: loss .*: not finite \(seed 0\)\. Nothing was changed by this"):
        updates.read()


def test_reading_late_changes_nothing(made):
    """Figures read after each step and after all of them are the same, and so are the weights."""
    early, late = updates_of(*made), updates_of(*made)
    found = []
    for number in range(4):
        for updates in (early, late):
            updates.update(number)
        found += early.read()
    assert late.read() == found
    assert late.read() == []
    assert all(map(torch.equal, state(early), state(late)))


# ------------------------------------------------------------------------------------------------ slow maps
def test_maps_that_begin_with_components_learn_slowly(toy_data, toy_config):
    """The first update of Adam moves every weight that has a gradient by the learning rate of its group."""
    config = toy_config(roll=16, warmup=0, lr=1e-3)
    updates = updates_of(toy_data, config)
    model = updates.forward.model
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    updates.update(0)
    moved = {name: float((value.detach() - before[name]).abs().max()) for name, value in model.named_parameters()}
    slow = {
        name for name in moved if name.startswith(("encoder.bar", "encoder.mu", "conductor.direct", "conductor.cells"))
    }
    assert len(slow) == 8
    assert {name for name, most in moved.items() if most > 2e-4} == {n for n in moved if n not in slow and moved[n] > 0}
    assert all(moved[name] == pytest.approx(1e-4, rel=0.02) for name in slow)
