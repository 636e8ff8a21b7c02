"""musicvae attributes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from musicvae.cli import options
from musicvae.config import TEMPERATURE


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--clips", type=click.IntRange(min=30), default=20_000, show_default=True, help="Training clips to learn from."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=256, show_default=True, help="Clips from the prior to try them on."
)
@click.option("--amount", type=float, default=1.0, show_default=True, help="How far those are moved, in vectors.")
@options.temperature(TEMPERATURE)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the samples.")
@click.option("--dry-run", is_flag=True, help="Print the table, leave the model as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def command(
    model: str,
    data: Path,
    clips: int,
    samples: int,
    amount: float,
    temperature: float,
    seed: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Find the attribute vectors of MODEL (a model folder) with clips of DATA, and store them in it.

    An attribute's vector is the mean latent vector of the third of the clips that have most of it, minus that of the
    third that has least (paper, section 5.3). `generate` and `vary` then take --attribute density=+1.5. The table
    shows, like the paper's figure 4, how much each attribute of new clips changes under each vector, and on how many
    clips the vector's own attribute moves the way it should.
    """
    import numpy as np

    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.attributes import attribute_vectors, attributes_for, effect, effect_table, measure
    from musicvae.evaluate.posteriors import posteriors
    from musicvae.runtime.bundle import write_attributes
    from musicvae.runtime.engine import load

    opened = load(model)
    found = Dataset(data).clips("train", opened.codec, opened.bars)
    names = attributes_for(opened.codec.parts)
    z, values = [], []
    for batch, mu, _ in posteriors(opened.backend, found, clips, options.progress("encoding")):
        z.append(mu)
        values.append(measure([opened.codec.decode(clip) for clip in batch.tokens], names))
    latent, measured = np.concatenate(z), np.concatenate(values)
    varied = [k for k in range(len(names)) if np.ptp(measured[:, k]) > 0]
    names, measured = tuple(names[k] for k in varied), measured[:, varied]
    vectors = attribute_vectors(latent, measured)
    opened.attributes = dict(zip(names, vectors, strict=True))
    made = [opened.sample(samples, temperature=temperature, seed=seed)]
    show = options.progress("trying")
    for k, name in enumerate(names):
        made.append(opened.sample(samples, temperature=temperature, seed=seed, attributes={name: amount}))
        show(k + 1, len(names))
    before, *after = (measure(scores, names) for scores in made)
    result = effect(before, np.stack(after), names, added=amount > 0)
    facts = {
        "data": data.name,
        "clips": len(latent),
        "samples": samples,
        "amount": amount,
        "temperature": temperature,
        "seed": seed,
        "names": list(names),
        "change_percent": [[round(float(x), 2) for x in row] for row in result.change],
        "moved_as_meant": [round(float(x), 4) for x in result.moved],
        "before": [round(float(x), 5) for x in before.mean(axis=0)],
    }
    if not dry_run:
        write_attributes(opened.bundle.folder, opened.attributes, facts)
    if as_json:
        json.dump(facts, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    click.echo(effect_table(result))
    if not dry_run:
        click.echo(f"Use them with: musicvae generate --model {model} --attribute {names[0]}=+1", err=True)
