"""What the network must compute, counted from its settings: the products of its LSTMs and linear maps.

Embeddings, activations, the loss and the optimiser are not counted, nor is padding. A multiplication and its addition
are two operations, and a backward pass is two forward ones. There are two ways to count:

- whole, as the paper's equations stand: every step multiplies its whole input. This is how such figures are usually
  given, and it is the same for every implementation; one that leaves products out may even exceed the machine's rate.
- needed: what is the same in all steps of a row (its bar's embedding, or z) is multiplied once, and one-hot input is
  looked up. No implementation in this arithmetic is faster than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from musicvae.config import ModelConfig, in_one_key
from musicvae.tokens import Field, TokenSpec

__all__ = ["BACKWARD", "Work", "begin", "encode", "forward", "generate", "slot", "train", "update_flops"]

BACKWARD = 2
"""Operations of a backward pass, in forward ones: the gradients of the inputs and those of the weights."""


@dataclass(frozen=True)
class Work:
    """Multiply-adds."""

    lstm: float = 0
    """Of LSTMs: also done for padding, where there is some."""
    linear: float = 0
    """Of linear maps."""

    def __add__(self, other: Work) -> Work:
        """Add both kinds."""
        return Work(self.lstm + other.lstm, self.linear + other.linear)

    def __mul__(self, times: float) -> Work:
        """Do all of it so many times."""
        return Work(self.lstm * times, self.linear * times)

    @property
    def flops(self) -> float:
        """Operations."""
        return 2 * (self.lstm + self.linear)


def update_flops(spec: TokenSpec, config: ModelConfig, clips: int, slots: float, sampled: bool = False) -> float:
    """Return the operations that an update needs, with so many clips that have so many `slots` in all.

    End marks are slots. `sampled`: with the first pass of scheduled sampling, which decodes once more and has no
    backward pass.
    """
    work = train(spec, config, slots / clips, needed=True)
    if sampled:
        work += generate(spec, config, slots / clips, needed=True)
    return (work * clips).flops


# ---------------------------------------------------------------------------------------------- of a clip
def encode(spec: TokenSpec, config: ModelConfig, slots: float, *, needed: bool = False) -> Work:
    """Encode one clip that has `slots` slots in all (end marks included) into mu and sigma."""
    spec, config = in_one_key(spec, config)
    fields = [f for s in spec.streams for f in s.fields]
    width = _slot_width(fields, config.embedding, bits=True, needed=needed)
    ends = 2 * config.encoder_hidden[-1]  # of both directions
    if config.roll:
        bar = Work(_bilstm(config.roll, config.encoder_hidden), config.roll * (spec.cells + ends + config.z))
        return bar * config.bars + Work(linear=ends * config.z)
    last = Work(linear=2 * ends * config.z)  # mu and sigma
    if config.encoder == "flat":
        return Work(slots * _bilstm(width, config.encoder_hidden)) + last
    bars = config.bars * _bilstm(2 * config.bar_hidden[-1], config.encoder_hidden)
    return Work(slots * _bilstm(width, config.bar_hidden) + bars) + last


def begin(spec: TokenSpec, config: ModelConfig, *, needed: bool = False) -> Work:
    """Decode one clip up to its first slots: the conductor, each row's first state, what is the same in its slots."""
    spec, config = in_one_key(spec, config)
    flat = config.decoder == "flat"
    rows, given = (1, config.z) if flat else (config.bars, config.conductor_hidden[-1])
    first = 2 * sum(config.decoder_hidden)
    work = Work(linear=rows * given * first * len(_decoders(spec, config)))
    for fields in _decoders(spec, config) if needed else []:
        work += Work(rows * given * 4 * config.decoder_hidden[0], rows * given * config.head_hidden * len(fields))
    if flat:
        return work
    if config.roll:
        more = config.conductor_hidden[-1] + spec.cells
        work += Work(linear=config.bars * config.roll * (config.z + more))
    conductor = config.bars * _lstm(config.roll or 1, config.conductor_hidden)
    return work + Work(conductor, config.z * 2 * sum(config.conductor_hidden))


def slot(spec: TokenSpec, config: ModelConfig, *, needed: bool = False) -> Work:
    """Decode one slot of one row: all streams."""
    spec, config = in_one_key(spec, config)
    given = 0 if needed else config.z if config.decoder == "flat" else config.conductor_hidden[-1]
    hidden, width = config.decoder_hidden[-1], config.head_hidden
    work = Work()
    for fields in _decoders(spec, config):
        seen = _slot_width(fields, config.embedding, needed=needed)
        heads = sum((hidden + given) * width + width * f.size if width else hidden * f.size for f in fields)
        work += Work(_lstm(seen + given, config.decoder_hidden), heads)
    return work


def generate(spec: TokenSpec, config: ModelConfig, slots: float, *, needed: bool = False) -> Work:
    """Draw one clip that comes to `slots` slots in all, end marks included."""
    return begin(spec, config, needed=needed) + slot(spec, config, needed=needed) * slots


def forward(spec: TokenSpec, config: ModelConfig, slots: float, *, needed: bool = False) -> Work:
    """Send one clip of `slots` slots in all through encoder and decoder, under teacher forcing."""
    return encode(spec, config, slots, needed=needed) + generate(spec, config, slots, needed=needed)


def train(spec: TokenSpec, config: ModelConfig, slots: float, *, needed: bool = False) -> Work:
    """Make an update, for each clip of `slots` slots in all, under teacher forcing."""
    return forward(spec, config, slots, needed=needed) * (1 + BACKWARD)


# ---------------------------------------------------------------------------------------------- the parts
def _lstm(inputs: int, hidden: Sequence[int]) -> int:
    """One step of one sequence through stacked layers: four gates, each of the input and of the state before."""
    widths = [inputs, *hidden[:-1]]
    return sum(4 * h * (w + h) for w, h in zip(widths, hidden, strict=True))


def _bilstm(inputs: int, hidden: Sequence[int]) -> int:
    """One step of one sequence in both directions; each layer reads both outputs of the one below."""
    widths = [inputs, *(2 * h for h in hidden[:-1])]
    return sum(2 * 4 * h * (w + h) for w, h in zip(widths, hidden, strict=True))


def _slot_width(fields: Sequence[Field], embedding: int, *, bits: bool = False, needed: bool = False) -> int:
    """Width of the vector that stands for a slot: none where it is one-hot and `needed` counts no more than a look-up.

    `bits`: as the encoder is shown sets, by their members.
    """
    if needed and not embedding:
        return 0
    return embedding or sum(f.size.bit_length() if bits and f.binary else f.size for f in fields)


def _decoders(spec: TokenSpec, config: ModelConfig) -> list[list[Field]]:
    """Return the fields of each decoder: one a stream, or one for all where there is no conductor."""
    streams = [list(stream.fields) for stream in spec.streams]
    return streams if config.decoder == "hierarchical" else [[f for fields in streams for f in fields]]
