"""From typing a command to its result, in a fresh process; and what an installation takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.child import Command
from benchmarks.child import command as run
from benchmarks.machine import describe
from benchmarks.report import Column, Row, Timing, shared, show

COLUMNS = (
    Column("name", "command"),
    Column("best_s", "best, s", ".3f"),
    Column("median_s", "median, s", ".3f"),
    Column("cpu_s", "CPU, s", ".3f"),
    Column("limit_s", "limit, s", ".3f"),
    Column("share", "share of it", ".0%"),
    Column("peak_mb", "peak, MB", ".0f"),
)
IMPORTS = "import click, numpy, onnxruntime, symusic"
"""What a command that makes music cannot do without."""
NOTE = (
    "Fresh processes, one after another, the files in the system's cache. The limit of `--help` is a Python that does "
    f"nothing, that of the others one that does `{IMPORTS}`."
)


@click.command()
@shared
@click.option("--venv", metavar="FOLDER", help="Measure the musicvae installed there. [default: this environment]")
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True)
def command(venv: str | None, repeats: int, threads: int | None, quick: bool, json_path: str | None) -> None:
    """Cold start to the MIDI file on disk, peak memory, and the size of an installation."""
    facts = describe(threads)
    python = Path(venv) / "bin" / "python" if venv else Path(sys.executable)
    if not python.exists():
        raise click.ClickException(f"{python}: does not exist; wanted a virtual environment with musicvae installed")
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        script = python.with_name("musicvae")
        musicvae = [str(script)] if script.exists() else [str(python), "-m", "musicvae"]
        generate = [*musicvae, "generate", "--seed", "7", "--overwrite", "-o", folder]
        commands = {
            "python, nothing": [str(python), "-c", "pass"],
            "python, imports": [str(python), "-c", IMPORTS],
            "musicvae --help": [*musicvae, "--help"],
            "musicvae generate": generate,
            "musicvae generate -n 64": [*generate, "-n", "64"],
        }
        for name, words in commands.items():
            done = [run(words, threads) for _ in range(1 if quick else repeats + 1)]
            rows.append({"name": name, **figures(done[1:] or done)})  # the first fills the system's cache
        if not list(Path(folder).glob("*.mid")):
            raise click.ClickException(f"{' '.join(generate)}: wrote no MIDI file")
    nothing, imports = rows[0]["best_s"], rows[1]["best_s"]
    for row in rows[2:]:
        row["limit_s"] = nothing if row["name"].endswith("--help") else imports
        row["share"] = row["limit_s"] / row["best_s"]
    sizes = [{"name": name, "installed_mb": size / 1e6} for name, size in installed(venv)]
    facts["load"].append(describe(threads)["load"][0])
    tables = [(rows, COLUMNS), (sizes, (Column("name", "installed"), Column("installed_mb", "MB")))]
    show("start", facts, [*rows, *sizes], tables, json_path=json_path, notes=[NOTE])


def figures(done: Sequence[Command]) -> Row:
    """Return the figures of a command that was run several times."""
    timing = Timing(tuple(one.seconds for one in done))
    return {
        "best_s": timing.best,
        "median_s": timing.median,
        "cpu_s": min(one.cpu_seconds for one in done),
        "peak_mb": max(one.peak_mb for one in done),
        "times": len(done),
    }


def installed(venv: str | None) -> list[tuple[str, int]]:
    """Return what takes how many bytes: a virtual environment's packages, or musicvae and all that it needs here."""
    if venv:
        roots = [*Path(venv).glob("lib/python*/site-packages"), *Path(venv).glob("Lib/site-packages")]
        entries = [entry for root in roots for entry in root.iterdir()]
        sizes = sorted(((entry.name, size(entry)) for entry in entries), key=lambda one: -one[1])
        return [("whole environment", sum(s for _, s in sizes)), *sizes[:5]]
    sizes = sorted(((name, distribution_size(name)) for name in needed("musicvae")), key=lambda one: -one[1])
    return [("musicvae and what it needs", sum(s for _, s in sizes)), *sizes[:5]]


def needed(package: str) -> Iterator[str]:
    """Yield a package and those that it needs, without extras, each once."""
    todo, seen = [package], {package}
    while todo:
        name = todo.pop()
        yield name
        for wanted in metadata.requires(name) or []:
            other = re.split(r"[^\w.-]", wanted, maxsplit=1)[0].lower()
            there = "extra ==" not in wanted and "sys_platform" not in wanted and "platform_system" not in wanted
            if there and other not in seen:
                seen.add(other)
                todo.append(other)


def distribution_size(name: str) -> int:
    """Return the bytes of an installed package; of one that is installed in place, those of its source."""
    import musicvae

    files = metadata.files(name) or []
    found = sum(size(Path(str(file.locate()))) for file in files)
    return found if name != "musicvae" else max(found, size(Path(musicvae.__file__).parent))


def size(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder; a link counts nothing."""
    if path.is_symlink():
        return 0
    if path.is_dir():
        return sum(size(entry) for entry in path.iterdir())
    return path.stat().st_size if path.exists() else 0
