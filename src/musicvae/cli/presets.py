"""musicvae presets."""

from __future__ import annotations

import json
import sys
from itertools import pairwise

import click

from musicvae.config import ModelConfig, in_one_key, to_dict
from musicvae.presets import PRESETS, PUBLISHED
from musicvae.tokens import TokenSpec


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
def command(as_json: bool) -> None:
    """List the presets of `musicvae train`, with their parameters in millions beside those of the published network."""
    from musicvae.codecs import codec

    rows = {name: (config, parameters(codec(config.codec).spec, config.model)) for name, config in PRESETS.items()}
    if as_json:
        found = {
            name: {**to_dict(config), "parameters": count, "published_parameters": PUBLISHED.get(name)}
            for name, (config, count) in rows.items()
        }
        json.dump(found, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    click.echo(
        f"{'preset':27} {'codec':7} bars    z  {'decoder':13} {'its layers':16} {'batch':>5} parameters published"
    )
    for name, (config, count) in rows.items():
        model = config.model
        layers = ",".join(map(str, model.decoder_hidden))
        published = f"{PUBLISHED[name] / 1e6:9.2f}" if name in PUBLISHED else ""
        click.echo(
            f"{name:27} {config.codec.kind:7} {model.bars:4} {model.z:4}  {model.decoder:13} {layers:16} "
            f"{config.train.batch:5} {count / 1e6:10.2f} {published}".rstrip()
        )
    click.echo("published: the same network with one bias a gate; torch's LSTM has two. That is the whole difference.")


def parameters(spec: TokenSpec, model: ModelConfig) -> int:
    """Return how many parameters the network has, without building it (torch need not be installed)."""
    spec, model = in_one_key(spec, model)
    fields = [field for stream in spec.streams for field in stream.fields]
    flat = model.decoder == "flat"
    given = model.z if flat else model.conductor_hidden[-1]
    decoders = [tuple(fields)] if flat else [stream.fields for stream in spec.streams]
    bits = [f.size.bit_length() if f.binary else f.size for f in fields]
    count, width, ends = 0, model.embedding or sum(bits), 2 * model.encoder_hidden[-1]
    if model.roll:
        count += _linear(spec.cells, model.roll) + _linear(ends, model.roll)
        count += _linear(model.bars * model.roll, model.z) - _linear(ends, model.z)  # mu
        width = model.roll
    else:
        count += sum(_embedding(f.size, model) for f in fields)
        if model.encoder == "hierarchical":
            count += _bidirectional(width, model.bar_hidden)
            width = 2 * model.bar_hidden[-1]
    count += _bidirectional(width, model.encoder_hidden) + 2 * _linear(ends, model.z)
    if not flat:
        count += _lstm(model.roll or 1, model.conductor_hidden) + _linear(model.z, 2 * sum(model.conductor_hidden))
    if model.roll:
        count += _linear(model.z, model.bars * model.roll) + _linear(given, model.roll)
        count += _linear(model.roll, spec.cells)
        hints = 2 + (len(fields) - 2) * model.head_hidden if spec.ordered else 1
        count += hints * len(decoders)
    for mine in decoders:
        sizes = [f.size for f in mine]
        width = model.embedding or sum(sizes)
        count += sum(_embedding(size, model) for size in sizes) + _lstm(width + given, model.decoder_hidden)
        count += _linear(given, 2 * sum(model.decoder_hidden))
        hidden, last = model.head_hidden, model.decoder_hidden[-1]
        count += sum(_linear(hidden or last, size) for size in sizes)
        if hidden:
            count += len(sizes) * (_linear(last + given, hidden) + sum((size + 1) * hidden for size in sizes))
            count += sum(size * hidden for f in range(len(sizes)) for size in sizes[:f])
    return count


def _embedding(size: int, model: ModelConfig) -> int:
    return (size + 1) * model.embedding


def _linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def _lstm(inputs: int, hidden: tuple[int, ...]) -> int:
    return sum(4 * h * (w + h + 2) for w, h in pairwise((inputs, *hidden)))


def _bidirectional(inputs: int, hidden: tuple[int, ...]) -> int:
    widths = (inputs, *(2 * h for h in hidden[:-1]))
    return sum(2 * 4 * h * (w + h + 2) for w, h in zip(widths, hidden, strict=True))
