"""What every verb shares: its options, and a result as a table and as JSON."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Row = dict[str, Any]
"""Figures of one measurement; `name` says what was measured and is the same in every run."""


class Column(NamedTuple):
    """A column of a table."""

    key: str
    """The figure of a row."""
    title: str
    """What stands above it, with the unit."""
    form: str = ".3g"
    """Its format; numbers of a thousand and more are shown whole."""


def shared(command: F) -> F:
    """Add --json, --threads and --quick."""
    for option in (
        click.option("--quick", is_flag=True, help="Toy sizes, once: to see that it runs. The figures mean nothing."),
        click.option("--threads", type=click.IntRange(1), help="Threads of everything. [default: what the user gets]"),
        click.option("--json", "json_path", metavar="FILE", help="Write the result as JSON; `-` prints it instead."),
    ):
        command = option(command)
    return command


def show(
    verb: str,
    machine: Row,
    rows: Sequence[Row],
    tables: Sequence[tuple[Sequence[Row], Sequence[Column]]],
    *,
    json_path: str | None,
    notes: Sequence[str] = (),
) -> None:
    """Print a result as tables, and write or print it as JSON.

    `machine` is what `benchmarks.machine` found; `rows` go into the JSON, `tables` are printed, `notes` below them.
    """
    begun, cores = machine["load"][0], machine["cores"]
    if begun > cores:
        notes = [*notes, f"Others were at work when this began (load {begun:.1f}, {cores} cores): figures are too low."]
    known = [{key: None if _is_nan(value) else value for key, value in row.items()} for row in rows]
    result = {"verb": verb, "machine": machine, "rows": known, "notes": list(notes)}
    text = json.dumps(result, indent=1, default=float) + "\n"
    if json_path == "-":
        click.echo(text, nl=False)
        return
    click.echo("\n\n".join([heading(machine), *(table(*one) for one in tables), *notes]))
    if json_path:
        Path(json_path).write_text(text, encoding="utf-8")


def heading(machine: Row) -> str:
    """Return a line that says where and how it was measured."""
    versions = " ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = " → ".join(f"{one:.2f}" for one in machine["load"])
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads; load {load}; {versions}"


def table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Return rows as a table in Markdown; a figure that a row lacks stays empty, a column that all lack is left out."""
    columns = [c for c in columns if any(row.get(c.key) is not None for row in rows)]
    cells = [[c.title for c in columns], *([cell(row.get(c.key), c.form) for c in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    right = [all(not isinstance(row.get(c.key), str) for row in rows) for c in columns]
    lines = [
        "| " + " | ".join(x.rjust(w) if r else x.ljust(w) for x, w, r in zip(line, widths, right, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def cell(value: Any, form: str) -> str:
    """Return a figure as text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:{form}}"


def _is_nan(value: Any) -> bool:
    """Tell what JSON has no word for."""
    return isinstance(value, SupportsFloat) and math.isnan(value)


class Timing(NamedTuple):
    """How long something took, each time."""

    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        """The shortest."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)


def timed(work: Callable[[], object], *, seconds: float, least: int = 3, most: int = 50) -> Timing:
    """Do something again and again for some seconds, at least `least` and at most `most` times.

    It is not done once before: let the caller warm up what is to be warm.
    """
    found: list[float] = []
    while len(found) < least or (sum(found) < seconds and len(found) < most):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return Timing(tuple(found))
