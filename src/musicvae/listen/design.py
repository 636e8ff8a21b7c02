"""Who hears what, in which order: the two designs and the test that is made of one of them.

Items are clips (*human or machine?*) or pairs of clips of two sources (*which is more musical?*). They lie in sets of
as many as a listener hears. The orders of a set are the rows of a balanced Latin square: after all of them, each item
has been heard at each place and after each other item equally often. Catch trials, whose answer is plain, come between.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from musicvae.errors import ConfigError, DataError

__all__ = [
    "DESIGNS",
    "EXPERIENCE",
    "FORMAT",
    "Clip",
    "Design",
    "Item",
    "Kind",
    "Source",
    "Test",
    "Trial",
    "plan",
    "rounds",
    "williams",
]

FORMAT = 1
"""Version of test.json."""

Kind = Literal["human", "machine"]

EXPERIENCE = (
    "Nonmusician",
    "Music-loving nonmusician",
    "Amateur musician",
    "Serious amateur musician",
    "Semiprofessional musician",
    "Professional musician",
)
"""The one thing that listeners are asked of themselves (Zhang & Schubert 2019, a single item on musical experience)."""


class Design(NamedTuple):
    """A kind of listening test."""

    clips: int
    """Clips of a trial."""
    question: str
    choices: tuple[tuple[int, str], ...]
    """Value and text of each answer."""
    about: tuple[str, ...]
    """What a listener is told before."""


_ALIKE = (
    "All clips are played by the same synthetic piano, are equally long and equally loud. Headphones help.",
    "There are no marks and no solution: your first impression is right.",
)

DESIGNS = {
    "human-or-machine": Design(
        1,
        "Was this music made by a human or by a machine?",
        ((1, "By a human"), (0, "By a machine")),
        ("You hear short clips of music. Some were made by people, some by a computer program.", *_ALIKE),
    ),
    "pairs": Design(
        2,
        "Which of the two is more musical?",
        (
            (-2, "The first, clearly"),
            (-1, "The first, slightly"),
            (0, "Both alike"),
            (1, "The second, slightly"),
            (2, "The second, clearly"),
        ),
        ("You hear short clips of music, two at a time, and say which one is more musical to you.", *_ALIKE),
    ),
}
"""The designs by name. Values of *pairs* count how far the second clip is preferred (paper, section 6.5)."""


class Source(NamedTuple):
    """Where clips come from. Browsers never learn of it."""

    label: str
    kind: Kind
    of: str
    """For people: the model or the folder."""


class Clip(NamedTuple):
    """A clip that can be heard."""

    token: str
    """The random name under which browsers ask for it."""
    source: int
    """Index into the sources; −1 for those made for catch trials."""
    what: str
    """For people: the song, the seed or the file."""
    tempo: float
    """Quarter notes a minute; 0 for audio files."""


class Item(NamedTuple):
    """What one trial asks about."""

    clips: tuple[int, ...]
    """One clip, or two: indices into the clips of the test."""
    turn: int = 0
    """Whether a listener hears a pair the other way round changes with this number and with the listener's row."""


class Trial(NamedTuple):
    """One question to one listener."""

    item: Item
    clips: tuple[int, ...]
    """As they are heard."""
    catch: int | None
    """In a catch trial, the sign of the right answer: of 2·vote − 1, or of the preference for the clip heard second."""

    @property
    def turned(self) -> bool:
        """Whether the pair is heard the other way round."""
        return self.clips != self.item.clips


def williams(n: int) -> list[list[int]]:
    """Return orders of n things, each at each place, and each just after each other, equally often (Williams 1949).

    n orders for an even n; for an odd one 2n, those of the square and the same backwards.
    """
    first = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]  # 0 1 n−1 2 n−2 …
    rows = [[(x + shift) % n for x in first] for shift in range(n)]
    return rows + [row[::-1] for row in rows] if n % 2 else rows


def rounds(design: str, sources: int, index: int) -> int:
    """Return the number of the round in which clip `index` of a source comes: those of one round share their tempo."""
    return index // (sources - 1) if design == "pairs" else index


