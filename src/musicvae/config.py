"""Every setting, as frozen dataclasses, and strict loading.

The text under a field is its only documentation: `docs()` reads it for `--help` and for error messages.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from musicvae.errors import ConfigError
from musicvae.tokens import TokenSpec

__all__ = [
    "MOST_ROUNDS",
    "TEMPERATURE",
    "CodecConfig",
    "Config",
    "LossConfig",
    "ModelConfig",
    "SampleConfig",
    "TrainConfig",
    "docs",
    "from_dict",
    "nearest",
    "override",
    "to_dict",
]

T = TypeVar("T")

TEMPERATURE = 0.7
"""How freely new clips are drawn unless asked otherwise; docs/log.md has what others do."""
MOST_ROUNDS = 100
"""Most rounds that a new clip settles."""


OCTAVE = 12
SHIFT_DIMENSIONS = OCTAVE + 1
"""Latent dimensions that hold how a clip is transposed, with model.key=common: one a key, and one for the register."""


# -------------------------------------------------------------------------------------------- settings
def _require(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value}; wanted {wanted}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """How a Score becomes tokens."""

    kind: Literal["piano", "melody", "drums", "trio"] = "piano"
    """Which codec: piano (polyphonic), melody (one voice), drums, or trio (melody, bass and drums)."""
    steps_per_beat: int = 4
    """Grid: steps a quarter note (4, 8, 12 or 24); the data set must be prepared with the same."""
    pitch_low: int = 21
    """Lowest MIDI pitch (21 = A0, the lowest key of a piano); not for drums."""
    pitch_high: int = 108
    """Highest MIDI pitch (108 = C8, the highest key of a piano); not for drums."""
    polyphony: Literal["highest", "skip"] = "highest"
    """Notes of a melody or bass that begin together: keep the highest, or leave the phrase and what follows it out."""
    max_notes: int = 64
    """Most notes a bar; those beyond are dropped and reported (piano only)."""
    max_duration_bars: int = 4
    """Longest note, in bars; longer ones are shortened and reported (piano only)."""
    velocity_bins: int = 8
    """How many loudness levels the 127 MIDI velocities are put into (piano only)."""

    def __post_init__(self) -> None:
        _require("codec.steps_per_beat", self.steps_per_beat, self.steps_per_beat in (4, 8, 12, 24), "4, 8, 12 or 24")
        _require("codec.max_notes", self.max_notes, 1 <= self.max_notes <= 256, "1 to 256")
        _require("codec.pitch_low", self.pitch_low, 0 <= self.pitch_low <= self.pitch_high, "0 to codec.pitch_high")
        _require("codec.pitch_high", self.pitch_high, self.pitch_high <= 127, "at most 127")
        _require("codec.max_duration_bars", self.max_duration_bars, 1 <= self.max_duration_bars <= 64, "1 to 64")
        _require("codec.velocity_bins", self.velocity_bins, 1 <= self.velocity_bins <= 128, "1 to 128")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes of the network (paper, section 3.2 and appendix B); those of an LSTM one a layer, as in 512,512."""

    bars: int = 16
    """Length of a clip, in bars (2 to 64)."""
    z: int = 256
    """Dimensions of the latent vector."""
    encoder: Literal["flat", "hierarchical"] = "hierarchical"
    """flat: one bidirectional LSTM over all slots (the paper's); hierarchical: over a bar's slots, then over bars."""
    decoder: Literal["flat", "hierarchical"] = "hierarchical"
    """flat: one LSTM over all slots, given z; hierarchical: one a stream, begun anew in each bar, under a conductor."""
    first_input: Literal["start", "previous"] = "start"
    """What a bar's decoder is shown first: a start token (bars are then drawn side by side) or the last of the bar
    before (the published implementation's; hierarchical decoder only)."""
    embedding: int = 128
    """Width of the learned vector that stands for a slot at the input of encoder and decoder; 0: one-hot, as the
    paper."""
    roll: int = 0
    """Numbers a bar on the linear way past the LSTMs, from what stands in a bar to the latent vector and back, which
    begins with the principal components of the music (hierarchical encoder and decoder only); 0: none (the paper's).
    The encoder then reads bars by it, not slot by slot."""
    key: Literal["own", "common"] = "own"
    """common: each clip is transposed into one key and register before it is encoded, and back after it is decoded
    (piano only; 13 dimensions of the latent vector then hold the transposition); own: as it is (the paper's)."""
    bar_hidden: tuple[int, ...] = (128, 128)
    """LSTM units a direction over the slots of a bar (hierarchical encoder without a roll only)."""
    encoder_hidden: tuple[int, ...] = (160, 160)
    """LSTM units a direction over the bars (hierarchical) or over all slots (flat)."""
    conductor_hidden: tuple[int, ...] = (192, 192)
    """LSTM units of the conductor, whose last layer is a bar's embedding (hierarchical decoder only)."""
    decoder_hidden: tuple[int, ...] = (384, 384)
    """LSTM units of each decoder."""
    head_hidden: int = 192
    """Width of the small network before each field's logits, which sees the fields before it in the slot, too; 0: none,
    the logits are a linear map of the LSTM's output (the paper's)."""

    def __post_init__(self) -> None:
        _require("model.bars", self.bars, 2 <= self.bars <= 64, "2 to 64")
        for name in ("embedding", "head_hidden"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name in ("bar_hidden", "encoder_hidden", "conductor_hidden", "decoder_hidden"):
            sizes = getattr(self, name)
            _require(f"model.{name}", sizes, len(sizes) > 0 and min(sizes) >= 1, "a size of at least 1 for each layer")
        _require("model.roll", self.roll, self.roll >= 0, "at least 0")
        if self.roll:
            whole = self.encoder == self.decoder == "hierarchical"
            _require("model.roll", self.roll, whole, "0, or a hierarchical encoder and decoder")
            _require("model.head_hidden", self.head_hidden, self.head_hidden > 0, "at least 1 with model.roll")
            most = self.bars * self.roll + SHIFT_DIMENSIONS * (self.key == "common")
            _require("model.z", self.z, self.z <= most, f"at most {most}, one for each number of model.roll in a clip")
        least = 1 + SHIFT_DIMENSIONS * (self.key == "common")
        _require("model.z", self.z, self.z >= least, f"at least {least}")
        flat = self.decoder == "flat" and self.first_input == "previous"
        _require("model.first_input", self.first_input, not flat, "start: a flat decoder is never begun anew")


def in_one_key(spec: TokenSpec, model: ModelConfig) -> tuple[TokenSpec, ModelConfig]:
    """Return what the network within is built for: with a common key pitches of eleven more, and a smaller z.

    So many pitches hold any clip in any key.
    """
    if model.key == "own":
        return spec, model
    (stream,) = spec.streams
    position, pitch, *rest = stream.fields
    fields = (position, dataclasses.replace(pitch, size=pitch.size + OCTAVE - 1), *rest)
    within = dataclasses.replace(spec, streams=(dataclasses.replace(stream, fields=fields),))
    return within, dataclasses.replace(model, z=model.z - SHIFT_DIMENSIONS, key="own")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the loss (paper, section 4.3)."""

    beta: float = 0.2
    """Weight of the KL term, at its highest."""
    beta_schedule: Literal["constant", "annealed", "cyclical"] = "constant"
    """constant; annealed: beta · (1 − beta_rate^step), the paper's for 2 bars; cyclical: up from 0 again and again."""
    beta_rate: float = 0.99999
    """Rate of the annealed schedule, a step."""
    beta_cycles: int = 4
    """How often the cyclical schedule begins anew in a run (Fu et al. 2019); the first half of a cycle rises."""
    free_bits: float = 256.0
    """Bits of KL, summed over the latent's dimensions, that cost nothing."""

    def __post_init__(self) -> None:
        _require("loss.beta", self.beta, self.beta >= 0, "at least 0")
        _require("loss.beta_rate", self.beta_rate, 0 < self.beta_rate < 1, "above 0, below 1")
        _require("loss.beta_cycles", self.beta_cycles, self.beta_cycles >= 1, "at least 1")
        _require("loss.free_bits", self.free_bits, self.free_bits >= 0, "at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a run trains."""

    epochs: int = 25
    """How long to train; an epoch draws as many clips as fill the music of the training songs once."""
    batch: int = 32
    """Clips a step, of each process."""
    lr: float = 1e-3
    """Adam's learning rate at its highest."""
    lr_min: float = 1e-5
    """Learning rate at the end."""
    lr_schedule: Literal["cosine", "exponential"] = "cosine"
    """cosine: falls to lr_min over the run; exponential (the paper's): times lr_decay each step, not below lr_min."""
    lr_decay: float = 0.9999
    """Factor a step of the exponential schedule."""
    warmup: int = 200
    """Steps over which the learning rate rises from 0."""
    grad_clip: float = 1.0
    """Largest global norm of the gradient of the loss in nats a slot."""
    hide: float = 0.0
    """Share of slots that the decoder is not shown under teacher forcing, so that it must ask the latent vector."""
    sampling: Literal["none", "constant", "inverse_sigmoid"] = "none"
    """Scheduled sampling: how the share of slots grows for which the decoder is fed its own output. none: teacher
    forcing; constant: sampling_rate; inverse_sigmoid: 1 − k / (k + exp(step / k)) with k = sampling_rate (the paper's
    for 2 bars)."""
    sampling_rate: float = 0.0
    """The share of the constant schedule, or k of the inverse sigmoid (the paper: 2000)."""
    transpose_down: int = 5
    """Most semitones that a clip is moved down, drawn anew each time; never so far that a note leaves the range."""
    transpose_up: int = 6
    """Most semitones that a clip is moved up."""
    duration_weight: float = 1.4
    """Piano with a roll: how much the principal components make of durations, where an onset has 1. More brings
    durations back better, and onsets less well."""
    velocity_weight: float = 0.2
    """The same for velocities."""
    validation_clips: int = 512
    """Held-out clips that are scored at each epoch's end, always the same ones; a quarter of them also greedily."""
    seed: int = 0
    """Seed of the weights, of the order of the clips and of all noise."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "validation_clips"):
            _require(f"train.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _require("train.lr", self.lr, self.lr > 0, "above 0")
        _require("train.lr_min", self.lr_min, 0 <= self.lr_min <= self.lr, "0 to train.lr")
        _require("train.lr_decay", self.lr_decay, 0 < self.lr_decay <= 1, "above 0, at most 1")
        _require("train.hide", self.hide, 0 <= self.hide <= 1, "0 to 1")
        share = self.sampling == "constant"
        _require(
            "train.sampling_rate",
            self.sampling_rate,
            0 <= self.sampling_rate <= 1 if share else self.sampling != "inverse_sigmoid" or self.sampling_rate >= 1,
            "0 to 1 (constant)" if share else "at least 1 (inverse_sigmoid)",
        )
        for name in ("grad_clip", "duration_weight", "velocity_weight"):
            _require(f"train.{name}", getattr(self, name), getattr(self, name) > 0, "above 0")
        for name in ("warmup", "seed", "transpose_down", "transpose_up"):
            _require(f"train.{name}", getattr(self, name), getattr(self, name) >= 0, "at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """How new clips are drawn, unless asked otherwise. Training takes no notice of it."""

    settle: int = 0
    """How often a new clip goes through the model before it is drawn: it then repeats itself more, and has fewer notes
    that fit nothing."""

    def __post_init__(self) -> None:
        _require("sample.settle", self.settle, 0 <= self.settle <= MOST_ROUNDS, f"0 to {MOST_ROUNDS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that a run is made from; written next to the weights."""

    codec: CodecConfig = field(default_factory=CodecConfig)
    """How a Score becomes tokens."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the network."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Weights of the loss."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """How a run trains."""
    sample: SampleConfig = field(default_factory=SampleConfig)
    """How new clips are drawn."""


# --------------------------------------------------------------------------------- loading and overriding
def to_dict(config: Any) -> dict[str, Any]:
    """Return the settings as plain data for JSON."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], data: Mapping[str, Any], where: str = "config") -> T:
    """Build a settings class from plain data.

    Raises ConfigError for an unknown name (suggesting the nearest), a wrong type or a value out of range;
    names that are absent take their defaults. `where` names the source in errors.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: wanted settings by name, got {data!r}")
    types = _types(cls)  # type: ignore[arg-type]  # a class is hashable
    for name in data:
        if name not in types:
            raise ConfigError(f"{where}: no setting is called {name!r}{nearest(name, types)}")
    try:
        return cls(**{name: _checked(types[name], value, f"{where}: {name}") for name, value in data.items()})
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(where) else f"{where}: {message}") from None


def override(config: T, assignment: str) -> T:
    """Return the settings with one changed, given as `train.lr=3e-4`."""
    path, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"{assignment!r} is not a setting; write it as name=value, e.g. train.lr=3e-4")
    return _override(config, path.strip().split("."), text.strip(), path.strip())


def docs(cls: type) -> dict[str, str]:
    """Return the text that stands under each field of a settings class."""
    return dict(_docs(cls))


@functools.cache
def _docs(cls: type) -> tuple[tuple[str, str], ...]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found = []
    for statement, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(below, ast.Expr)
        ):
            assert isinstance(below.value, ast.Constant)
            found.append((statement.target.id, " ".join(str(below.value.value).split())))
    return tuple(found)


def _override(config: T, path: list[str], text: str, whole: str) -> T:
    name, *rest = path
    types = _types(type(config))  # type: ignore[arg-type]  # a class is hashable
    if name not in types:
        raise ConfigError(f"--set {whole}: no setting is called {name!r}{nearest(name, types)}")
    current = getattr(config, name)
    if dataclasses.is_dataclass(current) != bool(rest):
        raise ConfigError(f"--set {whole}: name a single setting, e.g. train.lr=3e-4")
    if rest:
        return replace(config, **{name: _override(current, rest, text, whole)})  # type: ignore[type-var]
    value: Any = [_number(part) for part in text.split(",")] if _is_tuple(types[name]) else _number(text)
    return replace(config, **{name: _checked(types[name], value, f"--set {whole}")})  # type: ignore[type-var]


def _number(text: str) -> Any:
    """Return a text as the number it is, else as it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_tuple(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


@functools.cache
def _types(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _checked(kind: Any, value: Any, where: str) -> Any:
    """Return `value` as `kind`, or raise ConfigError."""
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), value, where)
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{where} is {value!r}{nearest(value, choices)}; wanted one of: {', '.join(choices)}")
        return value
    if _is_tuple(kind):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where} is {value!r}; wanted a list of whole numbers, such as 512,512")
        return tuple(_checked(int, item, where) for item in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{where} is {value!r}; wanted {'a whole number' if kind is int else 'a number'}")
    return value


def nearest(name: Any, known: typing.Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for a name that is close to a known one, else nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
