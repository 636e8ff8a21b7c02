"""The way past the LSTMs: what stands in each bar, straight into the latent vector and straight out of it.

A bar is also one long vector, its *cells*. Where slots are notes in order (piano) a cell is a key at a step, one for
the onset and one for each further field; else a cell is a value of a field in a slot. Linear maps lead from the cells
of all bars to the mean of the posterior and from z to the logits of the cells; training begins with the principal
components of the music in them, and the LSTMs learn what is missing.

Axes: B clips, U bars, S slots a bar, F fields of a slot, N bars of all clips, G cells of a bar, n rows, M slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicvae.tokens import Field, TokenSpec

__all__ = ["Cells", "NoteHints", "SlotHints", "Tables"]

_SLOPE, _LEVEL = 12.0, 5.0
"""The first logit of a cell is _SLOPE · cell − _LEVEL: the cells that principal components give back as more than some
0.4 are more likely than not."""


class Cells(nn.Module):
    """Tokens as cells. Has nothing that is learned, but how durations and velocities are scaled.

    A cell of these is 0 where no note begins and where the note is an average one, so that it says what the onset does
    not say.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: TokenSpec) -> None:
        super().__init__()
        self.ordered, self.slots = spec.ordered, spec.slots
        self.fields = tuple(f for s in spec.streams for f in s.fields)
        self.keys = (self.fields[0].size - 1) * self.fields[1].size if self.ordered else 0
        self.widths = [sum(field.cells for field in stream.fields) for stream in spec.streams]
        if self.ordered:
            further = len(self.fields) - 2
            self.register_buffer("mean", torch.full((further,), 0.5))
            self.register_buffer("deviation", torch.full((further,), 0.25))

    def values(self, tokens: Tensor) -> Tensor:
        """Return how long and how loud notes (…, F) are, on a logarithmic scale from 0 to 1 (…, F − 2)."""
        most = torch.tensor([math.log(field.size) for field in self.fields[2:]], device=tokens.device)
        return torch.log1p(tokens[..., 2:].float()) / most

    def measure(self, notes: Tensor, weights: Sequence[float]) -> None:
        """Take the mean and deviation of notes (n, F); the cells of these have the deviations `weights` (F − 2)."""
        values = self.values(notes)
        self.mean.copy_(values.mean(dim=0))
        wanted = torch.tensor(weights, device=values.device)
        self.deviation.copy_(values.std(dim=0, correction=0).clamp(min=0.01) / wanted)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Tokens (B, U, S, F) and lengths (B, U), end marks included, on one device → (B, U, G)."""
        if not self.ordered:
            values = [_cells_of(f, tokens[..., i]) for i, f in enumerate(self.fields)]
            return torch.cat(values, dim=-1).flatten(2)
        B, U, S, F = tokens.shape
        note = torch.arange(S, device=tokens.device) < lengths[..., None] - 1  # (B, U, S)
        note = note & (tokens[..., 0] < self.fields[0].size - 1)
        key = torch.where(note, tokens[..., 0] * self.fields[1].size + tokens[..., 1], self.keys)  # marks: one more
        further = (self.values(tokens) - self.mean) / self.deviation
        planes = torch.cat([torch.ones_like(further[..., :1]), further], dim=-1).transpose(2, 3)  # (B, U, F − 1, S)
        grid = torch.zeros(B, U, F - 1, self.keys + 1, device=tokens.device)
        grid = grid.scatter(3, key[:, :, None].expand(-1, -1, F - 1, -1), planes)
        return grid[..., :-1].flatten(2)

    def of_streams(self, cells: Tensor) -> list[Tensor]:
        """Return the cells of each stream (n, ·), of those of all (n, G)."""
        if self.ordered:
            return [cells]
        slots = cells.reshape(-1, self.slots, sum(self.widths))
        return [part.flatten(1) for part in torch.split(slots, self.widths, dim=-1)]


class Tables(NamedTuple):
    """What hints are looked up in: numbers of each row, which may lie among others.

    They stay where they are: to copy them out of their rows for every slot took a third of a step.
    """

    rows: Tensor
    """(n, ·)"""
    begin: int = 0
    """The column that they begin at."""

    def take(self, row: Tensor, column: Tensor) -> Tensor:
        """Return the numbers (M,) at columns (M,) of rows (M,)."""
        return self.rows[row, self.begin + column]

    def part(self, column: int, width: int) -> Tensor:
        """Return so many numbers of each row, from a column on (n, width)."""
        return self.rows[:, self.begin + column : self.begin + column + width]


class SlotHints(nn.Module):
    """Logits of tokens from their cells, where a cell is a value of a field in a slot."""

    def __init__(self, fields: Sequence[Field], slots: int) -> None:
        super().__init__()
        self.fields, self.slots = tuple(fields), slots
        self.width = slots * sum(field.cells for field in fields)
        """How many numbers `tables` gives a row."""
        self.slope = nn.Parameter(torch.tensor(_SLOPE / 2))

    def tables(self, cells: Tensor) -> Tables:
        """(n, ·) → (n, width)."""
        return Tables(self.slope * cells.float())

    def logits(self, field: int, tables: Tables, row: Tensor, number: Tensor, slot: Tensor, before: Tensor) -> Tensor:
        """Return what is added to the logits of a field: row, number (M,) of each slot within its row → (M, V)."""
        begin = sum(f.cells for f in self.fields[:field])
        here = tables.part(0, self.width).reshape(-1, self.slots, self.width // self.slots)[row, number]  # (M, ·)
        here = here[:, begin : begin + self.fields[field].cells]
        if not self.fields[field].binary:
            return here
        bits = self.fields[field].cells
        members = _members(torch.arange(self.fields[field].size, device=here.device), bits)
        return (2 * here[:, :bits] - self.slope) @ members.t()  # of independent members

    def within(self, field: int, tables: Tables, row: Tensor, slot: Tensor) -> Tensor | float:
        """Return what is added to the field's small network: nothing."""
        return 0.0


