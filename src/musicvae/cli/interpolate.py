"""musicvae interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from musicvae.cli import options


@click.command()
@click.argument("music", metavar="A B [C D]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--steps",
    type=click.IntRange(2, 1000),
    help="How many clips, both ends included; between four, how many a side. [default: 9; 5 a side]",
)
@options.temperature(0.0)
@options.drawing(seed=0)
@options.reading
@options.model_option
@options.output
def command(
    music: tuple[Path, ...],
    steps: int | None,
    temperature: float,
    seed: int,
    tempo: float | None,
    programs: tuple[int, ...] | None,
    any_meter: bool,
    model: str | None,
    precision: Literal["int8", "float32"],
    out: Path | None,
    wav: bool,
    soundfont: str | None,
    svg: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write clips on the way from A to B (MIDI or LPD files), or in the square between A, B, C and D.

    The ends are the model's reconstructions. A square has A and B in its first row, C and D in its last. Of music
    longer than the model's clips the first window is taken.
    """
    from musicvae.runtime.engine import load

    if len(music) not in (2, 4):
        raise click.UsageError(f"{len(music)} files; wanted 2, for a path, or 4, for a square")
    square = len(music) == 4
    steps = steps or (5 if square else 9)
    opened = load(model, precision=precision)
    digits = len(str(steps))
    numbers = [f"{i + 1:0{digits}}" for i in range(steps)]
    stem = f"{music[0].stem}-to-{music[-1].stem}"
    names = [f"{stem}-{i}-{j}" for i in numbers for j in numbers] if square else [f"{stem}-{i}" for i in numbers]
    clips = options.Clips(out, names, svg=svg, wav=wav, soundfont=soundfont, overwrite=overwrite)
    ends = [options.read_music(path, opened, programs, any_meter) for path in music]
    for path, end in zip(music, ends, strict=True):
        if len(opened.windows(end)) > 1:
            click.echo(f"{path}: the first window is used", err=True)
    show = options.progress("decoding")
    if square:
        rows = opened.grid(ends, steps=steps, temperature=temperature, seed=seed, tempo=tempo, progress=show)
        made = [clip for row in rows for clip in row]
    else:
        made = opened.interpolate(*ends, steps=steps, temperature=temperature, seed=seed, tempo=tempo, progress=show)
    clips.write(made, as_json, model=opened.bundle.name)
