"""What a run writes down about itself: config.json and run.json."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

import musicvae
from musicvae.codecs import codec
from musicvae.config import Config, from_dict, to_dict
from musicvae.data.dataset import Clips, Dataset
from musicvae.errors import ConfigError, TrainingError
from musicvae.model import MusicVAE, music_vae
from musicvae.train import checkpoint

__all__ = ["OpenRun", "open_run", "read_record", "require_same_run", "resumable", "stored_config", "write_record"]


def resumable(out: Path) -> bool:
    """Return whether a folder holds a run that can go on."""
    return (out / "last.safetensors").exists()


def stored_config(out: Path) -> Config:
    """Return the settings of a run; raises TrainingError if they cannot be read."""
    path = out / "config.json"
    try:
        return from_dict(Config, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, ConfigError) as error:
        raise TrainingError(f"{out}: its settings cannot be read ({error})") from None


def read_record(out: Path) -> dict[str, Any]:
    """Return run.json: data, clips, init and sessions; raises TrainingError if it cannot be read."""
    try:
        record: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
        if not {"data", "clips", "init", "sessions"} <= record.keys():
            raise ValueError("it lacks entries")
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{out / 'run.json'}: cannot be read ({error})") from None
    return record


def require_same_run(out: Path, config: Config, dataset: Dataset) -> None:
    """Raise ConfigError or TrainingError if a run cannot go on with these settings or this data set."""
    stored = stored_config(out)
    for part in ("codec", "model"):
        if getattr(stored, part) != getattr(config, part):
            raise ConfigError(
                f"{out}: the run has other {part} settings than asked for; a run keeps its own. Start another with -o"
            )
    if read_record(out)["data"]["sha256"] != dataset.info.get("sha256"):
        raise TrainingError(
            f"{out}: was trained on another data set than {dataset.folder}. Name that one, or start another run with -o"
        )


class OpenRun(NamedTuple):
    """A run's network and where it comes from."""

    network: MusicVAE
    """The network with the checkpoint's weights, on the CPU."""
    config: Config
    """The run's settings."""
    trained: dict[str, Any]
    """run.json, the checkpoint's state (step, seconds, best), its name, and the number of parameters."""


def open_run(out: Path, which: str = "best") -> OpenRun:
    """Open a run's `best` or `last` checkpoint (last, too, before the first validation).

    Raises TrainingError if the folder holds no run or the checkpoint does not fit.
    """
    path = out / f"{which}.safetensors"
    if which == "best" and not path.exists():
        path = out / "last.safetensors"
    if not path.exists():
        raise TrainingError(f"{out}: holds no checkpoint. Name a folder that `musicvae train` wrote")
    config, loaded = stored_config(out), checkpoint.load(path)
    network = music_vae(codec(config.codec).spec, config.model)
    loaded.restore(network)
    parameters = sum(p.numel() for p in network.parameters())
    trained = {**read_record(out), **loaded.state, "checkpoint": path.stem, "parameters": parameters}
    return OpenRun(network.eval(), config, trained)


def write_record(
    out: Path,
    config: Config,
    clips: dict[str, Clips],
    *,
    step: int,
    device: torch.device,
    precision: str,
    processes: int,
    init: dict[str, Any] | None,
) -> None:
    """Write config.json, and run.json with this session added to those before (none where `step` is 0)."""
    dataset = clips["train"].dataset
    before = read_record(out) if step else {"sessions": [], "init": init}
    session = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": [*_program(Path(sys.argv[0])), *sys.argv[1:]],
        "from_step": step,
        "musicvae": musicvae.__version__,
        "commit": _commit(),
        "device": _device_name(device),
        "precision": precision,
        "processes": processes,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    record = {
        "data": {
            "folder": str(dataset.folder),
            "sources": [Path(s["source"]).name for s in dataset.info.get("sources", [])],
            **{k: dataset.info.get(k) for k in ("songs", "bars", "voices", "settings", "sha256")},
        },
        "clips": {**{split: len(c) for split, c in clips.items()}, "epoch": clips["train"].epoch},
        "init": before["init"],
        "sessions": [*before["sessions"], session],
    }
    for name, content in (("config.json", to_dict(config)), ("run.json", record)):
        partial = out / f"{name}.partial"
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(out / name)


def _commit() -> str | None:
    """Return the commit of the source tree that runs, marked where it has changes; None outside its checkout."""
    package = Path(__file__).parents[1]

    def git(*words: str) -> str:
        command = ("git", "-C", str(package), *words)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) / "src" / "musicvae" != package:
            return None  # installed somewhere in another project's checkout
        return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def _program(path: Path) -> list[str]:
    """Return what was called: a program by its name, `python -m` what has none."""
    if path.name != "__main__.py":
        return [path.name]
    return ["python", "-m", "musicvae.train" if path.parent.name == "train" else "musicvae"]
