"""Clips from a model in memory, as `musicvae.load()` gives it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from benchmarks import cost
from benchmarks.child import apart, peak_mb
from benchmarks.machine import Limits, measure, require_torch
from benchmarks.report import Column, Row, shared, show, timed
from benchmarks.sizes import SIZES
from musicvae.config import MOST_ROUNDS, TEMPERATURE

if TYPE_CHECKING:
    from musicvae.music import Score
    from musicvae.runtime.engine import Model

BUNDLED = "bundled"
USUAL = "int8"
"""The precision that `musicvae generate` asks for; models without a graph for it compute in float32."""
SETTLE = "As in `musicvae generate`, but not what the model says: a clip is decoded once, and once more for each round."
COLUMNS = (
    Column("name", "clips drawn"),
    Column("best_ms", "best, ms"),
    Column("median_ms", "median, ms"),
    Column("clips_per_second", "clips/s"),
    Column("notes_per_clip", "notes a clip", ".0f"),
    Column("steps", "steps"),
    Column("gflop_per_clip", "GFLOP a clip"),
    Column("gflop_needed", "needed"),
    Column("precision", "precision"),
    Column("arithmetic_ms", "limits: arithmetic, ms"),
    Column("weights_ms", "weights read, ms"),
    Column("share", "share of the higher", ".0%"),
    Column("share_at_rows", "of products of so few rows", ".0%"),
    Column("peak_mb", "peak, MB"),
)


NOTE = (
    "Temperature {temperature:g}, seed 1, settled {settle} times. Limits: the operations needed, at the rate of the "
    "fastest matrix product in this precision; the weights of all steps, at the speed at which a buffer as large as a "
    "step's weights is read. Shares are those of the best time."
)


@click.command()
@shared
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(BUNDLED, "hierdec-mel-512", "piano-512"),
    show_default=True,
    help="`bundled`, a folder, a preset or a model at size; these two get random weights (needs the train extra).",
)
@click.option("-n", "numbers", type=click.IntRange(1), multiple=True, help="Clips at once. [default: 1, 8, 64, 512]")
@click.option(
    "--precision",
    "precisions",
    type=click.Choice([USUAL, "float32"]),
    multiple=True,
    default=(USUAL,),
    show_default=True,
    help="As in `musicvae generate`.",
)
@click.option("--temperature", type=float, default=TEMPERATURE, show_default=True)
@click.option("--settle", type=click.IntRange(0, MOST_ROUNDS), default=0, show_default=True, help=SETTLE)
def command(
    models: Sequence[str],
    numbers: Sequence[int],
    precisions: Sequence[str],
    temperature: float,
    settle: int,
    threads: int | None,
    quick: bool,
    json_path: str | None,
) -> None:
    """Latency of one clip, throughput of many, peak memory; each model in a process of its own."""
    measured = measure(threads, quick=quick)
    numbers = sorted(numbers) or ((1, 2) if quick else (1, 8, 64, 512))
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        for name in models:
            where = bundle(name, Path(folder), temperature, quick=quick)
            for precision in precisions:
                opening = {"model": where, "precision": precision, "threads": threads or 0}
                drawing = {"temperature": temperature, "settle": settle, "seed": 1}
                arguments = {"opening": opening, "numbers": numbers, "drawing": drawing, "quick": quick}
                asked = "" if precision == USUAL else f", {precision}"
                for row in apart("generate:work", threads=threads, **arguments):
                    named = {"name": f"{name}, {row['clips']}{asked}", "first": f"{name}{asked}"}
                    rows.append(limits(row, measured.limits) | named)
    first = [f"{row['first']} {row['first_ms']:.0f} ms" for row in rows if "first_ms" in row]
    show(
        "generate",
        measured.done(),
        rows,
        [(rows, COLUMNS)],
        json_path=json_path,
        notes=[
            NOTE.format(temperature=temperature, settle=settle),
            f"The first clip, which loads the graphs: {', '.join(first)}.",
        ],
    )


def bundle(name: str, folder: Path, temperature: float, *, quick: bool) -> str | None:
    """Return the folder of a model, or None for the bundled one; models of random weights are written to `folder`."""
    if name == BUNDLED or name not in SIZES:
        return None if name == BUNDLED else name
    require_torch("A model of random weights")
    where = folder / name
    apart("sizes:write", name=name, folder=str(where), temperature=temperature, quick=quick)
    return str(where)


def work(opening: dict[str, Any], numbers: Sequence[int], drawing: dict[str, Any], quick: bool) -> list[Row]:
    """Load a model and draw clips, by arguments of `load` and `sample`; returns a row for each number of clips."""
    import musicvae

    began = time.perf_counter()
    opened = musicvae.load(**opening)
    opened.sample(1, **drawing)
    first = time.perf_counter() - began
    rows: list[Row] = []
    for number in numbers:
        drawn: list[Score] = []

        def draw(number: int = number, drawn: list[Score] = drawn) -> None:
            drawn[:] = opened.sample(number, **drawing)

        draw()
        timing = timed(draw, seconds=0.0 if quick else 2.0, least=1 if quick else 3)
        rows.append(
            {
                "clips": number,
                "best_ms": timing.best * 1e3,
                "median_ms": timing.median * 1e3,
                "times": len(timing.seconds),
                "clips_per_second": number / timing.best,
                "notes_per_clip": sum(map(len, drawn)) / number,
                "precision": "int8" if getattr(opened.backend, "step_graph", "").endswith("int8") else "float32",
                "peak_mb": peak_mb(),
                **counted(opened, drawn, 1 + drawing["settle"]),
            }
        )
    rows[0]["first_ms"] = first * 1e3
    return rows


def counted(model: Model, clips: Sequence[Score], times: int) -> Row:
    """Return what it takes to decode these clips so many times; that settling also encodes them is not counted.

    `steps` is the length of the fullest bar, as all bars are drawn side by side, and `rows` how many there are in a
    step on average. Of operations there are all (`gflop_per_clip`), and those needed: in the steps, and before.
    """
    import numpy as np

    spec, config = model.codec.spec, model.bundle.config.model
    if spec.end is None:
        slots = np.full((len(clips), config.bars), spec.slots)
    else:
        notes = [np.bincount(clip.onset // clip.steps_per_bar, minlength=config.bars) for clip in clips]
        slots = np.minimum(np.stack(notes) + 1, spec.slots - 1)  # the last slot could only be the end mark
    side_by_side = config.decoder == "hierarchical" and config.first_input == "start"
    steps = int(slots.max() if side_by_side else slots.sum(axis=1).max())
    per_clip = float(slots.sum(axis=1).mean())
    begin, slot = (work(spec, config, needed=True).flops / 1e9 for work in (cost.begin, cost.slot))
    return {
        "steps": times * steps,
        "rows": float(slots.sum() / steps),
        "gflop_per_clip": times * cost.generate(spec, config, per_clip).flops / 1e9,
        "gflop_needed": times * (begin + per_clip * slot),
        "gflop_begin": times * begin,
        "gflop_slot": slot,
        "weights_before": times * cost.weights_before(spec, config),
    }


BYTES = {"float32": 4, "int8": 1}


def limits(row: Row, found: Limits) -> Row:
    """Return a row with what it runs against, in ms, and the share of it that was reached.

    Steps compute in the row's precision (where that is int8, some products stay in float32, which the limit does not
    excuse), what comes before them in float32. For each multiply-add of one row a weight is read, once for all rows.
    """
    precision, begin, slot = row["precision"], row["gflop_begin"] * 1e9, row["gflop_slot"] * 1e9
    steps = row["gflop_needed"] * 1e9 - begin  # of a clip
    before = row["clips"] * begin / found.gemm("float32")
    arithmetic = before + row["clips"] * steps / found.gemm(precision)
    at_rows = before + found.seconds(precision, row["clips"] * steps, [(row["rows"], row["clips"] * steps)])
    size = slot / 2 * BYTES[precision]
    weights = (row["steps"] * size + row["weights_before"] * BYTES["float32"]) / found.read(size)
    return row | {
        "arithmetic_ms": arithmetic * 1e3,
        "weights_ms": weights * 1e3,
        "share": max(arithmetic, weights) * 1e3 / row["best_ms"],
        "share_at_rows": at_rows * 1e3 / row["best_ms"],
    }
