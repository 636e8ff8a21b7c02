"""A network that hears all music in one key and register (ours, not the paper's).

A clip of notes is moved by a whole number of semitones, its *shift*, before it is encoded: into the key that its pitch
classes fit best, and there by the octaves that bring its mean pitch nearest to the middle. Thirteen dimensions of the
latent vector hold the shift, and what is decoded is moved back. The same music in another key differs in these
dimensions alone, so that nothing has to be learnt twelve times, and what is drawn from the prior keeps to a key.

Axes: B clips, U bars, S slots a bar, F fields of a slot, n rows, M slots that are not padding, Z latent, D = Z − 13
dimensions of the network within, V values of all fields, P pitches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from musicvae.config import OCTAVE, SHIFT_DIMENSIONS, ModelConfig, in_one_key
from musicvae.errors import ConfigError
from musicvae.model.lstm import send
from musicvae.model.vae import MusicVAE, PackedLogits
from musicvae.tokens import TokenSpec

__all__ = ["KeyedVAE", "Shifts"]

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_KEY, _ELSEWHERE = 2.75, -0.25
"""Mean of the posterior in the dimension of the clip's key, and in those of the others: 3 apart, 0 on average."""
_SIGMA = (0.5, 0.3)
"""Standard deviation of the posterior in the dimensions of keys, and in that of the register: samples round to the same
shift."""
_RULED_OUT = -1e9
_ROUNDS = 8


