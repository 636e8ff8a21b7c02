"""musicvae vary."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from musicvae.cli import options


@click.command()
@click.argument("music", type=click.Path(path_type=Path))
@click.option(
    "-n", "--number", type=click.IntRange(1, 10_000), default=8, show_default=True, help="How many variations."
)
@click.option(
    "--amount",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="How far they go: 0 is the reconstruction, 1 something new.",
)
@options.temperature(0.0)
@options.drawing()
@options.attributes
@options.prior
@options.reading
@options.model_option
@options.output
def command(
    music: Path,
    number: int,
    amount: float,
    temperature: float,
    seed: int | None,
    tempo: float | None,
    attributes: dict[str, float],
    prior: Literal["fitted", "normal"] | None,
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
    """Write variations of MUSIC (a MIDI or LPD file).

    Of music longer than the model's clips the first window is taken.
    """
    from musicvae.runtime.engine import load

    opened = load(model, precision=precision)
    seed = options.seed_or_new(seed)
    names = [f"{music.stem}-varied-seed{seed}-{i + 1}" for i in range(number)]
    clips = options.Clips(out, names, svg=svg, wav=wav, soundfont=soundfont, overwrite=overwrite)
    original = options.read_music(music, opened, programs, any_meter)
    if len(opened.windows(original)) > 1:
        click.echo(f"{music}: the first window is used", err=True)
    made = opened.vary(
        original,
        amount=amount,
        n=number,
        temperature=temperature,
        seed=seed,
        tempo=tempo,
        attributes=attributes,
        prior=prior,
        progress=options.progress("decoding"),
    )
    clips.write(made, as_json, seed=seed, amount=amount, attributes=attributes, model=opened.bundle.name)
