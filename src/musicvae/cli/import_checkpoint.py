"""musicvae import-checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from musicvae.errors import MissingExtraError


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--preset",
    "preset_name",
    required=True,
    help="The configuration it was trained with, such as hierdec-mel_16bar; sizes are taken from the file.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the model.")
@click.option("--name", help="What the model is called. [default: the folder's name]")
@click.option("--half", is_flag=True, help="Store the weights in half precision: half the size, outputs move a little.")
def command(checkpoint: Path, preset_name: str, out: Path, name: str | None, half: bool) -> None:
    """Turn CHECKPOINT of the published implementation into a model that every other command can use.

    CHECKPOINT is a TensorFlow V2 checkpoint (its .index file, its prefix, its folder) or the .tar in which its authors
    publish it. TensorFlow is not needed.
    """
    try:
        from musicvae.runtime.export import import_checkpoint
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "onnx"):
            raise
        raise MissingExtraError("Importing", "train") from None
    from musicvae.evaluate.card import imported_card
    from musicvae.presets import preset

    name = name or out.resolve().name
    config, parameters = import_checkpoint(checkpoint, preset(preset_name), out, name=name, half=half)
    card = imported_card(name, config, checkpoint.name, preset_name, parameters)
    (out / "README.md").write_text(card, encoding="utf-8")
    size = sum(f.stat().st_size for f in out.iterdir()) / 1e6
    click.echo(f"{out}: {parameters / 1e6:.1f} M parameters, {size:.1f} MB")
    click.echo(f"Hear it with: musicvae generate --model {out}", err=True)
