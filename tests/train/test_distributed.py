"""Several processes, as torchrun starts them: one run, however many make it, and one end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from musicvae.config import Config, override, to_dict
from musicvae.errors import ConfigError
from musicvae.train import checkpoint, device, loop
from musicvae.train.device import choose_device
from musicvae.train.distributed import Ranks
from musicvae.train.loop import train

CLOCK = ("seconds", "clips_per_second", "tflops", "of_gemm_rate", "of_peak")
STEPS = 10

STRUCTURES: dict[str, dict[str, Any]] = {
    "piano": {"transpose_down": 5},
    "piano-flat": {"encoder": "flat", "decoder": "flat", "hide": 0.2},
    "piano-sampled": {"first_input": "previous", "sampling": "constant", "sampling_rate": 0.5},
    "melody": {"kind": "melody", "embedding": 0, "head_hidden": 0, "sampling": "inverse_sigmoid", "sampling_rate": 4},
    "trio": {"kind": "trio", "first_input": "previous", "sampling": "constant", "sampling_rate": 0.5, "hide": 0.1},
}

SCRIPT = """
import json, os, signal, sys
import torch
torch.set_num_threads(1)
from musicvae.config import Config, from_dict
from musicvae.errors import DataError, MusicVAEError
from musicvae.train import device, distributed, loop, step
loop.LOG_STEPS, device.GEMM_SIZE["cpu"] = 1, 64
RANK = int(os.environ["RANK"])
def run(data, config, out, **settings):
    settings = {"device": "cpu", "precision": "float32", "sample_every": 0} | settings
    return loop.train(data, from_dict(Config, config), out, **settings)
"""


def torchrun(processes: int, code: str, *arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in several processes; fails where they do not end within a minute or two."""
    script = cwd / "script.py"
    script.write_text(SCRIPT + code)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [*launch, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=cwd,
    )


def metrics(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in lines]


def tensors(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "last.safetensors")


def said(done: subprocess.CompletedProcess[str], what: str) -> int:
    """Count lines of the processes themselves: torchrun repeats none of them."""
    return sum(what in line for line in (done.stdout + done.stderr).splitlines())


@pytest.fixture(scope="module")
def plain(toy_config: Callable[..., Config]) -> Config:
    return toy_config(epochs=20, batch=4, seed=5, lr=0.01)


# ------------------------------------------------------------------------------------------------ one run
CURVES = f"""
for name, (data, config) in json.loads(open("runs.json").read()).items():
    run(data, config, name, stop_after={STEPS})
    run(data, config, name + "-resumed", stop_after=4)
    figures = run(data, config, name + "-resumed", stop_after={STEPS}, resume=True)
    assert RANK == 0 or not figures
print("rank", RANK, "is done")
"""


