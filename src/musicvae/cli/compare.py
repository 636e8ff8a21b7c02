"""musicvae compare."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from musicvae.cli import options

if TYPE_CHECKING:
    from musicvae.codecs import Codec
    from musicvae.music import Score

    Set = tuple[list[Score], list[str]]
    """Clips, and the song of each."""


@click.command()
@click.argument("generated", type=click.Path(path_type=Path))
@click.argument("real", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(["piano", "melody", "drums", "trio"]),
    default="piano",
    show_default=True,
    help="What of the music is compared, and how tokens hold it.",
)
@click.option(
    "--bars", type=click.IntRange(min=1, max=64), default=16, show_default=True, help="Length of a clip, in bars."
)
@click.option(
    "--clips",
    type=click.IntRange(min=2),
    default=500,
    show_default=True,
    help="Most clips of each set, spread evenly over it.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "valid", "train"]),
    default="test",
    show_default=True,
    help="Of a prepared data set, which songs.",
)
@click.option(
    "--baselines", is_flag=True, help="Put the machine listener to three ways of spoiling the real clips, too."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Half-samples that intervals, and real against real, come from.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all that is drawn.")
@options.reading
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def command(
    generated: Path,
    real: Path,
    kind: Literal["piano", "melody", "drums", "trio"],
    bars: int,
    clips: int,
    split: str,
    baselines: bool,
    rounds: int,
    seed: int,
    programs: Sequence[int] | None,
    any_meter: bool,
    as_json: bool,
) -> None:
    """Compare GENERATED clips with REAL ones: folders or archives of MIDI files, or prepared data sets.

    For each feature of Yang and Lerch (2020), and some more: the overlap of the distances within the real set with
    those between the sets, beside that of two halves of the real songs, which is the most that one can ask for. Then a
    classifier tries to tell the two sets apart: 50 % means that it cannot. Both sets are taken as the tokens of --kind
    hold them; a file longer than a clip is cut into clips. Needs the `eval` extra.
    """
    from musicvae.codecs import codec
    from musicvae.config import CodecConfig
    from musicvae.evaluate.compare import compare, comparison_tables

    holds = codec(CodecConfig(kind=kind))
    sets = [_clips(path, holds, bars, clips, split, programs, any_meter) for path in (generated, real)]
    (ours, our_songs), (theirs, their_songs) = sets
    found = compare(
        ours,
        theirs,
        their_songs,
        generated_songs=our_songs,
        baselines=baselines,
        rounds=rounds,
        seed=seed,
        progress=options.progress("comparing"),
    )
    if as_json:
        about = {"generated_from": str(generated), "real_from": str(real), "kind": kind, "seed": seed}
        json.dump({**about, **found.to_dict()}, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    click.echo(
        f"{generated}: {found.generated} clips; {real}: {found.real} clips of {found.songs} songs; "
        f"{found.bars} bars each; in brackets 95 % intervals\n"
    )
    click.echo(comparison_tables(found), nl=False)


def _clips(
    path: Path, holds: Codec, bars: int, count: int, split: str, programs: Sequence[int] | None, any_meter: bool
) -> Set:
    """Return clips of a prepared data set, or of music files."""
    if (path / "dataset.json").is_file():
        from musicvae.data.dataset import Dataset

        found = Dataset(path).clips(split, holds, bars)
        found.require()
        chosen = found.spread_index(count)
        return [holds.decode(tokens) for tokens in found.batch(chosen).tokens], [
            f"{path.resolve()}: {song}" for song in found.songs[chosen]
        ]
    return _of_files(path, holds, bars, count, programs, any_meter)


def _of_files(path: Path, holds: Codec, bars: int, count: int, programs: Sequence[int] | None, any_meter: bool) -> Set:
    """Return clips of the files in a folder or an archive, each file as a song; say what could not be read."""
    from musicvae.data.sources import NOTHING, Found, check, walk
    from musicvae.errors import CodecError, DataError, ReadError
    from musicvae.music import read_bytes

    check([path])
    reading = functools.partial(read_bytes, parts=holds.parts, programs=programs, any_meter=any_meter)
    scores: list[Score] = []
    songs: list[str] = []
    skipped = files = 0
    last = ""
    for source in walk([path]):
        if not isinstance(source, Found):
            skipped, last = skipped + 1, f"{source.name}: {source.reason}"
            continue
        try:
            data = source.content if isinstance(source.content, bytes) else source.content.read_bytes()
            music = reading(data, source.name, beats=source.beats)
            clips = [holds.decode(holds.encode(clip).tokens) for clip in _cut(music.score, bars)]
        except CodecError as error:
            skipped, last = skipped + 1, f"{source.name}: {error}"
            continue
        except (ReadError, OSError) as error:
            skipped, last = skipped + 1, str(error)
            continue
        files += 1
        scores += clips
        songs += [source.name] * len(clips)
    if skipped:
        click.echo(f"{path}: {skipped} of {files + skipped} files left out, the last of them {last}", err=True)
    if not files:
        raise DataError(f"{path}: {f'none of {skipped} files can be used' if skipped else NOTHING}")
    if not scores:
        raise DataError(f"{path}: has no clip of {bars} bars in {files} files. Choose shorter clips with --bars")
    chosen = [i * len(scores) // min(count, len(scores)) for i in range(min(count, len(scores)))]
    return [scores[i] for i in chosen], [songs[i] for i in chosen]


def _cut(score: Score, bars: int) -> list[Score]:
    """Cut music into clips that have notes and do not overlap; the last is filled up with rests if half is music."""
    starts = (first for first in range(0, score.bars, bars) if 2 * (score.bars - first) >= bars)
    return [clip for clip in (score.cut(first, bars) for first in starts) if len(clip)]
