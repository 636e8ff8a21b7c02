"""musicvae export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicvae.cli import options
from musicvae.config import TEMPERATURE
from musicvae.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from musicvae.train.record import OpenRun

MEASURED = 4096
"""Training clips whose latent vectors are brought to mean 0 and variance 1."""
INT8_MOVES = 0.005
"""How far an accuracy may be moved by computing in int8."""
SAMPLES_SEED = 0
SAMPLES_TEMPERATURES = (TEMPERATURE, 1.0)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the model.")
@click.option("--name", help="What the model is called. [default: the folder's name]")
@click.option(
    "--checkpoint",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default=True,
    help="best: lowest validation loss; last: where the run stands.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set whose test songs are scored for the card. [default: the run's own, if it is there]",
)
@click.option(
    "--clips", type=click.IntRange(min=0), default=512, show_default=True, help="Test clips to score (0: none)."
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Lists of songs by genre, for the card: see `musicvae card`."
)
def command(
    run: Path, out: Path, name: str | None, checkpoint: str, data: Path | None, clips: int, labels: Path | None
) -> None:
    """Turn RUN, a folder that `musicvae train` wrote, into a model that every other command can use.

    Its latent space is moved and scaled, so that the latent vectors of training clips have mean 0 and variance 1, as
    N(0, I) has, which new clips are drawn from. The model is scored on songs that were neither trained on nor used for
    validation; the figures stand in its card. It draws in int8 from then on if that moves no accuracy on them by half a
    point, else in float32.
    """
    try:
        from musicvae.runtime.export import write_bundle
        from musicvae.runtime.onnx import INT8
        from musicvae.train.record import open_run
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "onnx"):
            raise
        raise MissingExtraError("Exporting", "train") from None
    opened = open_run(run, checkpoint)
    trained = opened.trained
    folder = data or Path(trained["data"]["folder"])
    trained["standardised"] = _standardise(opened, folder, required=data is not None)
    about = _about(folder, labels, required=data is not None)
    name = name or out.resolve().name
    write_bundle(opened.network, opened.config, out, name=name, trained=trained, int8=True)
    held_out = _score(out, folder, clips, required=data is not None) if clips else None
    if not held_out or not held_out["int8"]["kept"]:
        (out / f"{INT8}.onnx").unlink()
    from musicvae.evaluate.card import model_card

    (out / "README.md").write_text(model_card(name, opened.config, trained, held_out, about), encoding="utf-8")
    if held_out:
        (out / "evaluation.json").write_text(json.dumps(held_out, indent=1) + "\n", encoding="utf-8")
    size = sum(f.stat().st_size for f in out.iterdir()) / 1e6
    click.echo(f"{out}: {trained['parameters'] / 1e6:.1f} M parameters, {size:.1f} MB, step {trained['step']}")
    click.echo(f"Hear it with: musicvae generate --model {out}", err=True)


def _standardise(opened: OpenRun, data: Path, required: bool) -> int:
    """Standardise the latent space on training clips; return how many: 0 where there is no data set, nor one wanted."""
    import numpy as np

    from musicvae.codecs import codec
    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.posteriors import posteriors
    from musicvae.runtime.export import standardise
    from musicvae.runtime.torch import TorchBackend

    network, config = opened.network, opened.config
    try:
        clips = Dataset(data).clips("train", codec(config.codec), config.model.bars)
        clips.require()
    except DataError as error:
        if required:
            raise
        click.echo(f"The latent space is as the training left it: {error}", err=True)
        return 0
    found = [p[1:] for p in posteriors(TorchBackend(network), clips, MEASURED, options.progress("measuring"))]
    mu, sigma = (np.concatenate(side) for side in zip(*found, strict=True))
    standardise(network, mu, sigma)
    return len(mu)


def _about(data: Path, labels: Path | None, required: bool) -> dict[str, Any] | None:
    """Return what is in the data set; None where it is not there and was not asked for."""
    from musicvae.data.card import data_facts
    from musicvae.data.dataset import Dataset
    from musicvae.data.labels import Labels

    found = None if labels is None else Labels.read(labels)
    try:
        return data_facts(Dataset(data), found)
    except DataError:
        if required:
            raise
        return None


def _score(folder: Path, data: Path, count: int, required: bool) -> dict[str, Any] | None:
    """Score a bundle on test clips; None where the data set is not there and was not asked for."""
    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.features import plausibility
    from musicvae.evaluate.reconstruction import reconstruction, teacher_forced
    from musicvae.runtime.engine import load

    model = load(folder, precision="float32")
    try:
        dataset = Dataset(data)
        clips = dataset.clips("test", model.codec, model.bars)
        clips.require()
    except DataError as error:
        if required:
            raise
        click.echo(f"The card has no figures: {error}", err=True)
        return None
    batch, songs = clips.spread(count), clips.songs[clips.spread_index(count)]
    result = reconstruction(model.backend, model.codec, batch, songs, progress=options.progress("scoring"))
    exact = {name: f["value"] for name, f in result["table"]["model"]["teacher_forced"].items()}
    rounded = teacher_forced(load(folder).backend, batch)
    moved = max(abs(rounded[name] - value) for name, value in exact.items())
    int8 = {"teacher_forced": rounded, "moved": moved, "kept": moved < INT8_MOVES}
    reference = [model.codec.decode(t) for t in batch.tokens]
    samples = []
    for temperature in SAMPLES_TEMPERATURES:
        drawn = model.sample(
            len(reference),
            temperature=temperature,
            seed=SAMPLES_SEED,
            settle=0,  # nor is there a fitted prior yet: this is what the training made of N(0, I)
            progress=options.progress("drawing"),
        )
        features = plausibility(drawn, reference)
        samples.append({"temperature": temperature, "seed": SAMPLES_SEED, "clips": len(drawn), "features": features})
    return {**result, "int8": int8, "samples": samples}
