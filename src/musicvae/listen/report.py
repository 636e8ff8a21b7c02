"""The results in words, and the answers as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicvae.errors import MusicVAEError
from musicvae.listen.analyse import BRIEF, Row
from musicvae.listen.design import EXPERIENCE, Test

__all__ = ["told", "write_csv"]


def told(figures: Mapping[str, Any]) -> list[str]:
    """Return lines for people."""
    who = figures["listeners"]
    left = who["answered"] - who["used"]
    lines = [
        f"{figures['question']} {figures['answers']} answers of {who['used']} listeners "
        f"({who['answered']} answered, {who['finished']} to the end; {who['failed_catch']} failed a catch trial"
        + (f", {left} left out)" if left else ")"),
        "musical experience: " + (", ".join(f"{n} {text}" for text, n in who["experience"].items() if n) or "–"),
        "",
    ]
    lines += _votes(figures) if figures["design"] == "human-or-machine" else _pairs(figures)
    agreement, power = figures["agreement"], figures["power"]
    found = "cannot be told yet" if agreement["alpha"] is None else f"{agreement['alpha']:.3f}"
    lines += ["", f"agreement between listeners: {found} ({agreement['measure']}; 1: full, 0: as by chance)"]
    how = f"level {power['level']:.0%}, power {power['power']:.0%}, {power['votes_a_listener']:g} votes each"
    how += f", design effect {power['design_effect']:.2f}"
    lines.append(f"listeners needed to tell a share from 50 % (two-sided, {how}):")
    lines += [
        f"  {row['difference']:.0%} away: "
        + ("more than can be asked" if row["votes"] is None else f"{row['listeners']} ({row['votes']} votes)")
        for row in power["needed"]
    ]
    return lines


def _votes(figures: Mapping[str, Any]) -> list[str]:
    rows = [["votes “human”", "share", "95 % exact", "95 % over listeners", "p, 50 %", f"p, > {BRIEF:.0%}"]]
    names = [""]
    for row in figures["shares"]:
        names.append(f"{row['source']} ({row['kind']})")
        rows.append(_share(row))
    names.append("all machines")
    rows.append(_share(figures["generated_taken_for_human"]))
    ability = figures["ability"]
    lines = _table([[name, *row] for name, row in zip(names, rows, strict=True)])
    if ability["d_prime"] is not None:
        d_prime = f"d′ {ability['d_prime']:.2f}{_interval(ability.get('d_prime_95'))}"
        c = f"c {ability['c']:.2f}{_interval(ability.get('c_95'))}"
        meaning = "d′ 0: cannot tell; c > 0: rather says machine"
        lines += ["", f"right answers: {ability['right']:.1%}; {d_prime}, {c} ({meaning})"]
    groups = figures["by_experience"]
    if len(groups) > 1:
        lines += ["generated clips taken for human, by experience: "]
        lines[-1] += ", ".join(f"{text} {row['human']}/{row['votes']}" for text, row in groups.items())
    return lines


def _share(row: Mapping[str, Any]) -> list[str]:
    if row["share"] is None:
        return ["0/0", "–", "–", "–", "–", "–"]
    over = row["over_listeners_95"]
    return [
        f"{row['human']}/{row['votes']}",
        f"{row['share']:.1%}",
        "{:.1%}–{:.1%}".format(*row["exact_95"]),
        "–" if over is None else "{:.1%}–{:.1%}".format(*over),
        _p(row["p_half"]),
        _p(row["p_more_than_brief"]),
    ]


def _pairs(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{row['source']}: {row['ratings']} ratings"
        + ("" if row["mean"] is None else f", mean {row['mean']:+.2f} (−2 to 2)")
        for row in figures["scores"]
    ]
    whole = figures["kruskal_wallis"]
    if whole:
        lines.append(f"Kruskal–Wallis: H({whole['df']}) = {whole['h']:.2f}, p {_p(whole['p'])}")
    rows = [["", "preferred : not : alike", "share", "95 % exact", "signed-rank p", "rank-sum p"]]
    for row in figures["pairs"]:
        wins, losses = row["second_preferred"], row["first_preferred"]
        rows.append(
            [
                f"{row['second']} over {row['first']}",
                f"{wins} : {losses} : {row['ratings'] - wins - losses}",
                "–" if row["share"] is None else f"{row['share']:.1%}",
                "–" if row["share"] is None else "{:.1%}–{:.1%}".format(*row["exact_95"]),
                _p(row["signed_rank_p"]),
                _p(row["rank_sum_p"]),
            ]
        )
    return [*lines, "", *_table(rows), "p with Bonferroni's correction; shares without those that are alike"]


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f})"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as a Markdown table; the first is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def write_csv(path: Path, test: Test, rows: Sequence[Row]) -> None:
    """Write one line an answer, catch trials included; raises MusicVAEError where that is not possible."""
    pair = test.design == "pairs"
    clips = ("a", "b") if pair else ("",)
    head = ["listener", "experience", "trial", "catch", *(f"{what}{c and '_' + c}" for c in clips for what in _OF_CLIP)]
    head += ["heard_first", "preference_for_b"] if pair else ["kind", "human"]
    head += ["catch_right"]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            for row in rows:
                line: list[Any] = [row.listener, EXPERIENCE[row.experience], row.trial, int(row.right is not None)]
                for clip, source in zip(row.clips, row.sources, strict=True):
                    line += [test.sources[source].label if source >= 0 else "catch", clip, test.clips[clip].what]
                if pair:
                    line += [clips[row.clips.index(row.first)], row.answer]
                else:
                    line += [test.sources[row.sources[0]].kind if row.sources[0] >= 0 else "", row.answer]
                writer.writerow([*line, "" if row.right is None else int(row.right)])
    except OSError as error:
        raise MusicVAEError(f"{path}: cannot be written ({error.strerror}). Choose another place with --csv") from None


_OF_CLIP = ("source", "clip", "what")
