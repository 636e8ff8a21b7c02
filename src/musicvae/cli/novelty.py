"""musicvae novelty."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicvae.cli import options
from musicvae.config import TEMPERATURE

if TYPE_CHECKING:
    from musicvae.data.dataset import Dataset


@click.command()
@click.argument("what", metavar="MODEL|FILE...", nargs=-1, required=True)
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--clips", type=click.IntRange(min=1), default=512, show_default=True, help="How many a model draws.")
@options.temperature(TEMPERATURE)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of a model's clips.")
@click.option(
    "--part",
    type=click.Choice(["piano", "melody", "bass", "drums"]),
    default="piano",
    show_default=True,
    help="What of a FILE is looked up.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def command(
    what: tuple[str, ...], data: Path, clips: int, temperature: float, seed: int, part: str, as_json: bool
) -> None:
    """Say how much of new clips stands in the training songs of DATA, and where.

    MODEL (a name or a folder) draws clips, which are compared with clips of held-out songs: those have what is usual.
    Each FILE (MIDI) is looked up as it is.

    Looked for are notes that follow one another in a training song, too: at the same distances, with the same pitches
    (exact) or the same intervals (any key). A chord struck thirty times says little, so they are also counted
    unrepeated: with what repeats among them once. The skyline of a piano is those notes above which none sounds.
    """
    from musicvae.data.dataset import Dataset

    files = [Path(name).is_file() for name in what]
    if len(what) > 1 and not all(files):
        raise click.UsageError(f"{what[files.index(False)]} is not a file; name one model, or one MIDI file or more")
    dataset = Dataset(data)
    if files[0]:
        _of_files(what, dataset, part, as_json)
    else:
        _of_model(what[0], dataset, clips, temperature, seed, as_json)


def _of_files(files: Sequence[str], dataset: Dataset, part: str, as_json: bool) -> None:
    """Look MIDI files up."""
    from musicvae.evaluate.novelty import Index, described
    from musicvae.music import read

    scores = [read(file, parts=(part,), steps_per_beat=dataset.steps_per_beat).score for file in files]
    index, sources = Index.kept(dataset, (part,)), dataset.sources()
    found = [described(index.find(score), sources) for score in scores]
    if as_json:
        _print([{"file": file, "runs": runs} for file, runs in zip(files, found, strict=True)])
        return
    for file, lines in zip(files, found, strict=True):
        for line, keys in lines.items():
            for key, runs in keys.items():
                click.echo(f"{file}, {line}, {key}: of {runs['of']} notes {_told(runs['longest'])}")


def _of_model(model: str, dataset: Dataset, count: int, temperature: float, seed: int, as_json: bool) -> None:
    """Compare clips of a model with clips of held-out songs."""
    from musicvae.evaluate.copying import compare, held_out, learnt_from
    from musicvae.evaluate.novelty import Index
    from musicvae.runtime.engine import load

    opened = load(model)
    if not learnt_from(opened.bundle.trained, dataset):
        click.echo(f"note: {opened.bundle.name} was trained on another data set than {dataset.folder}", err=True)
    usual = held_out(dataset, opened.codec, opened.bars)
    drawn = opened.sample(count, temperature=temperature, seed=seed, progress=options.progress("drawing"))
    index = Index.kept(dataset, opened.codec.parts)
    result = compare(index, drawn, usual, dataset.sources(), options.progress("looking up"))
    if as_json:
        about = {"model": opened.bundle.name, "data": str(dataset.folder), "temperature": temperature, "seed": seed}
        _print({**about, **result})
        return
    sets = {"model": f"{opened.bundle.name}, T = {temperature:g}", "held_out": "held-out songs"}
    click.echo("\n".join(_table(result, sets)))
    limits = ", ".join(f"{limit} of {line}" for line, limit in result["limits"].items())
    above = " and ".join(
        f"{result[key]['above']} of {result[key]['clips']} clips ({name})" for key, name in sets.items()
    )
    click.echo(f"\nUsual, unrepeated: up to {limits} (upper fence of the held-out songs). More have {above}.")
    for one in result["nearest"]:
        keyed = {line: keys.get("any key", keys["exact"])["telling"] for line, keys in one["runs"].items()}
        line = max(keyed, key=lambda name: keyed[name]["unrepeated"])
        click.echo(f"Clip {one['clip']}, {line}: {_told(keyed[line])}")


def _table(result: Mapping[str, Any], sets: Mapping[str, str]) -> list[str]:
    """Return the figures as a Markdown table."""
    columns = [f"{what}_{which}" for what in ("notes", "unrepeated") for which in ("median", "95", "most")]
    heads = ["median", "95 %", "most", "unrepeated: median", "95 %", "most", "over half of the clip"]
    rows = [["notes of one training song", *heads]]
    for line, keys in result["model"]["figures"].items():
        for key in keys:
            for name, text in sets.items():
                row = result[name]["figures"][line][key]
                rows.append([f"{line}, {key}: {text}", *(f"{row[c]:.0f}" for c in columns), f"{row['mostly']:.1%}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _told(run: Mapping[str, Any]) -> str:
    """Return what a run is and where it stands, for people."""
    if not run["notes"]:
        return "nothing"
    more = f" and {run['songs'] - 1} songs more" if run["songs"] > 1 else ""
    return (
        f"{run['notes']} notes ({run['unrepeated']} unrepeated) from bar {run['bar']}, beat {run['beat']:g}: "
        f"{run['source']}, bar {run['song_bar']}, beat {run['song_beat']:g}{more}"
    )


def _print(content: Any) -> None:
    json.dump(content, sys.stdout, indent=1)
    sys.stdout.write("\n")