class Shifts(nn.Module):
    """Which shift a clip has, and how the latent vector holds it. Has measured values, but nothing that is learned.

    A shift is the pitch number outside less that within, which stays in [0, P) of the network within.
    """

    profile: Tensor
    """(12,) log share of each pitch class in music that was moved into the common key."""
    register_: Tensor
    """(2,) mean and standard deviation of shifts, in semitones."""

    def __init__(self, outside: int, within: int, end: int | None) -> None:
        """Take two numbers of pitches, and the position that marks the end of a bar, whose slot has no pitch."""
        super().__init__()
        self.outside, self.within, self.end = outside, within, end
        share = torch.full((OCTAVE,), 0.02).index_fill(0, torch.tensor(_MAJOR), 1.0)
        self.register_buffer("profile", (share / share.sum()).log())
        self.register_buffer("register_", torch.tensor([(outside - within) / 2, 8.0]))

    def of(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Tokens (B, U, S, F) and lengths (B, U), end marks included, on one device → (B,); of no notes: a middle one.

        Every note of the clip is within the P pitches.
        """
        note = torch.arange(tokens.shape[2], device=tokens.device) < lengths[..., None] - 1
        note, pitch = note.flatten(1), tokens[..., 1].flatten(1)  # (B, U · S)
        count = note.sum(dim=1).clamp(min=1)
        key = self.best_key(self.classes(pitch, note))
        middle = (pitch * note).sum(dim=1) / count - self.within / 2
        shift = nearest_in_key(middle, key)
        lowest = torch.where(note, pitch, self.outside).amin(dim=1)
        highest = torch.where(note, pitch, 0).amax(dim=1)
        above = (shift - lowest).clamp(min=0) + OCTAVE - 1
        shift = shift - OCTAVE * torch.div(above, OCTAVE, rounding_mode="floor")
        below = (highest - (self.within - 1) - shift).clamp(min=0) + OCTAVE - 1
        return shift + OCTAVE * torch.div(below, OCTAVE, rounding_mode="floor")

    @staticmethod
    def classes(pitch: Tensor, note: Tensor) -> Tensor:
        """Pitch numbers and which of them are notes, (B, N) each → how often each pitch class occurs (B, 12)."""
        octave = torch.arange(OCTAVE, device=pitch.device)
        return ((pitch % OCTAVE)[..., None].eq(octave) & note[..., None]).sum(dim=1).float()

    def best_key(self, classes: Tensor) -> Tensor:
        """Pitch classes (B, 12) → the likeliest key (B,), 0 to 11."""
        octave = torch.arange(OCTAVE, device=classes.device)
        table = self.profile.float()[(octave - octave[:, None]) % OCTAVE]  # of key k and class c: profile[c − k]
        return (classes[:, None] * table).sum(dim=-1).argmax(dim=-1)  # no product of matrices: not in half precision

    def measure(self, tokens: Tensor, lengths: Tensor) -> None:
        """Take the profile and the register of clips (B, U, S, F): what the keys fit is what they are told by."""
        note = (torch.arange(tokens.shape[2], device=tokens.device) < lengths[..., None] - 1).flatten(1)
        classes = self.classes(tokens[..., 1].flatten(1), note)
        share = classes / classes.sum(dim=1, keepdim=True).clamp(min=1)
        octave = torch.arange(OCTAVE, device=tokens.device)
        for _ in range(_ROUNDS):
            moved = share.gather(1, (octave + self.best_key(classes)[:, None]) % OCTAVE)
            mean = moved.mean(dim=0) + 1e-3
            self.profile.copy_((mean / mean.sum()).log())
        shifts = self.of(tokens, lengths).float()
        self.register_.copy_(torch.stack([shifts.mean(), shifts.std(correction=0).clamp(min=1.0)]))

    def to_latent(self, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Shifts (B,) → mean and standard deviation of their posterior, (B, 13) each."""
        octave = torch.arange(OCTAVE, device=shift.device)
        key = torch.where((shift % OCTAVE)[:, None] == octave, _KEY, _ELSEWHERE)
        register = (shift.float() - self.register_[0]) / self.register_[1]
        mu = torch.cat([key, register[:, None]], dim=1)
        return mu, torch.cat([torch.full_like(key, _SIGMA[0]), torch.full_like(register[:, None], _SIGMA[1])], dim=1)

    def of_latent(self, z: Tensor) -> Tensor:
        """Z (B, 13) → shifts (B,): those of the largest dimension's key, nearest to the register."""
        register = self.register_[0] + self.register_[1] * z[:, OCTAVE].float()
        shift = nearest_in_key(register, z[:, :OCTAVE].argmax(dim=1))
        lowest, highest = OCTAVE - self.within, self.outside - OCTAVE  # an octave of both is left
        return torch.where(shift < lowest, lowest, torch.where(shift > highest, highest, shift))

    def inside(self, tokens: Tensor, shift: Tensor) -> Tensor:
        """Move tokens (B, …, F) by shifts (B,): into the key of the network within."""
        shift = shift.reshape(-1, *[1] * (tokens.dim() - 2))
        pitch = tokens[..., 1]
        moved = torch.where(pitch >= self.outside, self.within, (pitch - shift).clamp(0, self.within - 1))
        if self.end is not None:
            moved = torch.where(tokens[..., 0] == self.end, 0, moved)
        return torch.cat([tokens[..., :1], moved[..., None], tokens[..., 2:]], dim=-1)

    def outside_of(self, logits: Tensor, shift: Tensor) -> Tensor:
        """Logits of pitches within (M, P) and shifts (M,) → logits of pitches outside; those not within: ruled out."""
        index = torch.arange(self.outside, device=logits.device) - shift[:, None]
        found = logits.gather(1, index.clamp(0, self.within - 1))
        return torch.where((index >= 0) & (index < self.within), found, _RULED_OUT)

    def noise_inside(self, noise: Tensor, shift: Tensor) -> Tensor:
        """Noise of pitches outside (n, ·) → of those within (n, P), so low that none is drawn that is not outside."""
        index = torch.arange(self.within, device=noise.device) + shift[:, None]
        found = noise.gather(1, index.clamp(0, self.outside - 1))
        return torch.where((index >= 0) & (index < self.outside), found, _RULED_OUT)


def nearest_in_key(pitch: Tensor, key: Tensor) -> Tensor:
    """Return the whole number nearest to `pitch` (B,) that leaves `key` (B,) when it is divided by 12."""
    return key + OCTAVE * torch.floor((pitch - key) / OCTAVE + 0.5).long()


class KeyedVAE(MusicVAE):
    """The network of vae.py in one key; its tokens, latent vectors and logits are those of any key."""

    def __init__(self, spec: TokenSpec, config: ModelConfig, groups: int = 8) -> None:
        if not spec.ordered:
            raise ConfigError("model.key=common is for notes in order (codec.kind piano). Leave it out")
        within, inner = in_one_key(spec, config)
        super().__init__(within, inner, groups)
        self.spec, self.config = spec, config
        self.shifts = Shifts(spec.sizes[1], within.sizes[1], spec.end)

    def inside(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return tokens (B, U, S, F) in the common key; lengths (B, U) may lie on the CPU."""
        return self.shifts.inside(tokens, self.shifts.of(tokens, send(lengths, tokens.device)))

    def encode(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z), the shift first."""
        shift = self.shifts.of(tokens, send(lengths, tokens.device))
        mu, sigma = super().encode(self.shifts.inside(tokens, shift), lengths)
        key_mu, key_sigma = self.shifts.to_latent(shift)
        return torch.cat([key_mu, mu], dim=1), torch.cat([key_sigma, sigma], dim=1)

    def decode(self, z: Tensor, tokens: Tensor, lengths: Tensor, fed: Tensor | None = None) -> PackedLogits:
        """Teacher-forced logits of the tokens (B, U, S, F) under z (B, Z); fed (B, U, S, F) as in `forward`.

        The shift is that of the tokens, which a sample of the posterior holds, too, but for rare noise.
        """
        shift = self.shifts.of(tokens, send(lengths, tokens.device))
        shown = None if fed is None else self.shifts.inside(fed, shift)
        fields, slots = super().decode(z[:, SHIFT_DIMENSIONS:], self.shifts.inside(tokens, shift), lengths, shown)
        clip = torch.div(slots, tokens.shape[1] * tokens.shape[2], rounding_mode="floor")
        return PackedLogits((fields[0], self.shifts.outside_of(fields[1], shift[clip]), *fields[2:]), slots)

    def start(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Z (B, Z) → as for any MusicVAE; the shift is the last number of a row."""
        row, state = super().start(z[:, SHIFT_DIMENSIONS:])
        shift = self.shifts.of_latent(z[:, :SHIFT_DIMENSIONS])
        bars = self.config.bars if self.conductor is not None else 1
        each = shift[:, None].expand(-1, bars).reshape(-1, 1)
        return torch.cat([row, each.to(row.dtype)], dim=1), state

    def step(
        self, before: Tensor, row: Tensor, state: Tensor, noise: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the next slot of n rows: see `MusicVAE.step`."""
        shift = row[:, -1].round().long()
        first, pitch, *rest = torch.split(temperature * noise, list(self.spec.sizes), dim=-1)
        inner = torch.cat([first, self.shifts.noise_inside(pitch, shift), *rest], dim=-1)
        one = torch.ones_like(temperature)
        slot, state, logits = super().step(self.shifts.inside(before, shift), row, state, inner, one)
        sizes = [self.spec.sizes[0], self.shifts.within, *self.spec.sizes[2:]]
        first, pitch, *rest = torch.split(logits, sizes, dim=-1)
        moved = (slot[:, 1] + shift).clamp(0, self.shifts.outside - 1)
        slot = torch.cat([slot[:, :1], moved[:, None], slot[:, 2:]], dim=-1)
        return slot, state, torch.cat([first, self.shifts.outside_of(pitch, shift), *rest], dim=-1)
