"""musicvae train."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from musicvae.cli import options
from musicvae.config import Config, docs, override
from musicvae.errors import MissingExtraError
from musicvae.presets import PRESETS, preset

if TYPE_CHECKING:
    from musicvae.train.report import Event


def _settings_help() -> str:
    """List every setting with its text and the small preset's value."""
    lines = ["\b", "Settings for --set (values of piano-16bar):"]
    for section in fields(Config):
        part: Any = getattr(PRESETS["piano-16bar"], section.name)
        texts = docs(type(part))
        lines += [f"  {section.name}.{f.name} = {getattr(part, f.name)}\n      {texts[f.name]}" for f in fields(part)]
    return "\n".join(lines)


class _Command(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write(_settings_help().removeprefix("\b\n") + "\n")


@click.command(cls=_Command)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--preset",
    "name",
    default="piano-16bar",
    show_default=True,
    help="Settings to begin with; see `musicvae presets`.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option("--epochs", type=int, help="How long to train; the same as --set train.epochs=N.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one setting, e.g. train.lr=3e-4. Repeatable.",
)
@click.option(
    "--init",
    metavar="RUN|MODEL",
    help="Begin a new run with the weights of another run or of a model; the number of bars may differ.",
)
@click.option("--resume", is_flag=True, help="Continue the run in the folder, if there is one.")
@options.computing
@click.option(
    "--sample-every",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Write new clips every so many epochs (0: never).",
)
@click.option("--stop-after", type=click.IntRange(min=1), help="Save and stop after this many steps in all.")
def command(
    data: Path,
    name: str,
    out: Path,
    epochs: int | None,
    assignments: tuple[str, ...],
    init: str | None,
    resume: bool,
    device: str,
    precision: str,
    sample_every: int,
    stop_after: int | None,
) -> None:
    """Train a model on DATA, the folder that `musicvae prepare` wrote.

    Ctrl-C saves and stops; --resume goes on, with the run's own settings and what --set changes of them. Figures go to
    metrics.jsonl, new clips to samples/ in the run's folder.

    Several GPUs train one model under torchrun, a process each, on train.batch clips of every step each:
    torchrun --standalone --nproc-per-node 2 -m musicvae train DATA -o RUN. Several machines must all see both folders.
    """
    try:
        from musicvae.train.loop import train
        from musicvae.train.record import resumable, stored_config
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise MissingExtraError("Training", "train") from None
    config = stored_config(out) if resume and resumable(out) else preset(name)
    for assignment in (*assignments, *([f"train.epochs={epochs}"] if epochs is not None else [])):
        config = override(config, assignment)
    progress = _Progress()
    try:
        train(
            data,
            config,
            out,
            resume=resume,
            init=init,
            device=device,
            precision=precision,
            sample_every=sample_every,
            stop_after=stop_after,
            report=progress,
        )
    finally:
        progress.close()
    if not progress.ended:  # another process of torchrun reports
        return
    if progress.interrupted:
        click.echo(f"Go on with: musicvae train {data} -o {out} --resume", err=True)
        sys.exit(130)
    click.echo(f"Make a model of it with: musicvae export {out} -o my-model/", err=True)


class _Progress:
    """Shows a run's events: a bar in a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.ended = self.interrupted = False

    def __call__(self, event: Event) -> None:
        from musicvae.train.report import figures, line

        data = event.data
        if event.kind == "train":
            if self.bar is not None:
                self.bar.set_description(f"epoch {data['epoch']:.2f}")
                self.bar.set_postfix_str(figures(data))
                self.bar.update(data["step"] - self.bar.n)
            elif data["step"] % 100 == 0:
                self.write(line(event))
            return
        if event.kind == "end":
            self.ended, self.interrupted = True, data["interrupted"]
            self.close()
        self.write(line(event))
        if event.kind == "start" and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=data["steps"], initial=data["step"], unit="step", dynamic_ncols=True)

    def write(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            click.echo(line, err=True)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
