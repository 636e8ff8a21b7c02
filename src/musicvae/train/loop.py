"""The training loop.

Nothing is drawn from a hidden state: batch and noise are functions of the seed and the step, so that a run that was
stopped and resumed makes the same updates as one that was not.

A run is a folder:

    config.json       all settings                        metrics.jsonl   a line each 20 steps and each epoch
    run.json          data set, command, machine, time    samples/        clips by epoch, as MIDI
    last.safetensors  where to resume                     best.safetensors   lowest validation loss
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicvae.codecs import Codec, codec
from musicvae.config import TEMPERATURE, Config
from musicvae.data.dataset import Batch, Dataset
from musicvae.errors import TrainingError
from musicvae.evaluate.reconstruction import accuracies, active_units, note_scores, totals
from musicvae.model import MusicVAE, Output, elbo, scores
from musicvae.runtime.sampling import draw_tokens, generators, prior
from musicvae.runtime.torch import TorchBackend
from musicvae.train import checkpoint
from musicvae.train.device import choose_device, half_precision
from musicvae.train.feeding import feed
from musicvae.train.record import read_record, require_same_run, resumable, write_record
from musicvae.train.report import Event
from musicvae.train.schedules import beta, learning_rate

__all__ = ["train"]

LOG_STEPS = 20
SAVE_SECONDS = 60.0
SAMPLES = 4
FEW_STEPS = 500  # fewer updates than this teach next to nothing


class Run:
    """What one call of `train` works with."""

    def __init__(
        self, data: Path, config: Config, out: Path, device: str, precision: str, report: Callable[[Event], None]
    ):
        self.config, self.out, self.report = config, out, report
        self.device = choose_device(device)
        self.amp = half_precision(self.device, precision)
        self.dataset = Dataset(data)
        self.codec: Codec = codec(config.codec)
        self.clips = self.dataset.clips("train", self.codec, config.model.bars)
        self.valid = self.dataset.clips("valid", self.codec, config.model.bars)
        self.clips.require()
        self.epoch_steps = -(-self.clips.epoch // config.train.batch)
        self.total_steps = config.train.epochs * self.epoch_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.train.seed)
            self.model = MusicVAE(self.codec.spec, config.model).to(self.device)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.train.lr, fused=True)
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "best": None}
        self.saved = time.monotonic()
        self.init: dict[str, Any] | None = None

    # ------------------------------------------------------------------------------------------ one step
    def update(self, step: int) -> dict[str, float]:
        """Make one update; returns its figures. Raises TrainingError, the weights untouched, if it is not finite."""
        settings = self.config.train
        batch = self.clips.draw(settings.seed, step, settings.batch, (settings.transpose_down, settings.transpose_up))
        tokens, lengths = torch.from_numpy(batch.tokens).to(self.device), torch.from_numpy(batch.lengths)
        noise = torch.from_numpy(
            np.random.default_rng([settings.seed, 2, step]).standard_normal(
                (len(tokens), self.config.model.z), np.float32
            )
        ).to(self.device)
        rate = learning_rate(step, self.total_steps, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        weight = beta(step, self.total_steps, self.config.loss)
        with self.autocast():
            mu, sigma = self.model.encode(tokens, lengths)
            z = mu + sigma * noise
            fed = feed(self.model, settings, step, z, tokens, lengths)
            output = Output(mu, sigma, z, self.model.decode(z, tokens, lengths, fed))
            loss = elbo(output, tokens, self.codec.spec, weight, self.config.loss.free_bits)
        self.optimizer.zero_grad(set_to_none=True)
        slots = len(output.logits.slots)
        (loss.loss_nats * len(tokens) / slots).backward()  # type: ignore[no-untyped-call]  # nats a slot: a scale on which one clipping norm serves all
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.grad_clip)
        nats = float(loss.loss_nats.detach())
        if not math.isfinite(nats) or not math.isfinite(float(norm)):
            last = self.out / "last.safetensors"
            kept = f"the last good checkpoint is {last}" if last.exists() else "no checkpoint was written yet"
            raise TrainingError(
                f"step {step + 1}: loss {nats}, gradient norm {float(norm)}: not finite (seed {settings.seed}). "
                f"Nothing was changed by this step; {kept}. Try a lower rate: --set train.lr={settings.lr / 3:.1g}"
            )
        self.optimizer.step()
        counts = scores(output.logits, tokens, self.codec.spec)
        figures = {
            "loss_nats": nats,
            "recon_nats": float(loss.recon_nats.detach().mean()),
            "kl_nats": float(loss.kl_nats.detach().mean()),
            "nats_per_slot": float(loss.recon_nats.detach().sum()) / slots,
            "grad_norm": float(norm),
            "lr": rate,
            "beta": weight,
            "slots": float(slots),
        }
        return figures | self._accuracies(counts.right.tolist(), counts.total.tolist())

    # ---------------------------------------------------------------------------------------- validation
    def validate(self) -> dict[str, float]:
        """Score held-out clips, always the same ones: teacher-forced, and decoded greedily from mu."""
        settings = self.config.train
        whole = self.valid.spread(settings.validation_clips)
        right = total = np.zeros(len(self.codec.spec.sizes) + 1)
        total_loss, recon, kl, slots, mus = 0.0, 0.0, 0.0, 0, []
        for part in _parts(whole, settings.batch):
            tokens, lengths = torch.from_numpy(part.tokens).to(self.device), torch.from_numpy(part.lengths)
            with torch.no_grad(), self.autocast():
                output = self.model(tokens, lengths, torch.zeros(len(tokens), self.config.model.z, device=self.device))
                loss = elbo(output, tokens, self.codec.spec, self.config.loss.beta, self.config.loss.free_bits)
                counts = scores(output.logits, tokens, self.codec.spec)
            right, total = right + counts.right.double().cpu().numpy(), total + counts.total.double().cpu().numpy()
            total_loss += float(loss.loss_nats) * len(tokens)
            recon, kl = recon + float(loss.recon_nats.sum()), kl + float(loss.kl_nats.sum())
            slots += len(output.logits.slots)
            mus.append(output.mu.cpu().numpy())
        B = len(whole.tokens)
        some = np.arange(max(1, B // 4)) * B // max(1, B // 4)
        greedy = draw_tokens(TorchBackend(self.model), np.concatenate(mus)[some])
        originals = Batch(whole.tokens[some], whole.lengths[some])
        notes = totals(note_scores(self.codec, originals.tokens, greedy))
        steps = totals(accuracies(greedy, originals, self.codec.spec)) if self.codec.spec.end is None else {}
        figures = {
            "loss_nats": total_loss / B,
            "recon_nats": recon / B,
            "kl_nats": kl / B,
            "nats_per_slot": recon / slots,
            "onset_f1": notes["onset_f1"],
            "duration_f1": notes["duration_f1"],
            "active_units": float(active_units(np.concatenate(mus))),
            "clips": float(B),
            **{f"greedy_{name}": value for name, value in steps.items()},
        }
        return figures | self._accuracies(right, total)

    def sample(self, epoch: int) -> Path | None:
        """Write new clips, the same latent vectors every time, so that epochs can be compared by ear."""
        noise = generators(self.config.train.seed, SAMPLES)
        tokens = draw_tokens(TorchBackend(self.model), prior(noise, self.config.model.z), noise, TEMPERATURE)
        folder = self.out / "samples" / f"epoch-{epoch:04}"
        try:
            for i, clip in enumerate(tokens):
                self.codec.decode(clip).save(folder / f"clip-{i + 1}.mid")
        except ModuleNotFoundError:  # a bare training box has no symusic; the checkpoint can be sampled elsewhere
            return None
        return folder

    # --------------------------------------------------------------------------------------------- files
    def save(self) -> None:
        """Write the checkpoint to resume from."""
        checkpoint.save(self.out / "last.safetensors", self.model, self.optimizer, self.state)
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Continue from the last checkpoint, and forget what metrics.jsonl says of later steps."""
        loaded = checkpoint.load(self.out / "last.safetensors")
        loaded.restore(self.model, self.optimizer)
        self.state = loaded.state
        metrics = self.out / "metrics.jsonl"
        if metrics.exists():
            lines = [
                x
                for x in metrics.read_text().splitlines()
                if x.endswith("}") and json.loads(x)["step"] <= self.state["step"]
            ]
            partial = metrics.with_suffix(".partial")
            partial.write_text("".join(f"{x}\n" for x in lines))
            partial.replace(metrics)

    def begin_with(self, source: str | Path) -> None:
        """Take the weights of a run or a model, and nothing else of it."""
        from musicvae.runtime import bundle
        from musicvae.runtime.torch import read_weights

        if resumable(Path(source)):
            loaded = checkpoint.load(Path(source) / "last.safetensors")
            weights, record = loaded.weights, read_record(Path(source))
            self.init = {"run": str(source), **loaded.state, "sessions": record["sessions"], "init": record["init"]}
        else:
            weights = read_weights(bundle.find(source))
            self.init = {"model": str(source)}
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise TrainingError(f"--init {source}: its sizes are not those of this run ({reason})") from None

    def log(self, kind: str, **figures: Any) -> None:
        """Append a line to metrics.jsonl and report it."""
        step = self.state["step"]
        line = {
            "kind": kind,
            "step": step,
            "epoch": step / self.epoch_steps,
            "seconds": round(self.state["seconds"], 1),
        }
        line |= {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in figures.items()}
        with (self.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.report(Event(kind, line))

    def autocast(self) -> torch.autocast:
        """Return the context in which the network computes."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp)

    def _accuracies(self, right: Any, total: Any) -> dict[str, float]:
        names = [f"accuracy_{field.name}" for stream in self.codec.spec.streams for field in stream.fields]
        names += ["accuracy_all"] if len(names) > 1 else []
        return {name: float(r) / max(float(t), 1.0) for name, r, t in zip(names, right, total, strict=False)}


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
    """
    out = Path(out)
    if resumable(out) and not resume:
        raise TrainingError(f"{out}: holds a run already. Continue it with --resume, or choose another folder with -o")
    if not resumable(out) and (out / "config.json").exists() and not (out / "run.json").exists():
        raise TrainingError(f"{out}: holds something else than a run, perhaps a model. Choose another folder with -o")
    run = Run(Path(data), config, out, device, precision, report)
    if resume and resumable(out):
        require_same_run(out, config, run.dataset)
        run.resume()
    elif init is not None:
        run.begin_with(init)
    out.mkdir(parents=True, exist_ok=True)
    if not run.state["step"]:
        (out / "metrics.jsonl").unlink(missing_ok=True)  # of a run that died before its first checkpoint
    write_record(
        out,
        config,
        {"train": run.clips, "valid": run.valid},
        step=run.state["step"],
        device=run.device,
        precision="bfloat16" if run.amp else "float32",
        init=run.init,
    )
    report(
        Event(
            "start",
            {
                "message": f"{len(run.dataset.songs)} songs, {len(run.clips)} clips of {config.model.bars} bars, "
                f"{len(run.valid)} more held out; {run.parameters / 1e6:.1f} M parameters; {run.device}, "
                f"{'bfloat16' if run.amp else 'float32'}",
                "step": run.state["step"],
                "steps": run.total_steps,
                "epoch_steps": run.epoch_steps,
            },
        )
    )
    if run.total_steps < FEW_STEPS:
        few = f"this run makes only {run.total_steps} updates ({run.epoch_steps} an epoch): raise --epochs or add music"
        report(Event("note", {"message": few}))
    if not len(run.valid):
        report(Event("note", {"message": "no clip is held out (too few songs): there will be no validation"}))
    with _interruptible() as interrupted:
        figures = _loop(run, sample_every, stop_after, interrupted)
    report(
        Event(
            "end",
            {
                "message": f"step {run.state['step']} of {run.total_steps}, saved in {out}",
                "interrupted": bool(interrupted),
            },
        )
    )
    return figures


def _loop(run: Run, sample_every: int, stop_after: int | None, interrupted: list[int]) -> dict[str, Any]:
    settings, figures = run.config.train, dict[str, Any]()
    window: list[dict[str, float]] = []
    began = time.monotonic()
    stop = min(run.total_steps, stop_after or run.total_steps)
    while run.state["step"] < stop and not interrupted:
        started = time.monotonic()
        window.append(run.update(run.state["step"]))
        now = time.monotonic()
        run.state["step"] += 1
        run.state["seconds"] += now - began  # validation and checkpoints included
        window[-1]["seconds"] = now - started
        began = now
        step = run.state["step"]
        if step % LOG_STEPS == 0 or step == stop:
            means = {k: sum(w[k] for w in window) / len(window) for k in window[0]}
            means["clips_per_second"] = settings.batch / means.pop("seconds")
            run.log("train", **means)
            window = []
        if step % run.epoch_steps == 0:
            epoch = step // run.epoch_steps
            if len(run.valid):
                figures = run.validate()
                run.log("valid", **figures)
                if run.state["best"] is None or figures["loss_nats"] < run.state["best"]:
                    run.state["best"] = figures["loss_nats"]
                    checkpoint.save(run.out / "best.safetensors", run.model, run.optimizer, run.state)
            if sample_every and epoch % sample_every == 0:
                folder = run.sample(epoch)
                message = f"new clips: {folder}" if folder else "no clips written: symusic is not installed here"
                run.report(Event("samples", {"message": message}))
            run.save()
        elif now - run.saved > SAVE_SECONDS:
            run.save()
    if run.state["step"]:  # else there is nothing to save, and Adam has no state yet
        run.save()
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


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    for i in range(0, len(batch.tokens), size):
        lengths = batch.lengths[i : i + size]
        yield Batch(batch.tokens[i : i + size, :, : lengths.max()], lengths)
