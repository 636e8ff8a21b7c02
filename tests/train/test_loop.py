"""Training: it learns, it goes on where it stopped, bit for bit, and it stops when it must."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from musicvae.config import Config, from_dict, override
from musicvae.data.prepare import prepare
from musicvae.errors import ConfigError, DataError, TrainingError
from musicvae.model import elbo
from musicvae.train import checkpoint, device, loop, step
from musicvae.train.loop import train
from musicvae.train.principal import OF_CLIPS
from musicvae.train.record import stored_config
from musicvae.train.report import Event, line

SRC = Path(__file__).parents[2] / "src"
STEPS = 20
CLOCK = ("seconds", "clips_per_second", "tflops", "of_gemm_rate", "of_peak")


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a line of metrics for each step, so that lines of runs can be compared."""
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    monkeypatch.setitem(device.GEMM_SIZE, "cpu", 64)
    monkeypatch.setattr(device, "GEMM_SECONDS", 0.0)


@pytest.fixture(scope="module")
def config(toy_config: Callable[..., Config]) -> Config:
    return toy_config(epochs=4, seed=5, lr=0.01)


def run(data: Path, config: Config, out: Path, **settings: Any) -> dict[str, Any]:
    return train(data, config, out, **{"device": "cpu", "precision": "float32", "sample_every": 0, **settings})


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl without what the clock says."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def tensors(out: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(out / f"{name}.safetensors")


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, Adam's averages and every figure are the same, bit for bit."""
    one, other = tensors(a), tensors(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert metrics(a) == metrics(b)


@pytest.fixture(scope="module")
def whole(toy_data: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of STEPS steps without interruption."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_STEPS", 1)
        run(toy_data, config, out, stop_after=STEPS)
    return out


# --------------------------------------------------------------------------------------------- it learns
def test_the_loss_goes_down(toy_data, config, tmp_path):
    events: list[Event] = []
    figures = run(toy_data, config, tmp_path / "run", sample_every=2, report=events.append)
    lines = metrics(tmp_path / "run")
    losses = [one["nats_per_slot"] for one in lines if one["kind"] == "train"]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    valid = [one for one in lines if one["kind"] == "valid"]
    assert [one["epoch"] for one in valid] == [1, 2, 3, 4]
    assert valid[-1]["nats_per_slot"] < 0.9 * losses[0]
    assert figures["loss_nats"] == pytest.approx(valid[-1]["loss_nats"], rel=1e-5)
    best = checkpoint.load(tmp_path / "run" / "best.safetensors")
    assert best.state["best"] == pytest.approx(min(one["loss_nats"] for one in valid), rel=1e-5)
    assert sorted(p.name for p in (tmp_path / "run" / "samples").iterdir()) == ["epoch-0002", "epoch-0004"]
    assert len(list((tmp_path / "run" / "samples" / "epoch-0004").glob("clip-*.mid"))) == 4
    assert [e.kind for e in events if e.kind not in ("train", "valid", "note")] == [
        "start",
        "samples",
        "samples",
        "end",
    ]
    assert not list((tmp_path / "run").rglob("*.partial"))
    assert re.search(r"; cpu, float32, GEMM rate [\d.e-]+ TFLOP/s$", line(events[0]))
    speeds = [line(event) for event in events if event.kind == "train"]
    assert all(re.search(r" · [\d.]+ clips/s · \d+% of the GEMM rate$", text) for text in speeds)
    written = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert written["tflops"] > 0
    assert 0 < written["of_gemm_rate"] < 10


def test_what_a_run_writes(whole, config, toy_data):
    assert stored_config(whole) == config
    assert from_dict(Config, json.loads((whole / "config.json").read_text())) == config
    info = json.loads((whole / "run.json").read_text())
    assert info["data"]["sha256"] == json.loads((toy_data / "dataset.json").read_text())["sha256"]
    assert len(info["sessions"]) == 1
    line = metrics(whole)[0]
    assert {"loss_nats", "recon_nats", "kl_nats", "nats_per_slot", "grad_norm", "lr", "accuracy_pitch"} <= line.keys()
    assert line["step"] == 1


def test_two_runs_are_one(toy_data, config, tmp_path, whole):
    state = torch.random.get_rng_state()
    run(toy_data, config, tmp_path / "again", stop_after=STEPS)
    assert torch.equal(torch.random.get_rng_state(), state), "the global state is left alone"
    assert_same_run(whole, tmp_path / "again")


def test_another_seed_is_another_run(toy_data, config, tmp_path, whole):  # negative control
    other = replace(config, train=replace(config.train, seed=6))
    run(toy_data, other, tmp_path / "other", stop_after=STEPS)
    with pytest.raises(AssertionError):
        assert_same_run(whole, tmp_path / "other")


# ----------------------------------------------------------------------------------- other kinds, all schedules
OTHERS: dict[str, dict[str, Any]] = {
    "piano-flat": {"decoder": "flat", "hide": 0.2},
    "melody": {"kind": "melody", "encoder": "flat", "decoder": "flat", "embedding": 0, "head_hidden": 0},
    "trio-previous": {"kind": "trio", "first_input": "previous", "transpose_down": 0, "transpose_up": 0},
}


@pytest.fixture(params=OTHERS)
def other(request, toy_data, toy_band_data, toy_config) -> tuple[Path, Config]:
    """A data set, and settings with scheduled sampling and a beta that changes from step to step."""
    structure = OTHERS[request.param]
    made = toy_config(epochs=20, batch=4, seed=5, lr=0.01, sampling="inverse_sigmoid", sampling_rate=4, **structure)
    made = override(override(made, "loss.beta_schedule=annealed"), "loss.beta_rate=0.9")
    return (toy_band_data if "kind" in structure else toy_data), made


def test_stop_and_resume_with_all_schedules(other, tmp_path):
    """Scheduled sampling and annealing are functions of the step, too; at step 12 nine in ten slots are sampled."""
    data, config = other
    run(data, config, tmp_path / "whole", stop_after=12)
    run(data, config, tmp_path / "run", stop_after=5)
    run(data, config, tmp_path / "run", resume=True, stop_after=12)
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    lines = [line for line in metrics(tmp_path / "whole") if line["kind"] == "train"]
    assert [line["beta"] for line in lines] == pytest.approx([0.2 * (1 - 0.9**step) for step in range(12)], rel=1e-4)
    still = override(override(config, "train.sampling=none"), "train.hide=0")
    run(data, still, tmp_path / "still", stop_after=12)  # negative control
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "whole", tmp_path / "still")


