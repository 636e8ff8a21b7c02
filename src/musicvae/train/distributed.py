"""Several processes that train one model, one a device, as `torchrun` starts them.

Each has the same weights and its own clips of every batch; the gradient is the mean of all (DistributedDataParallel).
Nothing is sent through pickle: figures go as tensors, over gloo, and gradients over gloo or, between GPUs, NCCL.
"""

from __future__ import annotations

import gc
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from musicvae.errors import TrainingError

__all__ = ["Ranks", "together"]

PATIENCE = timedelta(hours=2)
"""How long to wait for another process: the first one validates and writes files while the others wait for it."""


class Ranks(NamedTuple):
    """The processes of a run, seen from one of them."""

    rank: int = 0
    """Number of this process."""
    size: int = 1
    """How many there are."""
    local: int = 0
    """Number of this process on its machine, which is that of its GPU."""

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints, validates and writes files."""
        return self.rank == 0

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process, once all have come here."""
        if self.size == 1:
            return list(flags)
        shared = torch.tensor(flags, dtype=torch.int64)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return [bool(flag) for flag in shared.tolist()]

    def sum(self, figures: Tensor) -> Tensor:
        """Return the sum of the figures (a tensor on the CPU) of all processes."""
        if self.size > 1:
            dist.all_reduce(figures)
        return figures

    def require_same(self, what: str) -> None:
        """Raise TrainingError unless `what` is the same text in all processes."""
        if self.size == 1:
            return
        mine = zlib.crc32(what.encode())
        ends = torch.tensor([mine, -mine])
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        if ends.tolist() != [mine, -mine]:
            raise TrainingError(
                "the processes of this run do not see the same settings, data set or checkpoint. Give all of them the "
                "same command, and DATA and RUN in folders that all machines share"
            )

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module, averaging its gradients over all processes; all begin with the first one's weights."""
        if self.size == 1:
            return module
        # no device_ids: they would move the lengths of bars, which belong on the CPU
        return DistributedDataParallel(module, gradient_as_bucket_view=True)


@contextmanager
def together() -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, or be the only one.

    An error in one process ends all of them, and one of them tells it: the first to come here. The others leave with
    SystemExit. Raises TrainingError where another process ended without a word. Nothing that `wrap` returned may be
    held any longer when the block ends.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if "MASTER_ADDR" in os.environ else 1
    if size == 1:
        yield Ranks()
        return
    from torch.distributed.distributed_c10d import PrefixStore  # some builds of torch have none
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    call = store.add(f"musicvae/calls/{rank}", 1)  # so that a process can train twice
    store = PrefixStore(f"musicvae/{call}", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Ranks(rank, size, int(os.environ.get("LOCAL_RANK", "0")))
    except Exception as error:
        if not _first_to_tell(store):
            raise SystemExit(1) from None
        if _lost(error):
            raise TrainingError(
                "another process of this run ended without a word (out of memory?). Nothing was harmed: go on from the "
                "last checkpoint with --resume"
            ) from None
        raise
    else:
        # What averages gradients must go before the group does: as the last to know it, it would end the group's
        # threads while they wait for the interpreter, for ever.
        gc.collect()
        dist.destroy_process_group()


def _first_to_tell(store: Any) -> bool:
    try:
        return bool(store.add("told", 1) == 1)
    except RuntimeError:  # whoever kept the store is gone, and has told
        return False


def _lost(error: Exception) -> bool:
    """Tell whether an error is that another process can no longer be reached."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
