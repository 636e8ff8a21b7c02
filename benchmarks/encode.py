"""Music into latent vectors, with a model in memory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import cost
from benchmarks.child import apart, peak_mb
from benchmarks.generate import BUNDLED, bundle
from benchmarks.machine import Limits, measure
from benchmarks.report import Column, Row, shared, show, timed

COLUMNS = (
    Column("name", "clips encoded"),
    Column("best_ms", "best, ms"),
    Column("median_ms", "median, ms"),
    Column("clips_per_second", "clips/s"),
    Column("notes_per_clip", "notes a clip", ".0f"),
    Column("gflop_per_clip", "GFLOP a clip"),
    Column("gflop_needed", "needed"),
    Column("precision", "precision"),
    Column("arithmetic_ms", "limit: arithmetic, ms"),
    Column("share", "share of it", ".0%"),
    Column("share_at_rows", "of products of so few rows", ".0%"),
    Column("peak_mb", "peak, MB"),
)
NOTE = (
    "From a Score in memory to latent vectors; music made up. The limit is the operations needed, at the rate of the "
    "fastest matrix product in this precision. Shares are those of the best time."
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
@click.option("-n", "numbers", type=click.IntRange(1), multiple=True, help="Clips at once. [default: 1, 64]")
def command(
    models: Sequence[str], numbers: Sequence[int], threads: int | None, quick: bool, json_path: str | None
) -> None:
    """Latency of one clip, throughput of many, peak memory; each model in a process of its own."""
    measured = measure(threads, quick=quick)
    numbers = sorted(numbers) or ((1, 2) if quick else (1, 64))
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        for name in models:
            where = bundle(name, Path(folder), 1.0, quick=quick)
            arguments = {"model": where, "numbers": numbers, "quick": quick, "threads_asked": threads or 0}
            for row in apart("encode:work", threads=threads, **arguments):
                rows.append(limits(row, measured.limits) | {"name": f"{name}, {row['clips']}"})
    show("encode", measured.done(), rows, [(rows, COLUMNS)], json_path=json_path, notes=[NOTE])


def work(model: str | None, numbers: Sequence[int], quick: bool, threads_asked: int) -> list[Row]:
    """Load a model and encode clips; returns a row for each number of them."""
    import musicvae
    from benchmarks.music import song
    from musicvae.music.score import PARTS

    opened = musicvae.load(model, threads=threads_asked)
    spec, config = opened.codec.spec, opened.bundle.config.model
    rows: list[Row] = []
    for number in numbers:
        music = song(2, number * opened.bars, density=12)
        music = music.select(sum(music.part == PARTS.index(part) for part in opened.codec.parts) > 0)
        opened.encode(music)
        encode = functools.partial(opened.encode, music)
        timing = timed(encode, seconds=0.0 if quick else 2.0, least=1 if quick else 3)
        tokens = opened.codec.encode(music).tokens
        slots = (
            spec.slots * opened.bars if spec.end is None else (tokens[..., 0] != spec.end).sum() / number + opened.bars
        )
        rows.append(
            {
                "clips": number,
                "best_ms": timing.best * 1e3,
                "median_ms": timing.median * 1e3,
                "times": len(timing.seconds),
                "clips_per_second": number / timing.best,
                "notes_per_clip": len(music) / number,
                "precision": "float32",  # whatever notes are drawn with
                "few": [(r * min(number, 64), 2 * work) for r, work in cost.recurrent(spec, config, slots)["encode"]],
                "gflop_per_clip": cost.encode(spec, config, slots).flops / 1e9,
                "gflop_needed": cost.encode(spec, config, slots, needed=True).flops / 1e9,
                "peak_mb": peak_mb(),
            }
        )
    return rows


def limits(row: Row, found: Limits) -> Row:
    """Return a row with what it runs against, in ms, and the share of it that was reached."""
    needed = row["gflop_needed"] * 1e9
    arithmetic, at_rows = (row["clips"] * found.seconds(row["precision"], needed, few) for few in ((), row["few"]))
    return row | {
        "arithmetic_ms": arithmetic * 1e3,
        "share": arithmetic * 1e3 / row["best_ms"],
        "share_at_rows": at_rows * 1e3 / row["best_ms"],
    }