def test_a_share_of_nothing_is_teacher_forcing(toy_data, config, tmp_path, whole):
    """Bit for bit."""
    sampled = override(override(config, "train.sampling=constant"), "train.sampling_rate=0")
    run(toy_data, sampled, tmp_path / "run", stop_after=STEPS)
    assert_same_run(whole, tmp_path / "run")


def test_validation_of_other_kinds(toy_band_data, toy_config, tmp_path):
    """Beside the teacher-forced figures, the share of steps that come back when decoded greedily (paper, table 1)."""
    config = toy_config(kind="trio", epochs=1, batch=4, validation_clips=4)
    figures = run(toy_band_data, config, tmp_path / "run", sample_every=1)
    names = ["melody", "bass", "drums", "all"]
    for name in names:
        assert 0 <= figures[f"accuracy_{name}"] <= 1
        assert 0 <= figures[f"greedy_{name}"] <= 1
    assert figures["accuracy_all"] <= min(figures[f"accuracy_{name}"] for name in names[:3])
    assert figures["greedy_all"] <= min(figures[f"greedy_{name}"] for name in names[:3])
    assert len(list((tmp_path / "run" / "samples").rglob("*.mid"))) == 4
    only = toy_config(kind="drums", epochs=1, batch=4, validation_clips=4)
    figures = run(toy_band_data, only, tmp_path / "drums")
    assert "accuracy_drums" in figures
    assert not {"accuracy_all", "greedy_all"} & figures.keys()  # of one field that is the same


# ------------------------------------------------------------------------------------------- it goes on
@pytest.mark.parametrize("stop", [1, 10, 19])
def test_stop_and_resume_is_no_stop(toy_data, config, tmp_path, whole, stop):
    run(toy_data, config, tmp_path / "run", stop_after=stop)
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] == stop
    run(toy_data, config, tmp_path / "run", resume=True, stop_after=STEPS)
    assert_same_run(whole, tmp_path / "run")
    sessions = json.loads((tmp_path / "run" / "run.json").read_text())["sessions"]
    assert [s["from_step"] for s in sessions] == [0, stop]


