"""musicvae presets."""

from __future__ import annotations

import json
import sys

import click

from musicvae.config import PRESETS, to_dict


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
def command(as_json: bool) -> None:
    """List the presets of `musicvae train`."""
    if as_json:
        json.dump({name: to_dict(config) for name, config in PRESETS.items()}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    for name, config in PRESETS.items():
        model = config.model
        click.echo(
            f"{name:20} {model.bars:2} bars, z {model.z}, {model.encoder} encoder {model.encoder_hidden}, "
            f"conductor {model.conductor_hidden}, decoder {model.decoder_hidden}"
        )
