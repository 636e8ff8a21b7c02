"""Ratios between earlier runs, and to the published implementation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from benchmarks.report import Column, Row, heading, table

MORE = ("clips_per_second", "notes_per_second", "files_per_second", "files_per_cpu_second", "gflop_per_second")
"""Figures of which more is better."""
LESS = ("best_s", "best_ms", "seconds", "peak_mb", "installed_mb")
"""Figures of which less is better."""


class Published(NamedTuple):
    """A figure of the published implementation, and which of ours it stands beside."""

    what: str
    value: float
    verb: str
    rows: str
    """The names of our rows, as a regular expression."""
    figure: str
    unit: str = ""
    scale: float = 1.0
    """What ours is to be multiplied with to be in its unit."""


PUBLISHED = (
    Published("cold start to one clip on disk", 10, "start", "musicvae generate", "best_s", "s"),
    Published("1 clip", 0.38, "generate", "hierdec-mel-512, 1\\b.*", "best_ms", "s", 1e-3),
    Published("8 clips", 0.73, "generate", "hierdec-mel-512, 8\\b.*", "best_ms", "s", 1e-3),
    Published("64 clips", 2.0, "generate", "hierdec-mel-512, 64\\b.*", "best_ms", "s", 1e-3),
    Published("training, batch 32", 2.3, "train", "hierdec-mel-512, .*, batch 32", "clips_per_second", "clips/s"),
    Published("peak memory of it", 2800, "train", "hierdec-mel-512, .*, batch 32", "peak_mb", "MB"),
    Published("reading MIDI", 22, "prepare", "read .*, mid, .*", "files_per_cpu_second", "files/s of CPU"),
    Published("installed", 2460, "start", "musicvae and what.*|whole environment", "installed_mb", "MB"),
)
"""magenta music_vae made to run on TensorFlow 2.21 (`pip install magenta` fails), Python 3.11, one thread of a two-core
AMD EPYC with AVX-512, random weights: hierdec-mel_16bar with encoder 2 × 512 bidirectional, conductor and decoder
2 × 512, z 256, temperature 0.5, best of 2 to 5 timed steps, ± 15 %. Reading: note_seq 0.0.5 on 60 files of POP909."""
NOTE = (
    "Published: magenta music_vae on TensorFlow 2.21, measured on ANOTHER machine (one thread of a two-core AMD EPYC), "
    "± 15 %. Only a run of both on one machine says how much faster this is; take these ratios for their size."
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def command(files: Sequence[Path]) -> None:
    """Compare FILES that other verbs wrote with --json: each with the first, all with the published implementation.

    Ratios above 1 are better than the first, or than the published implementation.
    """
    results = [read(path) for path in files]
    for number, result in enumerate(results, 1):
        click.echo(f"{number}: {files[number - 1].name} ({result['verb']}): {heading(result['machine'])}")
    rows = list(ratios(results))
    if rows:
        numbers = range(1, len(results) + 1)
        columns = [Column("name", "what"), Column("figure", "figure"), *(Column(f"run {n}", f"{n}") for n in numbers)]
        columns += [Column(f"ratio {n}", f"{n} : 1", ".2f") for n in numbers[1:]]
        click.echo("\n" + table(rows, columns))
    rows = list(published(results))
    if rows:
        columns = [Column("what", "published"), Column("theirs", "theirs"), Column("unit", ""), Column("name", "ours")]
        columns += [Column("run", "run"), Column("ours", "figure"), Column("ratio", "ratio", ".1f")]
        click.echo(f"\n{table(rows, columns)}\n\n{NOTE}")


def read(path: Path) -> dict[str, Any]:
    """Return what a verb wrote; raises ClickException for anything else."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if not {"verb", "machine", "rows"} <= result.keys():
            raise ValueError("it has no verb, machine and rows")
    except (OSError, ValueError, AttributeError) as error:
        raise click.ClickException(f"{path}: is no result of a benchmark ({error}). Write one with --json") from None
    found: dict[str, Any] = result
    return found


def ratios(results: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield a row for each figure that the first run shares with another: all of them, and ratios to the first."""
    tables = [{(result["verb"], row["name"]): row for row in result["rows"]} for result in results]
    for key in tables[0]:
        for figure in (*MORE, *LESS):
            values = [lines.get(key, {}).get(figure) for lines in tables]
            twice = figure == "clips_per_second" and "best_ms" in tables[0][key]  # the same said again
            if twice or values[0] is None or all(value is None for value in values[1:]):
                continue
            row: Row = {"name": f"{key[0]}: {key[1]}", "figure": figure}
            for number, value in enumerate(values, 1):
                row[f"run {number}"] = value
                if number > 1 and value:
                    row[f"ratio {number}"] = better(values[0], value, figure)
            yield row


def published(results: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Yield a row for each of our figures that the published implementation has one for."""
    for theirs in PUBLISHED:
        for number, result in enumerate(results, 1):
            for row in result["rows"] if result["verb"] == theirs.verb else ():
                if theirs.figure in row and re.fullmatch(theirs.rows, row["name"]):
                    ours = row[theirs.figure] * theirs.scale
                    yield {
                        "what": theirs.what,
                        "theirs": float(theirs.value),
                        "unit": theirs.unit,
                        "name": row["name"],
                        "run": number if len(results) > 1 else None,
                        "ours": ours,
                        "ratio": better(theirs.value, ours, theirs.figure),
                    }


def better(before: float, after: float, figure: str) -> float:
    """Return how many times better the second is."""
    return after / before if figure in MORE else before / after
