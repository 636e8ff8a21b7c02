"""Options and output that several verbs share."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from musicvae.errors import MusicVAEError

if TYPE_CHECKING:
    from musicvae.music import Reading, Score
    from musicvae.runtime.engine import Model

__all__ = [
    "Clips",
    "attributes",
    "computing",
    "drawing",
    "model_option",
    "output",
    "precision",
    "prior",
    "progress",
    "read_music",
    "reading",
    "seed_or_new",
    "temperature",
]

F = TypeVar("F", bound=Callable[..., Any])


def programs(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Return the MIDI programs in a text such as `0-7,24`."""
    if value is None:
        return None
    chosen: set[int] = set()
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) <= 127):
            raise click.BadParameter(f"{value!r}; wanted MIDI programs 0 to 127, such as 0-7 or 0,24-31")
        chosen.update(range(int(first), int(last) + 1))
    return tuple(sorted(chosen))


def model_option(command: F) -> F:
    """Add --model and --precision."""
    return click.option(
        "--model",
        metavar="NAME|FOLDER",
        help="A bundled model or a folder that `musicvae export` wrote. [default: the bundled one]",
    )(precision(command))


def precision(command: F) -> F:
    """Add --precision."""
    return click.option(
        "--precision",
        type=click.Choice(["int8", "float32"]),
        default="int8",
        show_default=True,
        help="What notes are drawn with: int8 is about twice as fast, and used where the model's card measures it.",
    )(command)


def computing(command: F) -> F:
    """Add --device and --precision of what is learned."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:1; auto is a GPU where there is one.",
    )(
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16"]),
            default="auto",
            show_default=True,
            help="bfloat16 computes the network in half precision; auto does where the machine has it.",
        )(command)
    )


def temperature(default: float) -> Callable[[F], F]:
    """Add --temperature."""
    return click.option(
        "--temperature",
        type=click.FloatRange(min=0),
        default=default,
        show_default=True,
        help="How freely notes are drawn: 0 takes the likeliest (of durations the middle one), 1 draws from the "
        "model's own distribution.",
    )


def _amounts(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Return attributes by name from texts such as `density=+1.5`."""
    found: dict[str, float] = {}
    for value in values:
        name, _, amount = value.partition("=")
        try:
            found[name.strip()] = float(amount)
        except ValueError:
            raise click.BadParameter(f"{value!r}; wanted NAME=AMOUNT, such as density=+1.5") from None
    return found


def attributes(command: F) -> F:
    """Add --attribute."""
    return click.option(
        "--attribute",
        "attributes",
        metavar="NAME=AMOUNT",
        multiple=True,
        callback=_amounts,
        help="Move along one of the model's attribute vectors, such as density=+1.5 or register=-1. Repeatable.",
    )(command)


def prior(command: F) -> F:
    """Add --prior."""
    return click.option(
        "--prior",
        type=click.Choice(["fitted", "normal"]),
        help="What latent vectors are drawn from: a prior that was fitted to music (see musicvae prior), or N(0, I), "
        "the paper's. [default: fitted where the model has it]",
    )(command)


def drawing(seed: int | None = None) -> Callable[[F], F]:
    """Add --seed and --tempo; without a default, a seed is drawn anew each time (see `seed_or_new`)."""
    usual = "a new one, which stands in the files' names" if seed is None else str(seed)

    def add(command: F) -> F:
        command = click.option(
            "--tempo",
            type=click.FloatRange(min=10, max=400),
            help="Quarter notes a minute. [default: the music's, or 120]",
        )(command)
        return click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=seed,
            help=f"The same seed gives the same clips. [default: {usual}]",
        )(command)

    return add


def reading(command: F) -> F:
    """Add the options of verbs that read music."""
    command = click.option("--any-meter", is_flag=True, help="Count bars that are not in 4/4 in 4/4 all the same.")(
        command
    )
    return click.option(
        "--programs",
        metavar="LIST",
        callback=programs,
        help="MIDI programs to read. [default: 0-7, pianos; 0-31 for melodies]",
    )(command)


def output(command: F) -> F:
    """Add the options of verbs that write clips."""
    command = click.option(
        "--json", "as_json", is_flag=True, help="Print what was written as JSON on standard output."
    )(command)
    command = click.option("--overwrite", is_flag=True, help="Replace files that exist.")(command)
    command = click.option("--svg", is_flag=True, help="Write a picture of the piano roll beside each clip.")(command)
    command = click.option(
        "--soundfont",
        metavar="FILE",
        help="An .sf2 file for --wav to play with, or builtin for the built-in piano. [default: what the environment "
        "variable MUSICVAE_SOUNDFONT names, or one of the system's, or builtin]",
    )(command)
    command = click.option("--wav", is_flag=True, help="Write the sound of each clip beside it.")(command)
    return click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        help="Folder, or a .mid file for a single clip. [default: this folder]",
    )(command)