SCRIPT = """
import json, os, signal, sys
from musicvae.config import Config, from_dict
from musicvae.train import checkpoint, device, loop, step
loop.LOG_STEPS, loop.SAVE_SECONDS = 1, 0.0  # a checkpoint after each step
data, config, out, where = sys.argv[1:]
def kill(event):
    if where == "step" and event.kind == "train" and event.data["step"] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
save_file = checkpoint.save_file
def half(tensors, path, metadata):
    save_file(tensors, path, metadata)
    if where == "save" and json.loads(metadata["state"])["step"] == 7:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_file = half
config = from_dict(Config, json.loads(config))
loop.train(data, config, out, device="cpu", precision="float32", sample_every=0, report=kill)
"""


@pytest.mark.parametrize("where", ["step", "save"])
def test_killed_and_resumed_is_not_killed(toy_data, config, tmp_path, whole, where):
    """Killed after a step but before its checkpoint, or half way through writing one."""
    out = tmp_path / "run"
    settings = (whole / "config.json").read_text()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, toy_data, settings, out, where], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    assert checkpoint.load(out / "last.safetensors").state["step"] == 6
    assert metrics(out)[-1]["step"] == 7  # of which the resumed run knows nothing
    run(toy_data, config, out, resume=True, stop_after=STEPS)
    assert_same_run(whole, out)


def test_a_run_that_died_before_its_first_checkpoint_begins_anew(toy_data, config, tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "last.safetensors").unlink()
    run(toy_data, config, tmp_path / "run", resume=True, stop_after=STEPS)
    assert_same_run(whole, tmp_path / "run")


def test_a_finished_run_resumes_to_nothing(toy_data, config, tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    run(toy_data, config, tmp_path / "run", resume=True, stop_after=STEPS)
    assert_same_run(whole, tmp_path / "run")


def test_a_line_cut_in_two_is_forgotten(toy_data, config, tmp_path, whole):
    run(toy_data, config, tmp_path / "run", stop_after=3)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 4, "lo')
    run(toy_data, config, tmp_path / "run", resume=True, stop_after=STEPS)
    assert_same_run(whole, tmp_path / "run")


# --------------------------------------------------------------------------------------------- it refuses
def test_a_run_is_not_overwritten(toy_data, config, whole):
    before = (whole / "last.safetensors").read_bytes()
    with pytest.raises(TrainingError, match=r"holds a run already\. Continue it with --resume"):
        run(toy_data, config, whole)
    assert (whole / "last.safetensors").read_bytes() == before


def test_a_model_is_not_overwritten(toy_data, config, toy_bundle, tmp_path):
    shutil.copytree(toy_bundle(), tmp_path / "model")
    before = (tmp_path / "model" / "config.json").read_bytes()
    with pytest.raises(TrainingError, match="Choose another folder with -o"):
        run(toy_data, config, tmp_path / "model", stop_after=1)
    assert (tmp_path / "model" / "config.json").read_bytes() == before


@pytest.mark.parametrize("assignment", ["model.z=7", "model.encoder=flat", "codec.velocity_bins=4"])
def test_resume_refuses_another_model(toy_data, config, whole, assignment):
    with pytest.raises(ConfigError, match=r"the run has other (model|codec) settings than asked for"):
        run(toy_data, override(config, assignment), whole, resume=True)


def test_resume_refuses_other_data(config, whole, toy_music, tmp_path):
    prepare(sorted(toy_music.glob("1*.mid")), tmp_path / "data", workers=1)
    with pytest.raises(TrainingError, match=r"was trained on another data set than .*/data"):
        run(tmp_path / "data", config, whole, resume=True)


def test_resume_refuses_a_damaged_checkpoint(toy_data, config, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    last = tmp_path / "run" / "last.safetensors"
    content = last.read_bytes()
    for damaged in (b"", content[:100], content[:-5], b"x" * 100):
        last.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"last\.safetensors: is not a readable checkpoint"):
            run(toy_data, config, tmp_path / "run", resume=True)
    last.write_bytes(content)
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"run\.json: cannot be read"):
        run(toy_data, config, tmp_path / "run", resume=True)


