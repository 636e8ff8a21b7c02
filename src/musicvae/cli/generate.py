"""musicvae generate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from musicvae.cli import options
from musicvae.config import MOST_ROUNDS, TEMPERATURE, SampleConfig, docs

if TYPE_CHECKING:
    from musicvae.music import Score
    from musicvae.runtime.engine import Model

USUAL = 0
"""The limit is to be taken from held-out songs."""


def _limit(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return N of --novel=N, USUAL for --novel alone, None without it."""
    if not value:
        return None if value is None else USUAL
    if not value.isdecimal() or int(value) < 2:
        raise click.BadParameter(f"{value!r}; wanted a number of notes from 2 up, such as --novel=12")
    return int(value)


@click.command()
@click.option("-n", "--number", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many clips.")
@options.temperature(TEMPERATURE)
@options.drawing()
@options.attributes
@options.prior
@click.option(
    "--settle",
    type=click.IntRange(0, MOST_ROUNDS),
    help=f"{docs(SampleConfig)['settle']} [default: what the model says; 3 of piano-16bar, else 0]",
)
@click.option(
    "--novel",
    metavar="[=N]",
    is_flag=False,
    flag_value="",
    callback=_limit,
    help="Draw a clip anew if more than N notes of it, one after another, stand in a training song of --against in any "
    "key; what repeats within them counts once. [default: more than is usual in songs that are not trained on]",
)
@click.option(
    "--against", metavar="DATA", type=click.Path(path_type=Path), help="The data set that the model was trained on."
)
@options.model_option
@options.output
def command(
    number: int,
    temperature: float,
    seed: int | None,
    tempo: float | None,
    attributes: dict[str, float],
    prior: Literal["fitted", "normal"] | None,
    settle: int | None,
    novel: int | None,
    against: Path | None,
    model: str | None,
    precision: Literal["int8", "float32"],
    out: Path | None,
    wav: bool,
    soundfont: str | None,
    svg: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write new clips as MIDI files."""
    if (novel is None) != (against is None):
        raise click.UsageError(
            "--novel needs --against DATA, the data set that the model was trained on"
            if against is None
            else "--against is for --novel, which draws clips anew"
        )
    from musicvae.runtime.engine import load

    opened = load(model, precision=precision)
    seed = options.seed_or_new(seed)
    names = [f"{opened.bundle.name}-seed{seed}-{i + 1}" for i in range(number)]
    clips = options.Clips(out, names, svg=svg, wav=wav, soundfont=soundfont, overwrite=overwrite)
    draw = partial(
        opened.sample,
        temperature=temperature,
        tempo=tempo or 120.0,
        attributes=attributes,
        prior=prior,
        settle=settle,
    )
    made, each = draw(number, seed=seed, progress=options.progress("drawing")), None
    if against is not None:
        drawn = _novel(made, lambda other: draw(1, seed=other)[0], seed, opened, against, novel or USUAL)
        made, each = [score for score, _ in drawn], [facts for _, facts in drawn]
    clips.write(
        made, as_json, each, seed=seed, temperature=temperature, attributes=attributes, model=opened.bundle.name
    )


def _novel(
    made: list[Score], draw: Callable[[int], Score], seed: int, model: Model, against: Path, limit: int
) -> list[tuple[Score, dict[str, Any]]]:
    """Return the clips, those with too much of a training song drawn anew, and what is to be said of each."""
    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.copying import kept_level, learnt_from, redraw
    from musicvae.evaluate.lines import LINES
    from musicvae.evaluate.novelty import Index, described

    dataset = Dataset(against)
    if not learnt_from(model.bundle.trained, dataset):
        click.echo(f"note: {model.bundle.name} was trained on another data set than {against}", err=True)
    click.echo(f"{against}: looking up the training songs", err=True)
    index = Index.kept(dataset, model.codec.parts)
    if limit == USUAL:
        limits = kept_level(dataset, model.codec, model.bars, index, options.progress("held-out songs"))
    else:
        limits = {line: limit for part in model.codec.parts for line in LINES[part]}
    drawn = redraw(made, draw, seed, index, limits)
    anew = [d.tries for d in drawn if d.tries]
    told = ", ".join(f"{count} of {line}" for line, count in limits.items())
    click.echo(
        f"most notes of a training song that a clip may have, one after another, repeats once: {told}. "
        f"{len(anew)} of {len(drawn)} clips had more and were drawn anew, {sum(anew)} times in all",
        err=True,
    )
    sources = dataset.sources()
    return [
        (d.score, {"drawn_with_seed": d.seed, "drawn_anew": d.tries, "runs": described(d.found, sources)})
        for d in drawn
    ]
