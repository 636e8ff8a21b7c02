"""Updates of a training run, as `musicvae train` makes them."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from benchmarks import cost
from benchmarks.child import apart, peak_mb
from benchmarks.machine import Limits, measure, require_torch
from benchmarks.report import Column, Row, shared, show
from benchmarks.sizes import SIZES, settings

if TYPE_CHECKING:
    from musicvae.config import Config

WARM = 2
"""Updates before the clock starts: libraries choose their ways, the allocator finds its size."""
BOTH_WAYS = 2
"""Products with the state before, for each of the forward pass: its own and that of the state's gradient. Those of the
weights' gradients need not wait for one another."""
COLUMNS = (
    Column("name", "updates"),
    Column("parameters_m", "M weights"),
    Column("clips_per_second", "clips/s"),
    Column("notes_per_second", "notes/s"),
    Column("slots_per_second", "slots/s"),
    Column("gflop_per_clip", "GFLOP a clip"),
    Column("gflop_needed", "needed"),
    Column("limit_per_second", "limit: clips/s", ".0f"),
    Column("share", "share of it", ".0%"),
    Column("share_whole", "counted whole", ".0%"),
    Column("share_at_rows", "of products of so few rows", ".0%"),
    Column("padding", "padding work", ".0%"),
    Column("drawing", "time drawing batches", ".1%"),
    Column("peak_mb", "peak, MB"),
    Column("device_mb", "of the device, MB"),
)


NOTE = (
    f"Means of the updates after the first {WARM}, as the run reports them. Notes and slots are real ones, no padding. "
    "The limit is the operations needed, at the rate of the fastest matrix product in this precision; `counted whole` "
    "is the share that is usually given. Padding work is what a forward pass multiplies for slots that are not there."
)


@click.command()
@shared
@click.option(
    "--preset",
    "presets",
    type=click.Choice(SIZES),
    metavar="NAME",
    multiple=True,
    default=("hierdec-mel-512", "piano-512", "piano-16bar-small"),
    show_default=True,
    help="A preset or a model at size.",
)
@click.option("--precision", "precisions", type=click.Choice(["float32", "bfloat16"]), multiple=True)
@click.option("--steps", type=click.IntRange(1), default=6, show_default=True, help="Updates that are timed.")
@click.option("--batch", type=click.IntRange(1), help="Clips an update. [default: the preset's]")
@click.option("--data", metavar="FOLDER", help="A data set of `musicvae prepare`. [default: music made up]")
@click.option("--device", default="cpu", show_default=True)
def command(
    presets: Sequence[str],
    precisions: Sequence[str],
    steps: int,
    batch: int | None,
    data: str | None,
    device: str,
    threads: int | None,
    quick: bool,
    json_path: str | None,
) -> None:
    """Clips and notes a second by preset and precision; padding; time lost to drawing batches; peak memory."""
    require_torch("Training")
    measured = measure(threads, quick=quick)
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        if data is None:
            data = str(Path(folder) / "data")
            apart("music:data_set", folder=data, songs=12 if quick else 80, bars=20 if quick else 80)
        for name in presets:
            for precision in precisions or (("float32",) if quick else ("float32", "bfloat16")):
                arguments = {"batch": batch, "device": device, "quick": quick, "steps": 2 if quick else steps}
                row = apart("train:work", threads=threads, data=data, name=name, precision=precision, **arguments)
                rows.append(limits(row, measured.limits) | {"name": f"{name}, {precision}, batch {row['batch']}"})
    show(
        "train",
        measured.done(),
        rows,
        [(rows, COLUMNS)],
        json_path=json_path,
        notes=[NOTE],
    )


def limits(row: Row, found: Limits) -> Row:
    """Return a row with what it runs against, and the share of it that was reached."""
    if row["share"] is not None:  # of a GPU, as the run itself reports it
        return row
    rate, needed, whole = row["clips_per_second"], row["gflop_needed"] * 1e9, row["gflop_per_clip"] * 1e9
    limit = found.gemm(row["precision"])
    return row | {
        "limit_per_second": limit / needed,
        "share": rate * needed / limit,
        "share_whole": rate * whole / limit,
        "share_at_rows": rate * found.seconds(row["precision"], needed, row["few"]),
    }


