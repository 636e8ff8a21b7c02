"""musicvae evaluate."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from musicvae.cli import options
from musicvae.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from musicvae.codecs import Codec
    from musicvae.data.dataset import Clips, Dataset
    from musicvae.evaluate.interpolation import Curves
    from musicvae.runtime.sampling import Backend


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["test", "valid", "train"]),
    default="test",
    show_default=True,
    help="Songs to score: test songs were neither trained on nor used to choose anything.",
)
@click.option("--clips", type=click.IntRange(min=1), default=512, show_default=True, help="How many, spread evenly.")
@click.option(
    "--without-copies",
    is_flag=True,
    help="Leave out songs that are near-copies of training songs: more than half of a clip of 16 bars stands in one.",
)
@options.temperature(1.0)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all that is drawn.")
@click.option(
    "--interpolation",
    metavar="FILE.svg",
    type=click.Path(path_type=Path),
    help="Measure the ways between held-out clips, too, and draw their curves (melody and drums).",
)
@options.precision
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def command(
    model: str,
    data: Path,
    split: str,
    clips: int,
    without_copies: bool,
    temperature: float,
    seed: int,
    interpolation: Path | None,
    precision: Literal["int8", "float32"],
    as_json: bool,
) -> None:
    """Score MODEL (a name, a model folder or a training run) on held-out songs of DATA.

    Teacher-forced accuracy and sampling accuracy (the model fed its own output, greedily and drawn at --temperature,
    1.0 as in the paper), precision, recall and F1 of notes, bits a note, KL and active units, beside three baselines:
    decoded without the latent vector (z = 0), the previous bar repeated, and silence. Intervals are 95 % bootstrap
    intervals over songs.
    """
    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.reconstruction import reconstruction

    name, codec, backend = _open(model, precision)
    dataset = Dataset(data)
    found = dataset.clips(split, codec, backend.config.bars)
    found.require()
    copied = None  # not looked for
    if without_copies:
        found, copied = _without_copies(dataset, codec, found)
    batch, songs = found.spread(clips), found.songs[found.spread_index(clips)]
    result = reconstruction(
        backend, codec, batch, songs, temperature=temperature, seed=seed, progress=options.progress("scoring")
    )
    curves = None
    if interpolation:
        learnt = dataset.clips("train", codec, backend.config.bars)
        curves = _curves(backend, learnt, found, clips, seed, interpolation)
        result["interpolation"] = curves.as_dict()
    if as_json:
        about = {"model": name, "data": str(data), "split": split, "copied_songs": copied}
        json.dump({**about, **result}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    left_out = f" ({copied} near-copies of training songs left out)" if without_copies else ""
    click.echo(
        f"{name}: {result['clips']} clips of {result['songs']} {split} songs{left_out}; 95 % intervals over songs"
    )
    for lines in (_table(result), _notes(result), [_totals(result)]):
        click.echo("\n" + "\n".join(lines))
    if curves is not None:
        from musicvae.evaluate.interpolation import curves_table

        click.echo(
            f"\nOn the way between {curves.pairs} pairs of {split} clips ({interpolation}):\n\n{curves_table(curves)}"
        )


def _open(model: str, precision: Literal["int8", "float32"]) -> tuple[str, Codec, Backend]:
    """Open a model, or a training run as it stands (in float32)."""
    if (Path(model) / "run.json").exists():
        from musicvae.codecs import codec

        try:
            from musicvae.runtime.torch import TorchBackend
            from musicvae.train.record import open_run
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "safetensors"):
                raise
            raise MissingExtraError("Scoring a run", "train") from None
        run = open_run(Path(model))
        return (
            f"{model} ({run.trained['checkpoint']}, step {run.trained['step']})",
            codec(run.config.codec),
            TorchBackend(run.network),
        )
    from musicvae.runtime.engine import load

    opened = load(model, precision=precision)
    return opened.bundle.name, opened.codec, opened.backend


def _without_copies(dataset: Dataset, codec: Codec, found: Clips) -> tuple[Clips, int]:
    """Return the clips of songs that are no near-copies of training songs, and how many songs are."""
    from musicvae.evaluate.copying import copied_songs
    from musicvae.evaluate.novelty import Index

    if found.split == "train":
        raise click.UsageError("--without-copies: every song of --split train is a training song. Choose test or valid")
    index = Index.kept(dataset, codec.parts)
    copied = copied_songs(dataset, codec, found.split, index, options.progress("looking for near-copies"))
    rest = found.without(copied)
    if not len(rest):
        raise DataError(
            f"{dataset.folder}: all {len(copied)} {found.split} songs are near-copies of training songs. "
            "Score without --without-copies"
        )
    return rest, len(copied)


def _curves(backend: Backend, learnt: Clips, found: Clips, count: int, seed: int, path: Path) -> Curves:
    """Measure the ways between held-out clips and draw the curves."""
    from musicvae.evaluate.interpolation import curves_svg, measure_interpolation

    curves = measure_interpolation(backend, learnt, found, count, seed, options.progress("interpolating"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(curves_svg(curves), encoding="utf-8")
    return curves


def _table(result: dict[str, Any]) -> list[str]:
    """Return the accuracies as a Markdown table."""
    fields = list(result["table"]["model"]["teacher_forced"])
    rows = [(name, [figures[f] for f in fields]) for name, mode, figures in _rows(result)]
    return _markdown("accuracy a slot", fields, rows)


def _notes(result: dict[str, Any]) -> list[str]:
    """Return the note scores as a Markdown table."""
    names = [f"{what}_{k}" for what in ("onset", "duration") for k in ("precision", "recall", "f1")]
    rows = [(name, [figures[f] for f in names]) for name, mode, figures in _rows(result) if mode != "teacher_forced"]
    return _markdown("notes", [name.replace("_", " ").replace("f1", "F1") for name in names], rows)


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each row of the tables: its name, its mode and its figures. A baseline that copies has one mode."""
    modes = {"teacher_forced": "teacher-forced", "greedy": "greedy", "sampled": f"T = {result['temperature']:g}"}
    for row, found in result["table"].items():
        for mode, text in modes.items() if "sampled" in found else [("greedy", "")]:
            yield f"{row}, {text}".removesuffix(", "), mode, found[mode]


def _totals(result: dict[str, Any]) -> str:
    parts = [
        f"reconstruction {_value(result['recon_nats'], 1)} nats a clip, "
        f"{_value(result['recon_bits_per_note'], 2)} bits a note",
        f"KL {_value(result['kl_nats'], 1)} nats, {_value(result['kl_bits_per_note'], 2)} bits a note",
        f"active units {result['active_units']} of {result['z']}",
    ]
    return "; ".join(parts)


def _markdown(corner: str, heads: list[str], rows: list[tuple[str, list[dict[str, float]]]]) -> list[str]:
    """Return an aligned Markdown table; an interval is half as wide as it says after ±."""
    cells = [[corner, *heads], *([name, *map(_value, values)] for name, values in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def _value(figure: dict[str, float], digits: int = 3) -> str:
    half = (figure["high"] - figure["low"]) / 2
    return f"{figure['value']:.{digits}f} ±{half:.{digits}f}"
