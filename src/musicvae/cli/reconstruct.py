"""musicvae reconstruct."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from musicvae.cli import options


@click.command()
@click.argument("music", type=click.Path(path_type=Path))
@options.temperature(0.0)
@options.drawing(seed=0)
@options.reading
@options.model_option
@options.output
def command(
    music: Path,
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
    """Send MUSIC (a MIDI or LPD file) through the model and back.

    Music longer than the model's clips is taken in windows, which are joined again.
    """
    from dataclasses import replace

    from musicvae.evaluate.reconstruction import count_notes
    from musicvae.runtime.engine import load

    opened = load(model, precision=precision)
    clips = options.Clips(
        out, [f"{music.stem}-reconstructed"], svg=svg, wav=wav, soundfont=soundfont, overwrite=overwrite
    )
    original = options.read_music(music, opened, programs, any_meter).score
    copy = opened.reconstruct(original, temperature=temperature, seed=seed, progress=options.progress("decoding"))
    counts = count_notes(original, copy)
    right, recall, f1 = counts.onset
    click.echo(f"{music}: note onsets: precision {right:.2f}, recall {recall:.2f}, F1 {f1:.2f}", err=True)
    clips.write(
        [replace(copy, tempo=tempo or copy.tempo)],
        as_json,
        onset_precision=round(right, 4),
        onset_recall=round(recall, 4),
        onset_f1=round(f1, 4),
        duration_f1=round(counts.duration[2], 4),
        model=opened.bundle.name,
    )