def test_settings_that_do_not_fit(toy_data, config, tmp_path):
    with pytest.raises(DataError, match="the train split has no clip of 40 bars"):
        run(toy_data, override(config, "model.bars=40"), tmp_path / "run")
    with pytest.raises(DataError, match="was prepared with 4 steps a beat"):
        run(toy_data, override(config, "codec.steps_per_beat=8"), tmp_path / "run")
    for name in ("tpu", "cuda:99"):
        with pytest.raises(ConfigError, match=f"--device {name}: torch cannot use it here"):
            run(toy_data, config, tmp_path / "run", device=name)
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------ other weights
@pytest.mark.parametrize("bars", [2, 4])
def test_init_takes_the_weights_and_nothing_else(toy_data, config, whole, tmp_path, bars):
    still = replace(config.train, lr=1e-30, lr_min=0.0)
    new = replace(config, train=still, model=replace(config.model, bars=bars))
    run(toy_data, new, tmp_path / "run", init=whole, stop_after=1)
    loaded = checkpoint.load(tmp_path / "run" / "last.safetensors")
    wanted = checkpoint.load(whole / "last.safetensors")
    assert loaded.state["step"] == 1
    assert all(torch.equal(loaded.weights[name], wanted.weights[name]) for name in wanted.weights)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["init"]["run"] == str(whole)


def test_init_of_a_model(toy_data, config, toy_bundle, tmp_path):
    still = replace(config, train=replace(config.train, lr=1e-30, lr_min=0.0))
    run(toy_data, still, tmp_path / "run", init=toy_bundle(), stop_after=1)
    wanted = load_file(toy_bundle() / "model.safetensors")
    for name, weight in checkpoint.load(tmp_path / "run" / "last.safetensors").weights.items():
        torch.testing.assert_close(weight, wanted[name].float(), atol=1e-29, rtol=0)  # a weight of 0 moves by 1e-30
    with pytest.raises(TrainingError, match="its sizes are not those of this run"):
        run(toy_data, override(config, "model.z=7"), tmp_path / "other", init=toy_bundle())


@pytest.mark.parametrize("key", ["own", "common"])
def test_init_of_other_bars(toy_data, config, tmp_path, key):
    """A model with a roll takes over all that reads and writes bars; the maps of clips begin with components."""
    z = {"own": 12, "common": 24}[key]
    sizes = replace(config.model, roll=16, z=z, key=key, bars=2)
    run(toy_data, replace(config, model=sizes), tmp_path / "short", stop_after=2)
    still = replace(config.train, lr=1e-30, lr_min=0.0, transpose_down=0, transpose_up=0)
    new = replace(config, train=still, model=replace(sizes, bars=4))
    run(toy_data, new, tmp_path / "long", init=tmp_path / "short", stop_after=1)
    before, after = (checkpoint.load(tmp_path / name / "last.safetensors").weights for name in ("short", "long"))
    assert before.keys() == after.keys()
    for name, weight in after.items():
        if not name.startswith(OF_CLIPS):
            torch.testing.assert_close(weight, before[name], atol=1e-29, rtol=0)
    direct = after["conductor.direct.weight"]  # (4 · 16, z without the key's dimensions)
    products = direct.t() @ direct
    variances = products.diagonal()
    assert variances.min() > 0
    assert (products - variances.diag()).abs().max() < 1e-3 * variances.max()  # components are orthogonal
    assert (variances[:-1] >= variances[1:] * 0.999).all()  # and come by their variance
    with pytest.raises(TrainingError, match="its sizes are not those of this run"):
        run(toy_data, override(new, "model.roll=24"), tmp_path / "other", init=tmp_path / "short")


# ----------------------------------------------------------------------------------------------- it stops
def test_a_loss_that_is_not_finite_stops(toy_data, config, tmp_path):
    out = tmp_path / "run"
    run(toy_data, config, out, stop_after=3)
    before = (out / "last.safetensors").read_bytes()
    wild = replace(config, train=replace(config.train, lr=1e30))
    with pytest.raises(TrainingError) as error:
        run(toy_data, wild, out, resume=True)
    text = str(error.value)
    assert text.startswith("step 5: loss ")  # step 4 threw the weights away, step 5 saw it
    assert "not finite (seed 5)" in text
    assert str(out / "last.safetensors") in text
    assert "\n" not in text
    assert (out / "last.safetensors").read_bytes() == before
    run(toy_data, config, out, resume=True, stop_after=6)
    assert metrics(out)[-1]["step"] == 6


def test_the_first_step_is_not_finite(toy_data, config, tmp_path, monkeypatch):
    def broken(*arguments: Any) -> Any:
        loss = elbo(*arguments)
        return loss._replace(loss_nats=loss.loss_nats * math.nan)

    monkeypatch.setattr(step, "elbo", broken)
    with pytest.raises(TrainingError, match=r"step 1: loss nan, .* no checkpoint was written yet"):
        run(toy_data, config, tmp_path / "run")
    assert not (tmp_path / "run" / "last.safetensors").exists()