def work(data: str, name: str, precision: str, steps: int, batch: int | None, device: str, quick: bool) -> Row:
    """Make some updates and return their figures."""
    config = settings(name, quick=quick)
    # enough epochs for all steps, and next to no validation, should an epoch end among them
    train = replace(config.train, epochs=1000, validation_clips=1, batch=batch or config.train.batch)
    config = replace(config, train=train)
    speed = measured_run(data, config, precision, device, steps)
    return speed | content(data, config, speed["clips_per_second"], steps) | {"precision": precision}


def measured_run(data: str, config: Config, precision: str, device: str, steps: int) -> Row:
    """Return the speed that a run reports of `steps` updates after the first WARM, and its peak of memory."""
    import torch

    from musicvae.train.loop import train
    from musicvae.train.report import Event

    events: list[Event] = []
    batch = config.train.batch
    with TemporaryDirectory() as out:
        same: Any = {"sample_every": 0, "precision": precision, "device": device}
        train(data, config, out, stop_after=WARM, **same)
        with drawing() as drawn:
            train(data, config, out, resume=True, stop_after=WARM + steps, report=events.append, **same)
    before, seconds, share = WARM, 0.0, None
    for event in events:
        if event.kind == "train":  # one each 20 steps, of those since the one before
            seconds += (event.data["step"] - before) * batch / event.data["clips_per_second"]
            before, share = event.data["step"], event.data.get("of_peak")
    return {
        "batch": batch,
        "clips_per_second": steps * batch / seconds,
        "drawing": sum(drawn) / seconds,
        "share": share,
        "peak_mb": peak_mb(),
        "device_mb": torch.cuda.max_memory_allocated() / 1e6 if device.startswith("cuda") else None,
    }


@contextmanager
def drawing() -> Iterator[list[float]]:
    """Collect the seconds that the thread which trains spends in drawing batches, in the block."""
    from musicvae.train.resident import Resident

    me, seconds = threading.get_ident(), list[float]()

    def clocked(draw: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return draw(*arguments, **named)
            finally:
                if threading.get_ident() == me:
                    seconds.append(time.perf_counter() - began)

        return timed

    draw: Any = Resident.draw
    setattr(Resident, "draw", clocked(draw))  # noqa: B010  # mypy takes a plain assignment for a mistake
    try:
        yield seconds
    finally:
        setattr(Resident, "draw", draw)  # noqa: B010


def content(data: str, config: Config, rate: float, steps: int) -> Row:
    """Return what was in the batches of these steps and what they cost, for `rate` clips a second."""
    import torch

    from musicvae.codecs import codec
    from musicvae.data.dataset import Dataset
    from musicvae.model import music_vae

    made = codec(config.codec)
    clips = Dataset(data).clips("train", made, config.model.bars)
    train = config.train
    network = music_vae(made.spec, config.model)
    clip = {"notes": 0.0, "slots": 0.0}  # means
    padding = []
    for step in range(WARM, WARM + steps):
        drawn = clips.draw(train.seed, step, train.batch, (train.transpose_down, train.transpose_up))
        clip["slots"] += float(drawn.lengths.sum()) / train.batch / steps
        clip["notes"] += sum(len(made.decode(tokens)) for tokens in drawn.tokens) / train.batch / steps
        if made.spec.end is not None and step < WARM + 2:  # two batches are enough to see
            padding.append(cost.padding(network, torch.from_numpy(drawn.tokens), torch.from_numpy(drawn.lengths)))
    one_by_one = itertools.chain(*cost.recurrent(made.spec, config.model, clip["slots"]).values())
    return {
        "parameters_m": sum(p.numel() for p in network.parameters()) / 1e6,
        "gflop_per_clip": cost.train(made.spec, config.model, clip["slots"]).flops / 1e9,
        "gflop_needed": cost.train(made.spec, config.model, clip["slots"], needed=True).flops / 1e9,
        "slots_per_second": clip["slots"] * rate,
        "notes_per_second": clip["notes"] * rate,
        "few": [(rows * train.batch, BOTH_WAYS * 2 * work) for rows, work in one_by_one],
        "padding": statistics.mean(padding) if padding else 0.0,
    }
