"""One call of `train`: its data, network and files.

A run is a folder:

    config.json       all settings                        metrics.jsonl   a line each 20 steps and each epoch
    run.json          data set, command, machine, time    samples/        clips by epoch, as MIDI
    last.safetensors  where to resume                     best.safetensors   lowest validation loss
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicvae.codecs import Codec, codec
from musicvae.config import TEMPERATURE, Config
from musicvae.data.dataset import Batch, Dataset
from musicvae.errors import TrainingError
from musicvae.evaluate.reconstruction import accuracies, active_units, note_scores, totals
from musicvae.model import elbo, music_vae, scores
from musicvae.runtime.sampling import draw_tokens, generators, prior
from musicvae.runtime.torch import TorchBackend
from musicvae.train import checkpoint
from musicvae.train.device import Limit, autocast, choose_device, half_precision, limit
from musicvae.train.distributed import Ranks
from musicvae.train.principal import OF_CLIPS, begin_with_components
from musicvae.train.record import read_record, require_same_run, resumable, write_record
from musicvae.train.report import Event
from musicvae.train.resident import Resident
from musicvae.train.step import Updates, shares

__all__ = ["Run"]

SAMPLES = 4


class Run:
    """What one call of `train` works with."""

    def __init__(
        self,
        data: Path,
        config: Config,
        out: Path,
        device: str,
        precision: str,
        report: Callable[[Event], None],
        ranks: Ranks,
    ) -> None:
        self.config, self.out, self.report, self.ranks = config, out, report, ranks
        self.device = choose_device(device, ranks)
        self.amp = half_precision(self.device, precision)
        self.dataset = Dataset(data)
        self.codec: Codec = codec(config.codec)
        self.clips = self.dataset.clips("train", self.codec, config.model.bars)
        self.valid = self.dataset.clips("valid", self.codec, config.model.bars)
        self.clips.require()
        self.batch = config.train.batch * ranks.size
        self.epoch_steps = -(-self.clips.epoch // self.batch)
        self.total_steps = config.train.epochs * self.epoch_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.train.seed)
            self.model = music_vae(self.codec.spec, config.model).to(self.device)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        resident = Resident(self.clips, self.device)
        last = out / "last.safetensors"
        self.updates = Updates(self.model, resident, config, self.total_steps, ranks, self.amp, last)
        self.state: dict[str, Any] = {"step": 0, "seconds": 0.0, "best": None}
        self.saved = time.monotonic()
        self.init: dict[str, Any] | None = None

    # ---------------------------------------------------------------------------------------- validation
    def validate(self) -> dict[str, float]:
        """Score held-out clips, always the same ones: teacher-forced, and decoded greedily from mu."""
        settings = self.config.train
        whole = self.valid.spread(settings.validation_clips)
        right = total = np.zeros(len(self.codec.spec.sizes) + 1)
        total_loss, recon, kl, slots, mus = 0.0, 0.0, 0.0, 0, []
        for part in _parts(whole, settings.batch):
            tokens, lengths = torch.from_numpy(part.tokens).to(self.device), torch.from_numpy(part.lengths)
            with torch.no_grad(), autocast(self.device, self.amp):
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
        return figures | shares(self.codec.spec, right, total)

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
    def begin(self, resume: bool, init: str | Path | None) -> None:
        """Take the weights to begin with; raises ConfigError or TrainingError if they do not fit."""
        resumes = resume and resumable(self.out)
        if resumes:
            require_same_run(self.out, self.config, self.dataset)
            loaded = checkpoint.load(self.out / "last.safetensors")
            loaded.restore(self.model, self.updates.optimizer)
            self.state = loaded.state
        elif init is not None:
            self._begin_with(init)
        elif self.config.model.roll:
            self._begin_with_components()

    def write_down(self) -> None:
        """Write config.json and run.json, and forget what metrics.jsonl says of later steps than the checkpoint's."""
        self.out.mkdir(parents=True, exist_ok=True)
        metrics, step = self.out / "metrics.jsonl", self.state["step"]
        if not step:
            metrics.unlink(missing_ok=True)  # of a run that died before its first checkpoint
        if metrics.exists():
            lines = [x for x in metrics.read_text().splitlines() if x.endswith("}") and json.loads(x)["step"] <= step]
            partial = metrics.with_suffix(".partial")
            partial.write_text("".join(f"{x}\n" for x in lines))
            partial.replace(metrics)
        write_record(
            self.out,
            self.config,
            {"train": self.clips, "valid": self.valid},
            step=step,
            device=self.device,
            precision=self.precision,
            processes=self.ranks.size,
            init=self.init,
        )

    def save(self, best: bool = False) -> None:
        """Write the checkpoint to resume from, or that of the lowest validation loss."""
        path = self.out / ("best.safetensors" if best else "last.safetensors")
        checkpoint.save(path, self.model, self.updates.optimizer, self.state)
        if not best:
            self.saved = time.monotonic()

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

    @cached_property
    def limit(self) -> Limit:
        """The most operations a second that the device reaches in this precision; measured when it is asked for."""
        return limit(self.device, self.amp)

    @property
    def precision(self) -> str:
        """Name of the precision that the network computes in."""
        return "bfloat16" if self.amp else "float32"

    def _begin_with(self, source: str | Path) -> None:
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
        own = self.model.state_dict()
        direct = "conductor.direct.weight"
        other = direct in own and direct in weights and own[direct].shape != weights[direct].shape  # other bars
        if other:
            weights |= {name: value for name, value in own.items() if name.startswith(OF_CLIPS)}
        try:
            self.model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise TrainingError(f"--init {source}: its sizes are not those of this run ({reason})") from None
        if other:
            self._begin_with_components(bars=False)

    def _begin_with_components(self, *, bars: bool = True) -> None:
        self.report(Event("note", {"message": "beginning with the principal components of the clips"}))
        begin_with_components(self.model, self.updates.clips, self.config.train, bars=bars)


def _parts(batch: Batch, size: int) -> Iterator[Batch]:
    for i in range(0, len(batch.tokens), size):
        lengths = batch.lengths[i : i + size]
        yield Batch(batch.tokens[i : i + size, :, : lengths.max()], lengths)
