"""musicvae generate."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from musicvae.cli import options
from musicvae.config import TEMPERATURE


@click.command()
@click.option("-n", "--number", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many clips.")
@options.temperature(TEMPERATURE)
@options.drawing()
@options.attributes
@options.model_option
@options.output
def command(
    number: int,
    temperature: float,
    seed: int | None,
    tempo: float | None,
    attributes: dict[str, float],
    model: str | None,
    precision: Literal["int8", "float32"],
    out: Path | None,
    svg: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write new clips as MIDI files."""
    from musicvae.runtime.engine import load

    opened = load(model, precision=precision)
    seed = options.seed_or_new(seed)
    names = [f"{opened.bundle.name}-seed{seed}-{i + 1}" for i in range(number)]
    clips = options.Clips(out, names, svg=svg, overwrite=overwrite)
    made = opened.sample(
        number,
        temperature=temperature,
        seed=seed,
        tempo=tempo or 120.0,
        attributes=attributes,
        progress=options.progress("drawing"),
    )
    clips.write(made, as_json, seed=seed, temperature=temperature, attributes=attributes, model=opened.bundle.name)
