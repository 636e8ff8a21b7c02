"""The command line of the benchmarks: one file a verb."""

from __future__ import annotations

import importlib
import sys

import click

from musicvae.errors import MusicVAEError

VERBS = {
    "machine": "What this machine can do: matrix products, memory, versions.",
    "start": "From typing `musicvae generate` to the file; what an installation takes.",
    "generate": "Clips from a model in memory.",
    "encode": "Music into latent vectors.",
    "train": "Updates of a training run.",
    "prepare": "Files into a data set.",
    "serve": "Many users of the page at once.",
    "compare": "Ratios between earlier runs, and to the published implementation.",
}


class _Verbs(click.Group):
    """Imports a verb's module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"benchmarks.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def benchmarks() -> None:
    """Measure musicvae on this machine, each figure beside the limit that it runs against."""


if __name__ == "__main__":
    try:
        sys.exit(benchmarks(prog_name="python -m benchmarks", standalone_mode=False))
    except MusicVAEError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