def broken_from(number: int) -> Callable[..., Any]:
    """Return a loss that is not finite from this step on, counted from 0."""
    calls = iter(range(10**6))

    def loss(*arguments: Any) -> Any:
        found = elbo(*arguments)
        return found._replace(loss_nats=found.loss_nats * (math.nan if next(calls) >= number else 1))

    return loss


def test_no_checkpoint_of_steps_that_were_not_read(toy_data, config, tmp_path, monkeypatch, whole):
    """Figures are read each 20 steps, but also before each checkpoint: the last is of the last step that was finite."""
    monkeypatch.setattr(loop, "LOG_STEPS", 20)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(step, "elbo", broken_from(3))
    with pytest.raises(TrainingError, match=r"^step 4: loss nan, .*; the last good checkpoint is .*last\.safetensors"):
        run(toy_data, config, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] == 3
    monkeypatch.undo()
    monkeypatch.setattr(loop, "LOG_STEPS", 20)
    run(toy_data, config, tmp_path / "run", resume=True, stop_after=STEPS)
    assert all(torch.equal(value, tensors(whole)[name]) for name, value in tensors(tmp_path / "run").items())


@pytest.mark.parametrize(("log_steps", "first"), [(20, 6), (20, 19), (4, 6)])
def test_a_step_that_is_not_finite_is_named_when_it_is_read(toy_data, config, tmp_path, monkeypatch, log_steps, first):
    """At the end of an epoch, of the call, or of LOG_STEPS steps; nothing is written of the steps since."""
    monkeypatch.setattr(loop, "LOG_STEPS", log_steps)
    monkeypatch.setattr(step, "elbo", broken_from(first))
    with pytest.raises(TrainingError, match=rf"^step {first + 1}: "):
        run(toy_data, override(config, "train.batch=2"), tmp_path / "run", stop_after=20)
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_ctrl_c_before_the_first_step(toy_data, config, tmp_path, monkeypatch):
    @contextmanager
    def at_once() -> Iterator[list[int]]:
        yield [2]

    monkeypatch.setattr(loop, "_interruptible", at_once)
    assert run(toy_data, config, tmp_path / "run") == {}
    assert not (tmp_path / "run" / "last.safetensors").exists()


INTERRUPTED = """
import os, signal, sys
from musicvae.cli import main
from musicvae.train.step import Updates
update = Updates.update
def interrupted(self, step):
    if step == 4:
        os.kill(os.getpid(), signal.SIGINT)  # in the middle of a step
    return update(self, step)
Updates.update = interrupted
main()
"""


def test_ctrl_c_saves(toy_data, tmp_path):
    command = [toy_data, "--preset", "piano-2bar-tiny", "-o", tmp_path / "run", "--set", "train.batch=4"]
    command = [str(c) for c in ("train", *command, "--precision", "float32")]
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert f"musicvae train {toy_data} -o {tmp_path / 'run'} --resume" in done.stderr
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] == 5  # the step is not cut in two
    run(toy_data, stored_config(tmp_path / "run"), tmp_path / "run", resume=True, stop_after=6)


# ----------------------------------------------------------------------------------------- what it needs
BARE = """
import sys
sys.modules.update(dict.fromkeys(("symusic", "onnxruntime", "onnx", "onnxscript", "tqdm", "click")))
from musicvae.train.__main__ import main
main()
"""


def test_a_bare_training_box(toy_data, tmp_path):
    """Two steps, validation and a checkpoint with numpy, torch and safetensors alone; only the clips are missing."""
    command = [toy_data, "-o", tmp_path / "run", "--preset", "piano-2bar-tiny", "--sample-every", 1, "--device", "cpu"]
    for assignment in ("train.batch=40", "train.epochs=1"):
        command += ["--set", assignment]
    done = subprocess.run([sys.executable, "-c", BARE, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no clips written: symusic is not installed here" in done.stdout
    assert metrics(tmp_path / "run")[-1]["kind"] == "valid"
    assert metrics(tmp_path / "run")[-1]["step"] == 2
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] == 2


def test_no_pickle_is_loaded():
    """A checkpoint from a stranger must not run code."""
    wrong = re.compile(r"torch\.load\(|allow_pickle\s*=\s*True|^\s*(import|from) (pickle|marshal|shelve|dill)\b", re.M)
    assert wrong.search("x = torch.load(path)")  # negative control
    for path in SRC.rglob("*.py"):
        assert not wrong.search(path.read_text(encoding="utf-8")), path
