"""musicvae card."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    metavar="FILE|FOLDER",
    type=click.Path(path_type=Path),
    help="Lists of songs by genre: LPD's id_list_*.txt, their folder or archive, or a table of name, tab, genre.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def command(data: Path, labels: Path | None, as_json: bool) -> None:
    """Say what is in DATA: the data section of a model card, in Markdown.

    Songs, hours, tempi, keys, instruments, density, note lengths, genres if there are --labels, what was left out and
    why; first of all in plain words what a model that learns from it may claim to play.
    """
    from musicvae.data.card import data_facts, data_section
    from musicvae.data.dataset import Dataset
    from musicvae.data.labels import Labels

    facts = data_facts(Dataset(data), None if labels is None else Labels.read(labels))
    if as_json:
        json.dump({"data": str(data), **facts}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        click.echo("\n".join([f"# {data.resolve().name}", "", *data_section(facts)]))
