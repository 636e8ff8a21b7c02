"""musicvae prior."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from musicvae.cli import options
from musicvae.errors import MissingExtraError

HELD_OUT = 2048
"""Validation clips that the fit is measured on."""


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--clips", type=click.IntRange(min=100), default=60_000, show_default=True, help="Training clips to learn from."
)
@click.option("--steps", type=click.IntRange(min=1), default=10_000, show_default=True, help="Updates.")
@click.option("--hidden", type=click.IntRange(min=1), default=384, show_default=True, help="Units of a layer.")
@click.option("--blocks", type=click.IntRange(min=1), default=3, show_default=True, help="Pairs of layers.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all that is drawn.")
@options.computing
@click.option("--dry-run", is_flag=True, help="Print how well it fits, leave the model as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def command(
    model: str,
    data: Path,
    clips: int,
    steps: int,
    hidden: int,
    blocks: int,
    seed: int,
    device: str,
    precision: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fit a prior to the latent vectors of DATA's clips, and store it in MODEL (a model folder).

    The latent vectors of music do not fill N(0, I) evenly: a sample of it may lie where no music is. A small network
    learns to move noise to where music is (flow matching). `generate` and `vary` then use it; --prior normal does
    without. Needs the train extra.
    """
    import numpy as np

    from musicvae.data.dataset import Dataset
    from musicvae.evaluate.card import with_prior
    from musicvae.evaluate.posteriors import posteriors
    from musicvae.runtime.engine import load
    from musicvae.runtime.flow import write_flow

    try:
        from musicvae.train.flow import Posteriors, fit_flow
    except ModuleNotFoundError as error:
        raise MissingExtraError("Fitting a prior", "train") from error

    opened = load(model)
    dataset = Dataset(data)
    encoded = []
    for split, most in (("train", clips), ("valid", HELD_OUT)):
        found = dataset.clips(split, opened.codec, opened.bars)
        parts = [part[1:] for part in posteriors(opened.backend, found, most, options.progress("encoding"))]
        encoded.append(Posteriors(*(np.concatenate(side) for side in zip(*parts, strict=True))))
    learnt, held_out = encoded
    show = options.progress("fitting")
    weights, fit = fit_flow(
        learnt,
        held_out,
        hidden=hidden,
        blocks=blocks,
        steps=steps,
        seed=seed,
        device=device,
        precision=precision,
        progress=lambda step, total, _: show(step, total),
    )
    facts = {
        "data": data.name,
        "clips": len(learnt.mu),
        "steps": steps,
        "hidden": hidden,
        "blocks": blocks,
        "seed": seed,
    }
    facts |= {
        "error_of_normal": round(np.pi / 2, 4),
        "parameters": sum(w.size for w in weights.values()),
        **{k: round(v, 4) for k, v in fit.items()},
    }
    if not dry_run:
        write_flow(opened.bundle.folder, weights, facts)
        card = opened.bundle.folder / "README.md"
        if card.exists():
            card.write_text(with_prior(card.read_text(encoding="utf-8"), facts), encoding="utf-8")
    if as_json:
        json.dump(facts, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    click.echo(
        f"error of velocities {fit['error']:.3f}, on held-out songs {fit['error_held_out']:.3f}; "
        f"{facts['parameters']:,} parameters"
    )
    if not dry_run:
        click.echo(f"Use it with: musicvae generate --model {model}", err=True)