def plan(design: str, sources: int, clips: int, trials: int, rng: np.random.Generator) -> list[list[Item]]:
    """Return the sets of items of a test with `clips` of each source; clip c of source s is (s · clips + c).

    Each set has `trials` items, the sources, or pairs of sources, equally often, and each clip is in one item. Raises
    ConfigError where the numbers do not fit together.
    """
    if sources < 2:
        raise ConfigError(f"a test needs two sources or more; got {sources}. Name folders with --human and --machine")
    groups = list(itertools.combinations(range(sources), 2)) if design == "pairs" else [(s,) for s in range(sources)]
    if trials < len(groups) or trials % len(groups):
        near = max(round(trials / len(groups)), 1) * len(groups)
        raise ConfigError(
            f"{trials} trials cannot be shared equally among {len(groups)} {'pairs of ' * (design == 'pairs')}sources. "
            f"Try --trials {near}"
        )
    each = trials // len(groups) * sum(0 in group for group in groups)  # clips of a source in one set
    if clips < each or clips % each:
        near = max(round(clips / each), 1) * each
        raise ConfigError(f"{clips} clips a source cannot be shared out in sets of {each}. Try --clips {near}")
    used = [itertools.count(s * clips) for s in range(sources)]
    sets = []
    for _ in range(clips // each):
        items = [
            Item(tuple(next(used[s]) for s in group), turn) for turn in range(trials // len(groups)) for group in groups
        ]
        sets.append([items[i] for i in rng.permutation(trials)])
    return sets


@dataclass(frozen=True, slots=True)
class Test:
    """A listening test: what test.json holds."""

    design: str
    sources: tuple[Source, ...]
    clips: tuple[Clip, ...]
    sets: tuple[tuple[Item, ...], ...]
    catches: tuple[Item, ...]
    """In *human or machine?* clips of noise and tunes in turn, noise first; in *pairs* noise first, then a tune."""
    practice: Item
    seconds: float
    """Length of every clip."""
    seed: int
    """Of the orders in which clips are heard; no listener may know it."""
    settings: dict[str, Any]
    """For people: how the clips were made."""

    @property
    def places(self) -> int:
        """How many different orders there are."""
        return len(self.sets) * len(williams(len(self.sets[0])))

    @property
    def trials(self) -> int:
        """Trials of a listener, catch trials included, practice not."""
        return len(self.sets[0]) + len(self.catches)

    def session(self, place: int) -> list[Trial]:
        """Return what the listener at a place hears: trial 0 is for practice."""
        row, number = divmod(place, len(self.sets))
        items = self.sets[number]
        order = williams(len(items))
        row %= len(order)
        trials = [_trial(items[i], row) for i in order[row]]
        rng = np.random.default_rng([self.seed, place])
        catches = [self.catches[i] for i in rng.permutation(len(self.catches))]
        step = len(trials) / max(len(catches), 1)
        for i, item in reversed(list(enumerate(catches))):  # one in each stretch of the test, never the first trial
            start, stop = int(i * step), int((i + 1) * step)
            at = max(int(rng.integers(start, max(stop, start + 1))), 1)
            trials.insert(at, _trial(item, row, self._right(item)))
        return [_trial(self.practice, row), *trials]

    def _right(self, item: Item) -> int:
        """Return the sign of the right answer to a catch item that is not turned."""
        return 1 if len(item.clips) == 2 or self.catches.index(item) % 2 else -1

    # ------------------------------------------------------------------------------------------------ the file
    def save(self, path: Path) -> None:
        """Write test.json, whole or not at all."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1), encoding="utf-8")
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> Test:
        """Read test.json; raises DataError where it is absent, damaged or of another version."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{path.parent}: has no listening test. Make one: musicvae listen --data DATA -o {path.parent}"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error}). Make the test anew in another folder") from None
        try:
            if content.pop("format") != FORMAT:
                raise DataError(f"{path}: was written by another version. Make the test anew in another folder")
            test = cls(
                **content
                | {
                    "sources": tuple(Source(*row) for row in content["sources"]),
                    "clips": tuple(Clip(*row) for row in content["clips"]),
                    "sets": tuple(tuple(map(_item, items)) for items in content["sets"]),
                    "catches": tuple(map(_item, content["catches"])),
                    "practice": _item(content["practice"]),
                }
            )
            for place in range(test.places):
                for trial in test.session(place):
                    _ = [test.clips[i] for i in trial.clips], DESIGNS[test.design]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}: is damaged ({type(error).__name__}). Make the test anew in another folder"
            ) from None
        return test


def _trial(item: Item, row: int, right: int | None = None) -> Trial:
    if len(item.clips) == 2 and (row + item.turn) % 2:
        return Trial(item, item.clips[::-1], None if right is None else -right)
    return Trial(item, item.clips, right)


def _item(row: Sequence[Any]) -> Item:
    clips, turn = row
    return Item(tuple(clips), turn)
