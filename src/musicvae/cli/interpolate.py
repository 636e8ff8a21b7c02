"""musicvae interpolate."""

from __future__ import annotations

from pathlib import Path

import click

from musicvae.cli import options


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--steps", type=click.IntRange(2, 1000), default=9, show_default=True, help="How many clips, both ends included."
)
@options.temperature(0.0)
@options.drawing(seed=0)
@options.reading
@options.model_option
@options.output
def command(
    a: Path,
    b: Path,
    steps: int,
    temperature: float,
    seed: int,
    tempo: float | None,
    programs: tuple[int, ...],
    any_meter: bool,
    model: str | None,
    out: Path | None,
    svg: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write clips on the way from A to B (MIDI or LPD files). The ends are the model's reconstructions.

    Of music longer than the model's clips the first window is taken.
    """
    from musicvae.runtime.engine import load

    opened = load(model)
    digits = len(str(steps))
    names = [f"{a.stem}-to-{b.stem}-{i + 1:0{digits}}" for i in range(steps)]
    clips = options.Clips(out, names, svg=svg, overwrite=overwrite)
    ends = [options.read_music(path, opened, programs, any_meter) for path in (a, b)]
    for path, end in zip((a, b), ends, strict=True):
        if len(opened.windows(end)) > 1:
            click.echo(f"{path}: the first window is used", err=True)
    made = opened.interpolate(
        *ends, steps=steps, temperature=temperature, seed=seed, tempo=tempo, progress=options.progress("decoding")
    )
    clips.write(made, as_json, model=opened.bundle.name)
