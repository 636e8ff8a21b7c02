"""Operations: those that the network needs (`musicvae.train.cost`), and those that it does, padding included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from musicvae.config import ModelConfig
from musicvae.tokens import TokenSpec
from musicvae.train.cost import Work, begin, encode, forward, generate, slot, train

if TYPE_CHECKING:
    from torch import Tensor

    from musicvae.model import MusicVAE

__all__ = [
    "Work",
    "begin",
    "encode",
    "forward",
    "generate",
    "operations",
    "padding",
    "recurrent",
    "slot",
    "train",
    "weights_before",
]


def weights_before(spec: TokenSpec, config: ModelConfig) -> int:
    """Return how many weights are read before the first slots are drawn.

    It is what `begin` counts, but that maps which serve all rows are read once.
    """
    flat = config.decoder == "flat"
    given = config.z if flat else config.conductor_hidden[-1]
    counts = [len(stream.fields) for stream in spec.streams]
    states, gates = 2 * sum(config.decoder_hidden), 4 * config.decoder_hidden[0]
    of_row = given * sum(states + gates + config.head_hidden * n for n in ([sum(counts)] if flat else counts))
    rows = 1 if flat else config.bars
    return round(begin(spec, config, needed=True).flops / 2) - (rows - 1) * of_row


def recurrent(spec: TokenSpec, config: ModelConfig, slots: float) -> dict[str, list[tuple[int, float]]]:
    """Return the multiply-adds of LSTMs with the state before, which must wait for one another, of a clip.

    They are part of `encode` and `generate`, by whose names they are given. To each belong the rows that one clip has
    in such a product: a bar each where all bars are run side by side, else one.
    """

    def states(hidden: Sequence[int]) -> int:
        return sum(4 * h * h for h in hidden)

    bars = config.bars
    both = 2 * states(config.encoder_hidden)  # directions
    flat = config.encoder == "flat"
    read = [(1, slots * both)] if flat else [(bars, slots * 2 * states(config.bar_hidden)), (1, bars * both)]
    if config.decoder == "flat":
        return {"encode": read, "generate": [(1, slots * states(config.decoder_hidden))]}
    drawn = slots * len(spec.streams) * states(config.decoder_hidden)
    return {"encode": read, "generate": [(1, float(bars * states(config.conductor_hidden))), (bars, drawn)]}


def padding(network: MusicVAE, tokens: Tensor, lengths: Tensor) -> float:
    """Return the share of padding in the operations of a forward pass: tokens (B, U, S, F), lengths (B, U).

    However the network lays out its work: what a slot and a clip cost is found from batches whose bars are all of one
    length, a power of two, so that there is no padding in them.
    """
    import torch

    B, U, _, F = tokens.shape
    short, long = (
        operations(network, tokens.new_zeros(B, U, slots, F), torch.full_like(lengths, slots)) for slots in (16, 32)
    )
    of_slot = (long - short) / (16 * B * U)
    of_batch = short - of_slot * 16 * B * U
    done = operations(network, tokens, lengths)
    return 1 - (of_batch + of_slot * int(lengths.sum())) / done


def operations(network: MusicVAE, tokens: Tensor, lengths: Tensor) -> int:
    """Return the operations of matrix products in a forward pass, as torch counts them while it runs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.backends.mkldnn.set_flags(_enabled=False)  # type: ignore[no-untyped-call]  # whose LSTM hides its products
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as count:
            network(tokens, lengths, torch.zeros(len(tokens), network.config.z))
    finally:
        torch.backends.mkldnn.set_flags(_enabled=True)  # type: ignore[no-untyped-call]
    return int(count.get_total_flops())
