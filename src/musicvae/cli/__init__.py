"""The command line: one file a verb.

A verb's module is imported only when it is used, so that `musicvae --help` stays fast; its name and one line of help
stand here.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys

import click

from musicvae.errors import MusicVAEError

__all__ = ["main"]

VERBS = {
    "generate": "New clips from nothing.",
    "reconstruct": "Your music, through the model and back.",
    "interpolate": "A path from one piece to another.",
    "vary": "Variations of a piece.",
    "play": "A page to hear, walk and bend what models make.",
    "listen": "A listening test on a page: human or machine?",
    "prepare": "Turn folders of MIDI or LPD files into a data set.",
    "card": "Say what is in a data set.",
    "train": "Train a model on a data set.",
    "export": "Turn a training run into a model folder.",
    "evaluate": "Score a model on songs that it never saw.",
    "compare": "Compare generated clips with real ones.",
    "report": "Show on one page what a model makes, in pictures and figures.",
    "novelty": "Say how much of new clips stands in training songs.",
    "attributes": "Find a model's vectors of density, register and more.",
    "prior": "Fit a model's prior to music, so that new clips are more like it.",
    "import-checkpoint": "Turn a published MusicVAE checkpoint into a model folder.",
    "presets": "List the settings that have a name.",
}


class _Verbs(click.Group):
    """Imports a verb's module when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"musicvae.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = difflib.get_close_matches(args[0], VERBS, n=1)
        if args[0] not in VERBS and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="musicvae")
def musicvae() -> None:
    """MusicVAE: new music from a latent space that you can walk through."""


def main() -> None:
    """Run the command line: exit code 0, 1 for an error (one line, no traceback), 2 for wrong usage, 130 for Ctrl-C."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `musicvae … | head` ends quietly
    try:
        sys.exit(musicvae(standalone_mode=False))
    except MusicVAEError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
