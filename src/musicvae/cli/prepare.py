"""`musicvae prepare`: a folder of music becomes a data set."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from musicvae.cli import options

if TYPE_CHECKING:
    from musicvae.data.prepare import Progress, Summary

PRESETS = (("piano", "piano-16bar"), ("drums", "cat-drums_2bar_small"), ("melody", "cat-mel_2bar_small"))
SHOWN = 8  # reasons in the summary; all of them are in dataset.json


@click.command(name="prepare")
@click.argument("sources", metavar="SRC...", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("-o", "--out", metavar="DATA", type=click.Path(path_type=str), help="Folder to write the data set to.")
@click.option(
    "--steps-per-beat",
    type=click.Choice(["4", "8", "12", "24"]),
    default="4",
    show_default=True,
    help="Grid: steps a quarter note.",
)
@options.reading
@click.option(
    "--genre",
    "genres",
    metavar="NAME",
    multiple=True,
    help="Keep only the songs that a list of --labels has, such as Jazz or amg/Jazz. Repeatable.",
)
@click.option(
    "--labels",
    metavar="FILE|FOLDER",
    type=click.Path(path_type=str),
    help="Lists of songs by genre: LPD's id_list_*.txt, their folder or archive, or a table of name, tab, genre.",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that read. [default: one a core]")
@click.option("--overwrite", is_flag=True, help="Replace DATA if it is a prepared data set.")
@click.option("--dry-run", is_flag=True, help="Read everything and say what would be kept; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
def command(
    *,
    sources: tuple[str, ...],
    out: str | None,
    steps_per_beat: str,
    programs: tuple[int, ...] | None,
    any_meter: bool,
    genres: tuple[str, ...],
    labels: str | None,
    workers: int | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Turn folders, files and archives of music into a data set to train on.

    SRC are folders of any depth, MIDI files (.mid, .midi, .kar, .rmi), Lakh piano rolls (.npz), and
    archives of these (.tar, .tar.gz, .tar.bz2, .tar.xz, .zip), which are read without being unpacked.
    Where a beat_midi.txt stands in the folder of a MIDI file, as in POP909, its beats and bars count.

    Of every song all voices are kept: the tracks of --programs (here 0-7 unless you choose others)
    together as its piano, each track of programs 0-31 as a melody and of 32-39 as a bass, and the drums.

    Songs with the same notes, or the same piano, are kept once. About 90 % of songs are for training, 5 %
    for validation and 5 % for testing; which is which follows from a song's notes. DATA/dropped.tsv says
    what was left out and why.
    """
    if out is None and not dry_run:
        raise click.UsageError("Missing option '-o': the folder to write the data set to, or --dry-run.")
    if bool(genres) != (labels is not None):
        raise click.UsageError(
            "--genre needs --labels, lists of songs by genre"
            if genres
            else "--labels needs --genre, the one to keep. Which there are says: musicvae card DATA --labels LABELS"
        )
    from musicvae.data.labels import Labels
    from musicvae.data.prepare import prepare

    choice = None if labels is None else Labels.read(labels).choose(genres)
    show, close = _progress()
    try:
        summary = prepare(
            sources,
            None if dry_run else out,
            steps_per_beat=int(steps_per_beat),
            programs=range(8) if programs is None else programs,
            any_meter=any_meter,
            choice=choice,
            workers=workers,
            overwrite=overwrite,
            progress=show,
        )
    except KeyboardInterrupt:
        close()
        click.echo("musicvae prepare: stopped, nothing was written", err=True)
        sys.exit(130)
    finally:
        close()
    for notice in summary.notices:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        facts = {"data": None if summary.folder is None else str(summary.folder), **summary.record}
        facts |= {"bytes": summary.size, "seconds": round(summary.seconds, 2)}
        click.echo(json.dumps(facts, indent=1))
    else:
        click.echo("\n".join(_lines(summary)))


def _progress() -> tuple[Callable[[Progress], None], Callable[[], None]]:
    """Return what shows progress on stderr, and what ends it: a bar, or a line every 10 s without a terminal."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(unit=" files", desc="reading", file=sys.stderr, leave=False, dynamic_ncols=True)

        def show_bar(now: Progress) -> None:
            bar.total = now.total
            bar.update(now.done - bar.n)

        return show_bar, bar.close
    said = time.monotonic()

    def show_line(now: Progress) -> None:
        nonlocal said
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            of = f" of {now.total:,}" if now.total else ""
            click.echo(f"reading: {now.done:,}{of} files", err=True)

    return show_line, lambda: None


def _lines(summary: Summary) -> list[str]:
    """Return the summary for people."""
    record = summary.record
    files, songs = record["files"], record["songs"]
    lines = [
        f"{files['found']:,} files in {summary.seconds:.1f} s: {files['kept']:,} songs kept, "
        f"{files['duplicates']:,} duplicates, {files['dropped']:,} dropped"
    ]
    reasons = list(record["reasons"].items())
    if labels := record["settings"].get("labels"):
        lines.append(f"genre: {', '.join(labels['lists'])} ({files['found']:,} files looked at)")
    lines += [f"  {count:>7,}  {reason}" for reason, count in reasons[:SHOWN]]
    if len(reasons) > SHOWN:
        lines.append(f"  {sum(count for _, count in reasons[SHOWN:]):>7,}  for {len(reasons) - SHOWN} other reasons")
    if any(reason.startswith("meter is") for reason, _ in reasons):
        lines.append("  (with --any-meter, songs in other meters are kept, their bars counted in 4/4)")
    lines.append("songs: " + ", ".join(f"{count:,} {name}" for name, count in songs.items()))
    lines.append(f"music: {record['bars']:,} bars, {record['notes']:,} notes in voices")
    lines += [
        f"  {v['voices']:>7,}  {part} ({v['songs']:,} songs, {v['bars']:,} bars with notes, {v['notes']:,} notes)"
        for part, v in record["voices"].items()
        if v["voices"]
    ]
    changes = [(reason, count) for reason, count in record["changes"].items() if count]
    lines += [f"  {count:>11,} notes {reason}" for reason, count in changes[:SHOWN]]
    if summary.folder is None:
        return [*lines, "dry run: nothing was written"]
    if not songs["valid"]:
        lines.append("note: one song is too few to keep some for validation")
    lines.append(f"written: {summary.folder} ({summary.size / 1e6:.1f} MB)")
    lines.append(f"left out: {Path(summary.folder) / 'dropped.tsv'}")
    voices = record["voices"]
    fits = next((f" --preset {name}" for part, name in PRESETS if voices[part]["voices"]), "")
    return [*lines, f"next: musicvae train {summary.folder}{fits} -o runs/{Path(summary.folder).name}"]
