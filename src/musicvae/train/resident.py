"""The clips of a run on its device, where batches are gathered."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from musicvae.config import TrainConfig
from musicvae.data.clips import Clips, Plan
from musicvae.train.device import to_device

__all__ = ["Resident", "StepBatch"]


class StepBatch(NamedTuple):
    """What a process trains on in a step: B clips of the whole batch, which has those of all processes."""

    tokens: Tensor
    """(B, U, S, F) on the device; S as long as the fullest bar of the whole batch needs."""
    lengths: Tensor
    """(B, U) slots of each bar, its end mark included; on the CPU."""
    all_lengths: Tensor
    """(W, U) the same of the whole batch; on the CPU."""
    first: int
    """Which clip of the whole batch the first one is."""


class Resident:
    """All clips of a split on a device. Draws there what `Clips.draw` draws with numpy, to the last token.

    Which clips a step has and how long their bars are is looked up on the CPU, so that nobody waits for the device.
    """

    def __init__(self, clips: Clips, device: torch.device) -> None:
        self.clips, self.device = clips, device
        mark = np.zeros(int(clips.windows.max(initial=0)) + clips.bars, np.bool_)
        for bar in range(clips.bars):
            mark[clips.windows + bar] = True
        used = np.flatnonzero(mark)
        table = clips.table(used)
        self.tokens = torch.from_numpy(table.tokens).to(device)
        self.table = table._replace(tokens=table.tokens[:0])  # the rest stays where batches are planned
        self.windows = np.searchsorted(used, clips.windows)  # among the bars of the table
        self.numbers = torch.arange(max(clips.bars, int(table.lengths.max(initial=1))), device=device)

    def draw(self, settings: TrainConfig, step: int, rank: int = 0, ranks: int = 1) -> StepBatch:
        """Return the clips of a step for process `rank` of `ranks`, each of which has `settings.batch` of them."""
        seed, size = settings.seed, settings.batch * ranks
        transpose = settings.transpose_down, settings.transpose_up
        bars = self.clips.bars_of(self.windows[self.clips.chosen(seed, step, size)])
        plan = self.clips.plan(self.table, bars, self.clips.shifts(seed, step, size, transpose), transpose)
        first = rank * settings.batch
        rows, lengths, semitones = (torch.from_numpy(part[first : first + settings.batch]) for part in plan[:3])
        rows, counts, semitones = (to_device(part, self.device) for part in (rows, lengths, semitones))
        tokens = self.clips.lay_out(torch, self.tokens, Plan(rows, counts, semitones, plan.slots), self.numbers)
        return StepBatch(tokens, lengths, torch.from_numpy(plan.lengths), first)
