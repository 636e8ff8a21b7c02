"""The training loop.

Nothing is drawn from a hidden state: batch and noise are functions of the seed and the step, so that a run that was
stopped and resumed makes the same updates as one that was not.

Nor does anything wait for the device within a step: figures stay there and are read each LOG_STEPS steps, and whenever
a checkpoint is to be written, so that none is of weights whose updates were not found finite.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicvae.config import Config, to_dict
from musicvae.errors import TrainingError
from musicvae.train.distributed import together
from musicvae.train.record import resumable
from musicvae.train.report import Event
from musicvae.train.run import Run

__all__ = ["train"]

LOG_STEPS = 20
SAVE_SECONDS = 60.0
FEW_STEPS = 500  # fewer updates than this teach next to nothing


def train(
    data: str | Path,
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    init: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    sample_every: int = 5,
    stop_after: int | None = None,
    report: Callable[[Event], None] = lambda event: None,
) -> dict[str, Any]:
    """Train on a prepared data set and return the last validation's figures.

    `data` is the folder that `prepare` wrote and `out` the run's folder. With `resume`, a run that is there goes on
    where its last checkpoint was written (one a minute); its codec and model must be those of `config`. A new run
    begins with the weights of `init`, a run's folder or a model's name or folder, if given: the sizes must be the same,
    the number of bars need not. `device` is auto, cpu, cuda or cuda:1; `precision` auto, float32 or bfloat16
    (autocast). New clips are written every `sample_every` epochs (0: never). `stop_after` ends this call after that
    many steps in all, as Ctrl-C does: with a checkpoint. Raises DataError, ConfigError or TrainingError; a loss that is
    not finite leaves the last checkpoint.

    Under `torchrun` all processes train one model, each on `config.train.batch` clips of every step; the first reports,
    writes the files and returns figures. An error of one is raised in one; the others leave with SystemExit.
    """
    out = Path(out)
    with together() as ranks:
        _require_place(out, resume)
        report = report if ranks.first else lambda event: None
        run = Run(Path(data), config, out, device, precision, report, ranks)
        run.begin(resume, init)
        figures = _train(run, sample_every, stop_after)
        del run  # before the processes part: see `together`
    return figures


def _train(run: Run, sample_every: int, stop_after: int | None) -> dict[str, Any]:
    sha = run.dataset.info.get("sha256")
    run.ranks.require_same(json.dumps([to_dict(run.config), sha, run.state, run.precision]))
    if run.ranks.first:
        run.write_down()
        _report_start(run)
    with _interruptible() as interrupted:
        figures, stopped = _loop(run, sample_every, stop_after, interrupted)
    end = f"step {run.state['step']} of {run.total_steps}, saved in {run.out}"
    run.report(Event("end", {"message": end, "interrupted": stopped}))
    return figures


def _require_place(out: Path, resume: bool) -> None:
    """Raise TrainingError if something else is in the folder than a run that is to go on."""
    if resumable(out) and not resume:
        raise TrainingError(f"{out}: holds a run already. Continue it with --resume, or choose another folder with -o")
    if not resumable(out) and (out / "config.json").exists() and not (out / "run.json").exists():
        raise TrainingError(f"{out}: holds something else than a run, perhaps a model. Choose another folder with -o")


def _report_start(run: Run) -> None:
    bars, many = run.config.model.bars, run.ranks.size
    processes = f"{many} processes, {run.batch} clips a step; " if many > 1 else ""
    message = (
        f"{len(run.dataset.songs)} songs, {len(run.clips)} clips of {bars} bars, {len(run.valid)} more held out; "
        f"{run.parameters / 1e6:.1f} M parameters; {processes}{run.device}, {run.precision}, {run.limit.name} "
        f"{run.limit.flops / 1e12:.3g} TFLOP/s"
    )
    steps = {"step": run.state["step"], "steps": run.total_steps, "epoch_steps": run.epoch_steps}
    run.report(Event("start", {"message": message, **steps}))
    if run.total_steps < FEW_STEPS:
        few = f"this run makes only {run.total_steps} updates ({run.epoch_steps} an epoch): raise --epochs or add music"
        run.report(Event("note", {"message": few}))
    if not len(run.valid):
        none = "no clip is held out (too few songs): there will be no validation"
        run.report(Event("note", {"message": none}))


def _loop(run: Run, sample_every: int, stop_after: int | None, interrupted: list[int]) -> tuple[dict[str, Any], bool]:
    """Make updates until the end, or until a process is interrupted; return the last validation and whether one was."""
    ranks, figures = run.ranks, dict[str, Any]()
    window: list[dict[str, float]] = []
    spent, began = 0.0, time.monotonic()
    stop = min(run.total_steps, stop_after or run.total_steps)
    (stopping,) = ranks.any(bool(interrupted))
    while run.state["step"] < stop and not stopping:
        started = time.monotonic()
        run.updates.update(run.state["step"])
        run.state["step"] += 1
        step = run.state["step"]
        due = ranks.first and time.monotonic() - run.saved > SAVE_SECONDS
        stopping, due = ranks.any(bool(interrupted), due)
        epoch, rest = divmod(step, run.epoch_steps)
        if stopping or due or rest == 0 or step % LOG_STEPS == 0 or step == stop:
            window += run.updates.read()
        now = time.monotonic()
        spent += now - started
        run.state["seconds"] += now - began  # validation and checkpoints included
        began = now
        if not ranks.first:
            continue
        if step % LOG_STEPS == 0 or step == stop:
            run.log("train", **_means(run, window, spent))
            window, spent = [], 0.0
        if rest == 0:
            figures = _end_of_epoch(run, epoch, sample_every) or figures
        if rest == 0 or due:
            run.save()
    if ranks.first and run.state["step"]:  # else there is nothing to save, and Adam has no state yet
        run.save()
    return figures, stopping


def _means(run: Run, window: list[dict[str, float]], spent: float) -> dict[str, float]:
    """Return the means of the figures of some steps, which took so many seconds, and how fast they were."""
    means = {name: sum(one[name] for one in window) / len(window) for name in window[0]}
    rate = means.pop("flops") * len(window) / spent / run.ranks.size  # of this process
    means["clips_per_second"] = run.batch * len(window) / spent
    return means | {"tflops": rate / 1e12, run.limit.key: rate / run.limit.flops}


def _end_of_epoch(run: Run, epoch: int, sample_every: int) -> dict[str, Any]:
    figures = dict[str, Any]()
    if len(run.valid):
        figures = run.validate()
        run.log("valid", **figures)
        if run.state["best"] is None or figures["loss_nats"] < run.state["best"]:
            run.state["best"] = figures["loss_nats"]
            run.save(best=True)
    if sample_every and epoch % sample_every == 0:
        folder = run.sample(epoch)
        message = f"new clips: {folder}" if folder else "no clips written: symusic is not installed here"
        run.report(Event("samples", {"message": message}))
    return figures


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that a step is never cut in two; a second Ctrl-C stops at once."""
    caught: list[int] = []

    def handle(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