def seed_or_new(seed: int | None) -> int:
    """Return the seed, or one drawn anew."""
    return secrets.randbelow(10**6) if seed is None else seed


def read_music(path: Path, model: Model, programs: Sequence[int] | None, any_meter: bool) -> Reading:
    """Read a file on the model's grid; say on stderr what was changed, how it is cut, what tokens cannot hold."""
    from musicvae.music import read

    codec = model.codec
    music = read(
        path,
        steps_per_beat=codec.config.steps_per_beat,
        parts=codec.parts,
        programs=programs,
        any_meter=any_meter,
    )
    click.echo(f"{path}: {music.report}", err=True)
    windows = model.windows(music)
    bars = music.score.bars
    if len(windows) > 1:
        click.echo(f"{path}: {bars} bars, taken as {len(windows)} windows of {model.bars} bars", err=True)
    elif bars < model.bars:
        click.echo(f"{path}: {bars} bars, filled up with rests to {model.bars}", err=True)
    lost = [f"{c.reason} ({c.notes})" for c in model.changes(music)]
    if lost:
        click.echo(f"{path}: in the model's tokens: {'; '.join(lost)}", err=True)
    return music


def progress(label: str) -> Callable[[int, int], None]:
    """Return a progress callback that shows a bar once the work has taken two seconds."""
    from tqdm import tqdm

    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(
                total=total,
                desc=label,
                delay=2,
                leave=False,
                disable=None,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining} left",
            )
        bar.update(done - bar.n)

    return show


class Clips:
    """Where clips go. Made before the work starts, so that a file in the way is told at once."""

    def __init__(
        self, out: Path | None, names: Sequence[str], *, svg: bool, wav: bool, soundfont: str | None, overwrite: bool
    ) -> None:
        """`names` are the files' names without ending; `out` is the folder, or a .mid file where there is one name."""
        if soundfont and not wav:
            raise click.UsageError("--soundfont is what --wav plays with: add --wav")
        out = out or Path()
        if out.suffix.lower() in (".mid", ".midi"):
            if len(names) != 1:
                raise click.UsageError(
                    f"{out} is one file, but {len(names)} clips will be written: name a folder with -o"
                )
            self.paths = [out]
        else:
            self.paths = [out / f"{name}.mid" for name in names]
        self.svg, self.wav = svg, wav
        if wav:
            from musicvae.music.soundfont import BUILTIN, SoundFont, find_soundfont

            found = find_soundfont(soundfont)
            if found:
                SoundFont(found).zones(0, 0)  # a broken one is told at once, too
            self.soundfont = found or BUILTIN
            click.echo(
                f"sound: {found or 'the built-in piano; for another, name a SoundFont with --soundfont'}", err=True
            )
        for path in self.paths:
            for file in (path, *(path.with_suffix(end) for end, on in ((".svg", svg), (".wav", wav)) if on)):
                if file.exists() and not overwrite:
                    raise MusicVAEError(
                        f"{file}: exists already. Choose another place with -o, or replace it with --overwrite"
                    )

    def write(
        self, clips: Sequence[Score], as_json: bool, each: Sequence[dict[str, Any]] | None = None, **facts: Any
    ) -> None:
        """Write the clips and say where they are; `facts` go into the JSON, and what `each` has for its clip."""
        rows: list[dict[str, Any]] = []
        show = progress("rendering") if self.wav and as_json else None
        for path, clip, own in zip(self.paths, clips, each or [{}] * len(clips), strict=True):
            try:
                clip.save(path)
                if self.svg:
                    from musicvae.music.roll import roll_svg

                    path.with_suffix(".svg").write_text(roll_svg(clip, title=path.stem), encoding="utf-8")
                if self.wav:
                    from musicvae.music.render import render, write_wav

                    write_wav(render(clip, soundfont=self.soundfont), path.with_suffix(".wav"))
                    if show:
                        show(len(rows) + 1, len(clips))
            except OSError as error:
                raise MusicVAEError(
                    f"{path}: cannot be written ({error.strerror}). Choose another place with -o"
                ) from None
            rows.append(
                {
                    "file": str(path),
                    "notes": len(clip),
                    "bars": clip.bars,
                    "seconds": round(clip.seconds, 2),
                    **facts,
                    **own,
                }
            )
            if not as_json:
                click.echo(f"{path}: {len(clip)} notes, {clip.bars} bars, {clip.seconds:.0f} s")
        if as_json:
            json.dump(rows, sys.stdout, indent=1)
            sys.stdout.write("\n")