class NoteHints(nn.Module):
    """Logits of notes in order from their cells.

    If each key at each step began independently with the probability of its cell, these would be the logits of the next
    position and of its lowest key that is left: the likelihood of a piano roll, note by note. What the decoder learns
    comes on top. Durations and velocities are hinted at by one number each, which their small networks see.
    """

    def __init__(self, fields: Sequence[Field], width: int) -> None:
        """`width` is that of the small networks of the fields."""
        super().__init__()
        self.steps, self.pitches = fields[0].size - 1, fields[1].size
        self.keys, self.further = self.steps * self.pitches, len(fields) - 2
        self.width = self.steps + 1 + (2 + self.further) * self.keys
        """How many numbers `tables` gives a row."""
        self.slope, self.level = nn.Parameter(torch.tensor(_SLOPE)), nn.Parameter(torch.tensor(_LEVEL))
        self.hint = nn.Parameter(2 * torch.randn(self.further, width))

    def tables(self, cells: Tensor) -> Tables:
        """(n, G) → (n, width): logits of the next position, of one more note at it, of its pitch; hints of the rest."""
        cells = cells.float()
        onset = (self.slope * cells[:, : self.keys] - self.level).reshape(-1, self.steps, self.pitches)
        rate = functional.softplus(onset)  # −log P(the key does not begin)
        above = rate.flip(2).cumsum(dim=2).flip(2)  # of this key and all above it
        higher = functional.pad(above[..., 1:], (0, 1))  # of all above it
        step = above[..., 0]
        later = functional.pad(step.flip(1).cumsum(dim=1).flip(1)[:, 1:], (0, 1))  # of all steps behind it
        position = functional.pad(_log_odds(step) + later, (0, 1))  # the end mark: 0
        again = _log_odds(higher) + later[..., None]
        return Tables(
            torch.cat([position, again.flatten(1), (onset + higher).flatten(1), cells[:, self.keys :]], dim=1)
        )

    def logits(
        self, field: int, tables: Tables, row: Tensor, number: Tensor, slot: Tensor, before: Tensor
    ) -> Tensor | float:
        """Return what is added to the logits of a field (M, V); nothing for duration and velocity.

        row (M,) of `tables`, slot (M, ≥ field) this slot's fields so far, before (M, F) the slot before.
        """
        if field > 1:
            return 0.0
        again = self.steps + 1  # behind the logits of the position those of one more note, then those of its pitch
        if field == 1:
            at = slot[:, 0].clamp(max=self.steps - 1)
            return tables.part(again + self.keys, self.keys).reshape(-1, self.steps, self.pitches)[row, at]
        begun = before[:, 0] < self.steps  # else it is the first of its bar
        at, key = torch.where(begun, before[:, 0], 0), torch.where(begun, before[:, 1], 0)
        here = (torch.arange(self.steps + 1, device=at.device) == at[:, None]) & begun[:, None]
        one_more = tables.take(row, again + at * self.pitches + key)
        return torch.where(here, one_more[:, None], tables.part(0, again)[row])

    def within(self, field: int, tables: Tables, row: Tensor, slot: Tensor) -> Tensor | float:
        """Return what is added to the field's small network (M, its width)."""
        if field < 2:
            return 0.0
        key = slot[:, 0].clamp(max=self.steps - 1) * self.pitches + slot[:, 1]
        return tables.take(row, self.steps + 1 + field * self.keys + key)[:, None] * self.hint[field - 2]


def _log_odds(rate: Tensor) -> Tensor:
    """Return log P(any) − log P(none) = log(exp(rate) − 1), where P(none) = exp(−rate)."""
    rate = rate.clamp(min=1e-4)
    return torch.log(torch.tanh(rate / 2)) + functional.softplus(rate)  # exact near 0, and ONNX has no expm1


def _cells_of(field: Field, values: Tensor) -> Tensor:
    """(…) → (…, cells): one-hot, or the members of a set."""
    if field.binary:
        return _members(values, field.cells)
    return functional.one_hot(values, field.size).float()


def _members(values: Tensor, bits: int) -> Tensor:
    places = 2 ** torch.arange(bits, device=values.device)
    return (torch.div(values[..., None], places, rounding_mode="floor") % 2).float()
