"""What a model must know of a codec: a clip is integers, (bars, slots, fields)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Field", "Stream", "TokenSpec"]


@dataclass(frozen=True, slots=True)
class Field:
    """One integer of a slot."""

    name: str
    """What the integer says, e.g. `pitch`."""
    size: int
    """How many values it takes: 0 to size − 1."""
    binary: bool = False
    """Whether the value is a set, each bit of it a member; the encoder is then shown the bits."""
    amount: bool = False
    """Whether the value says how much, so that the middle of what is likely is a better guess than the likeliest."""

    @property
    def cells(self) -> int:
        """How many cells of a roll its values take in a slot: one each, or one for each member of a set."""
        return self.size.bit_length() - 1 if self.binary else self.size


@dataclass(frozen=True, slots=True)
class Stream:
    """Fields of a slot that one decoder predicts, in this order."""

    name: str
    """Name of the voice, e.g. `piano`."""
    fields: tuple[Field, ...]
    """Each is predicted from those before it in the same slot."""


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """What a model must know of a codec: a clip is (bars, slots, fields) integers."""

    slots: int
    """Slots a bar; the most there can be where `end` is set."""
    streams: tuple[Stream, ...]
    """The fields of a slot are those of all streams, one after another."""
    end: int | None = None
    """The value of the first field that closes a bar; None where every bar has exactly `slots`."""
    ordered: bool = False
    """Whether the slots of a bar ascend strictly by their first two fields."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Vocabulary size of every field of a slot."""
        return tuple(f.size for s in self.streams for f in s.fields)

    @property
    def cells(self) -> int:
        """How many cells of a roll a bar has: of ordered slots a position and pitch for each further field, and one."""
        fields = [f for s in self.streams for f in s.fields]
        if self.ordered:
            return (fields[0].size - 1) * fields[1].size * (len(fields) - 1)
        return self.slots * sum(f.cells for f in fields)
