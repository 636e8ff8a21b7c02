"""musicvae listen, musicvae listen results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicvae.cli import options
from musicvae.config import TEMPERATURE

if TYPE_CHECKING:
    from musicvae.listen.design import Kind
    from musicvae.listen.make import Wanted

PORT = 8422
FOLDER = "listening"


@click.group(invoke_without_command=True)
@click.option(
    "-o",
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=FOLDER,
    show_default=True,
    help="Folder of the test: its clips, its plan, its answers. A test that is there goes on.",
)
@click.option(
    "--design",
    type=click.Choice(["human-or-machine", "pairs"]),
    default="human-or-machine",
    show_default=True,
    help="Single clips: human or machine? Or pairs: which is more musical?",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="A prepared data set, whose held-out songs are the human music."
)
@click.option(
    "--model",
    "models",
    metavar="NAME|FOLDER",
    multiple=True,
    help="A bundled model or a folder that `musicvae export` wrote. Repeatable. [default: the bundled one, unless "
    "--machine says otherwise]",
)
@click.option(
    "--human", "humans", metavar="[LABEL=]FOLDER", multiple=True, help="MIDI or WAV files made by people. Repeatable."
)
@click.option(
    "--machine",
    "machines",
    metavar="[LABEL=]FOLDER",
    multiple=True,
    help="MIDI or WAV files made by a machine. Repeatable.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=2),
    help="Clips, or pairs, that one listener hears; four clips of catch trials come on top. [default: about 20, or 12]",
)
@click.option("--clips", type=click.IntRange(min=1), help="Clips a source. [default: twice what one listener hears]")
@click.option("--bars", type=click.IntRange(1, 64), help="Length of all clips. [default: that of the models, or 16]")
@click.option(
    "--tempo",
    type=click.FloatRange(min=20, max=400),
    nargs=2,
    default=(100, 130),
    show_default=True,
    help="All sources have the same tempi, spread evenly from the first to the second.",
)
@click.option(
    "--velocity",
    type=click.Choice(["levels", "flat"]),
    default="levels",
    show_default=True,
    help="Loudness of notes: in the levels of the model's tokens, or all alike.",
)
@options.temperature(TEMPERATURE)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same clips.")
@click.option(
    "--soundfont",
    metavar="FILE",
    help="An .sf2 file to play with, or builtin. [default: as for `musicvae generate --wav`]",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets everybody in the network take part.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 takes one that is free."
)
@click.option("--only-make", is_flag=True, help="Make the test and stop.")
@click.pass_context
def command(context: click.Context, /, **settings: Any) -> None:
    """Run a listening test on a page: human or machine, or which is more musical.

    Without folders it compares held-out songs of --data with new clips of the bundled model. All clips are equally long
    and loud, with the same tempi and the same piano; the page never says whose they are. `musicvae listen results` says
    what the answers say. Ctrl-C ends the server; answers are kept, and the same command goes on.
    """
    if context.invoked_subcommand:
        return
    from musicvae.errors import MissingExtraError

    try:
        from musicvae.listen.app import create_app
        from musicvae.web.guard import hosts_of
        from musicvae.web.server import address, listen, network_address, serve
    except ModuleNotFoundError as error:
        raise MissingExtraError("The page", "web") from error

    folder, host = settings["folder"], settings["host"]
    _make_or_go_on(context, **settings)
    if settings["only_make"]:
        return
    app = create_app(folder, hosts=hosts_of(host))
    with listen(host, settings["port"]) as listening:
        here = address(listening)
        others = network_address(listening)

        def ready() -> None:
            click.echo(f"{here}  (Ctrl-C ends it; the answers are in {folder})")
            if others:
                click.echo(f"{others}  for everybody in the network")
            click.echo(f"results: musicvae listen results {folder}", err=True)

        serve(app, listening, ready)


def _make_or_go_on(context: click.Context, **settings: Any) -> None:
    from musicvae.errors import ConfigError
    from musicvae.listen.design import Test
    from musicvae.listen.make import TEST, Settings, make

    folder: Path = settings["folder"]
    if (folder / TEST).exists():
        given = [
            parameter.opts[-1]
            for parameter in context.command.params
            if parameter.name not in ("folder", "host", "port", "only_make")
            and context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        ]
        if given:
            raise ConfigError(
                f"{folder}: has a test already, which {', '.join(given)} cannot change. "
                "Leave these out to go on with it, or make another in another folder with -o"
            )
        test = Test.load(folder / TEST)
        click.echo(f"{folder}: going on with a test of {' and '.join(s.label for s in test.sources)}", err=True)
        return
    slow, fast = settings["tempo"]
    if slow > fast:
        raise click.BadParameter(f"from {slow:g} to {fast:g}; wanted the slower one first", param_hint="--tempo")
    wanted = _wanted(settings)
    names = ("design", "trials", "clips", "bars", "tempo", "velocity", "temperature", "seed", "soundfont")
    chosen = Settings(**{name: settings[name] for name in names})
    test = make(folder, wanted, chosen, options.progress("making clips"))
    click.echo(
        f"{folder}: {len(test.clips)} clips of {test.seconds:.0f} s of {' and '.join(s.label for s in test.sources)}, "
        f"{test.trials} trials a listener, {test.places} orders",
        err=True,
    )


def _wanted(settings: dict[str, Any]) -> list[Wanted]:
    """Return the sources that the options name, opened."""
    from musicvae.data.dataset import Dataset
    from musicvae.listen.make import Wanted
    from musicvae.runtime.engine import load

    data, models = settings["data"], settings["models"]
    if data is None and not settings["humans"] and settings["design"] == "human-or-machine":
        raise click.UsageError(
            "whose music is the human one? Name a prepared data set with --data, or a folder with --human"
        )
    if not models and not settings["machines"]:
        models = (None,)
    found: list[Wanted] = []
    if data is not None:
        found.append(Wanted("held-out songs", "human", Dataset(data)))
    found += [_folder(text, "human") for text in settings["humans"]]
    for model in models:
        opened = load(model)
        found.append(Wanted(opened.bundle.name, "machine", opened))
    found += [_folder(text, "machine") for text in settings["machines"]]
    return found


def _folder(text: str, kind: Kind) -> Wanted:
    from musicvae.listen.make import Wanted

    label, named, folder = text.partition("=")
    if named and not Path(text).exists():
        return Wanted(label, kind, Path(folder))
    return Wanted(Path(text).resolve().name, kind, Path(text))


@command.command("results")
@click.argument("folder", type=click.Path(path_type=Path), default=FOLDER)
@click.option("--all", "everybody", is_flag=True, help="Count listeners who failed a catch trial, too.")
@click.option(
    "--difference",
    "differences",
    type=click.FloatRange(0.01, 0.5),
    multiple=True,
    help="A distance from 50 %, such as 0.1, of which to say how many listeners it needs. Repeatable.",
)
@click.option("--csv", "table", type=click.Path(path_type=Path), help="Write one line an answer to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on standard output.")
def results(folder: Path, everybody: bool, differences: tuple[float, ...], table: Path | None, as_json: bool) -> None:
    """Say what the answers of the test in FOLDER say. It may still be going on.

    Listeners with a wrong answer in a catch trial (noise, or a tune that everybody knows) are left out; catch trials
    and practice are not counted.
    """
    from musicvae.errors import DataError, MissingExtraError

    try:
        from musicvae.listen.analyse import DIFFERENCES, analyse, rows_of
    except ModuleNotFoundError as error:
        raise MissingExtraError("The analysis", "eval") from error
    from musicvae.listen.design import Test
    from musicvae.listen.make import ANSWERS, TEST
    from musicvae.listen.report import told, write_csv
    from musicvae.listen.store import Store

    test = Test.load(folder / TEST)
    if not (folder / ANSWERS).exists():
        raise DataError(f"{folder}: nobody has been there yet. Start the test: musicvae listen -o {folder}")
    store = Store(folder / ANSWERS, read_only=True)
    rows = rows_of(test, *store.read())
    store.close()
    figures = analyse(test, rows, everybody=everybody, differences=differences or DIFFERENCES)
    if table is not None:
        write_csv(table, test, rows)
        click.echo(f"{table}: {len(rows)} answers", err=True)
    if as_json:
        json.dump(figures, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        click.echo("\n".join(told(figures)))
