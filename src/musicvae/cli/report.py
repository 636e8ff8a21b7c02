"""musicvae report."""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from musicvae.cli import options
from musicvae.config import TEMPERATURE
from musicvae.errors import MissingExtraError, MusicVAEError

if TYPE_CHECKING:
    from musicvae.runtime.engine import Model


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace a page that exists.")
@click.option(
    "--split",
    type=click.Choice(["test", "valid", "train"]),
    default="test",
    show_default=True,
    help="Songs to compare with: test songs were neither trained on nor used to choose anything.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=2),
    default=256,
    show_default=True,
    help="How many are drawn, and most that are taken of the songs, spread evenly.",
)
@options.temperature(TEMPERATURE)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all that is drawn.")
@options.precision
@click.option("--json", "as_json", is_flag=True, help="Print every figure as JSON on standard output, too.")
def command(
    model: str,
    data: Path,
    out: Path,
    overwrite: bool,
    split: Literal["test", "valid", "train"],
    clips: int,
    temperature: float,
    seed: int,
    precision: Literal["int8", "float32"],
    as_json: bool,
) -> None:
    """Show on one page what MODEL (a name, a model folder or a training run) makes of the music of DATA.

    Clips to see and hear, held-out clips beside their reconstructions, the features of generated clips beside those of
    real ones, a machine listener, and how much stands in the training songs; first of all in plain words what the
    figures say and how each was counted. The page needs no network. Needs the `eval` extra.
    """
    if out.is_dir():
        raise MusicVAEError(f"{out}: is a folder; wanted a file. Choose one with -o, such as {out / 'report.html'}")
    if out.exists() and not overwrite:
        raise MusicVAEError(f"{out}: exists already. Choose another place with -o, or replace it with --overwrite")
    _make_room(out)
    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.report import measure
    from musicvae.report import require_templates

    require_templates()
    from musicvae.report.page import report_html

    dataset, opened = Dataset(data), _open(model, precision)
    found = measure(
        opened,
        dataset,
        data=str(data),
        split=split,
        clips=clips,
        temperature=temperature,
        seed=seed,
        progress=options.progress,
    )
    asked = f"--split {split} --clips {clips} --temperature {temperature:g} --seed {seed} --precision {precision}"
    line = f"musicvae report {shlex.quote(model)} {shlex.quote(str(data))} {asked} -o {shlex.quote(out.name)}"
    _write(out, report_html(found, line))
    if as_json:
        json.dump(found.to_dict(), sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
        return
    for text in found.left_out:
        click.echo(f"left out: {text}", err=True)
    if not found.learnt:
        click.echo(f"note: {opened.bundle.name} was trained on another data set than {data}", err=True)
    counted = f"{found.comparison.generated} generated and {found.comparison.real} real clips"
    click.echo(f"{out}: {counted}; open it in a browser")


def _open(model: str, precision: Literal["int8", "float32"]) -> Model:
    """Open a model, or a training run as it stands (in float32)."""
    from musicvae.runtime.engine import Model, load

    if not (Path(model) / "run.json").exists():
        return load(model, precision=precision)
    try:
        from musicvae.runtime.torch import TorchBackend
        from musicvae.train.record import open_run
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise MissingExtraError("A report of a run", "train") from None
    from musicvae.runtime.bundle import Bundle

    run = open_run(Path(model))
    name = f"{Path(model).resolve().name} ({run.trained['checkpoint']}, step {run.trained['step']})"
    return Model(Bundle(Path(model), name, run.config, run.trained), TorchBackend(run.network))


def _make_room(out: Path) -> None:
    """Make the folder of a page; a place that cannot be written to is told before the work."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from None
    if not os.access(out.parent, os.W_OK):
        raise MusicVAEError(f"{out}: its folder cannot be written to. Choose another place with -o")


def _write(out: Path, text: str) -> None:
    """Write the page at once, so that there is never half of one."""
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: OSError) -> MusicVAEError:
    return MusicVAEError(f"{out}: cannot be written ({error.strerror or error}). Choose another place with -o")