def test_two_processes_are_one_with_the_doubled_batch(toy_data, toy_band_data, toy_config, tmp_path, monkeypatch):
    """Loss curve, figures and validation, with every schedule; stopped and resumed, bit for bit."""
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    monkeypatch.setitem(device.GEMM_SIZE, "cpu", 64)
    runs = {}
    for name, structure in STRUCTURES.items():
        config = toy_config(epochs=20, batch=4, seed=5, lr=0.01, **structure)
        config = override(override(config, "loss.beta_schedule=annealed"), "loss.beta_rate=0.9")
        runs[name] = (str(toy_band_data if "kind" in structure else toy_data), config)
    (tmp_path / "runs.json").write_text(json.dumps({n: (data, to_dict(c)) for n, (data, c) in runs.items()}))
    done = torchrun(2, CURVES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert said(done, "is done") == 2
    for name, (data, config) in runs.items():
        alone, two, resumed = (tmp_path / n for n in (f"{name}-alone", name, f"{name}-resumed"))
        doubled = override(config, "train.batch=8")
        train(data, doubled, alone, device="cpu", precision="float32", sample_every=0, stop_after=STEPS)
        assert (tensors(alone).keys(), len(metrics(alone))) == (tensors(two).keys(), len(metrics(two)))
        for one, other in zip(metrics(alone), metrics(two), strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():  # metrics.jsonl has six digits
                assert value == (other[key] if key == "kind" else pytest.approx(other[key], rel=3e-5, abs=1e-6)), key
        assert max(float(line["loss_nats"]) for line in metrics(two)) > 10  # they are of something
        for key, value in tensors(alone).items():
            torch.testing.assert_close(value, tensors(two)[key], rtol=1e-3, atol=1e-5)
        assert metrics(two) == metrics(resumed)
        assert all(torch.equal(value, tensors(resumed)[key]) for key, value in tensors(two).items())
        sessions = json.loads((resumed / "run.json").read_text())["sessions"]
        assert [s["processes"] for s in sessions] == [2, 2]


THREE = """
data, config = sys.argv[1], json.loads(sys.argv[2])
run(data, config, "whole", stop_after=8)
run(data, config, "resumed", stop_after=3)
run(data, config, "resumed", stop_after=8, resume=True)
"""


def test_three_processes_resume_bit_for_bit(toy_data, plain, tmp_path):
    """Sums of three depend on their order, and that on how DistributedDataParallel cuts the gradient."""
    large = override(override(plain, "model.embedding=64"), "model.head_hidden=64")
    done = torchrun(3, THREE, toy_data, json.dumps(to_dict(large)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, resumed = tensors(tmp_path / "whole"), tensors(tmp_path / "resumed")
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "resumed")


# ------------------------------------------------------------------------------------------------ one end
def test_ctrl_c_in_one_process_stops_all_at_one_step(toy_data, tmp_path):
    """By way of the command line; the one that is not told to stop stops, too, and the first one saves."""
    code = """
from musicvae.cli import main
update = step.Updates.update
def interrupted(self, number):
    if RANK == 1 and number == 4:
        os.kill(os.getpid(), signal.SIGINT)
    update(self, number)
    with open(f"made-{RANK}.txt", "a") as file:  # lines of two processes may meet on one screen
        print(number, file=file)
step.Updates.update = interrupted
main()
"""
    command = ["train", toy_data, "--preset", "piano-2bar-tiny", "-o", "run", "--set", "train.batch=4"]
    done = torchrun(2, code, *command, "--precision", "float32", "--device", "cpu", cwd=tmp_path)
    assert done.returncode != 0  # 130 of the first process
    for rank in range(2):
        assert (tmp_path / f"made-{rank}.txt").read_text().split() == list("01234")
    assert said(done, "Go on with: musicvae train") == 1
    assert said(done, "Traceback") <= 1  # torchrun's own, about the 130
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] == 5


FAILING = """
data, config, how = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
run(data, config, "run", stop_after=3)
if how == "data" and RANK == 1:
    data = "nowhere"
if how == "config" and RANK == 1:
    config["train"]["lr"] = 0.5
update, elbo = step.Updates.update, step.elbo
def failing(self, number):
    if number == 5 and RANK == 1:
        if how == "error":
            raise OSError("the disk of one process is full")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    return update(self, number)
def broken(output, *others):
    loss = elbo(output, *others)
    return loss._replace(loss_nats=loss.loss_nats * float("nan")) if how == "nan" and RANK == 1 else loss
step.Updates.update, step.elbo = failing, broken
try:
    run(data, config, "run", stop_after=12, resume=True)
except (MusicVAEError, OSError) as error:
    print("told:", error, flush=True)
    sys.exit(1)
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("data", "told: nowhere: is not a prepared data set"),
        ("config", "told: the processes of this run do not see the same settings, data set or checkpoint"),
        ("error", "told: the disk of one process is full"),
        ("killed", "told: another process of this run ended without a word"),
        ("nan", "told: step 4: loss nan, gradient norm nan: not finite (seed 5). Nothing was changed by this step; "),
    ],
)
def test_an_error_in_one_process_ends_all_with_one_message(toy_data, plain, tmp_path, how, message):
    done = torchrun(2, FAILING, toy_data, json.dumps(to_dict(plain)), how, cwd=tmp_path)
    assert done.returncode != 0
    assert said(done, message) == said(done, "told:") == 1, done.stdout + done.stderr
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").state["step"] == 3


# ------------------------------------------------------------------------------------------------ GPUs
def test_each_process_has_its_gpu(monkeypatch):
    ranks = Ranks(3, 4, 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen: list[Any] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(device.torch, "zeros", lambda *size, device: chosen.append(str(device)))
    for name in ("auto", "cuda"):
        assert choose_device(name, ranks) == torch.device("cuda:1")
    assert choose_device("cpu", ranks) == torch.device("cpu")
    assert chosen == ["cuda:1", torch.device("cuda:1")] * 2 + ["cpu"]
    with pytest.raises(ConfigError, match=r"--device cuda:0: each of the 4 processes has its own GPU\. Use --device"):
        choose_device("cuda:0", ranks)
    with pytest.raises(ConfigError, match="this machine has 2 GPUs, and torchrun started more processes"):
        choose_device("cuda", Ranks(2, 4, 2))


def test_one_process_of_torchrun_is_one(toy_data, plain, tmp_path, monkeypatch):
    """WORLD_SIZE of some other tool, or torchrun with one process, need no group."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    train(toy_data, plain, tmp_path / "a", device="cpu", sample_every=0, stop_after=1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    train(toy_data, plain, tmp_path / "b", device="cpu", sample_every=0, stop_after=1)
    assert json.loads((tmp_path / "b" / "run.json").read_text())["sessions"][0]["processes"] == 1
