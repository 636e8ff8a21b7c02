"""Every setting, as frozen dataclasses; the presets; strict loading.

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

__all__ = [
    "PRESETS",
    "TEMPERATURE",
    "CodecConfig",
    "Config",
    "Field",
    "LossConfig",
    "ModelConfig",
    "Stream",
    "TokenSpec",
    "TrainConfig",
    "docs",
    "from_dict",
    "override",
    "preset",
    "to_dict",
]

T = TypeVar("T")

TEMPERATURE = 0.7
"""How freely new clips are drawn unless asked otherwise; docs/log.md has what others do."""


# ---------------------------------------------------------------------------------------------- tokens
@dataclass(frozen=True, slots=True)
class Field:
    """One integer of a slot."""

    name: str
    """What the integer says, e.g. `pitch`."""
    size: int
    """How many values it takes: 0 to size − 1."""


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


# -------------------------------------------------------------------------------------------- settings
def _require(name: str, value: Any, holds: bool, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value}; wanted {wanted}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """How a Score becomes tokens."""

    kind: Literal["piano"] = "piano"
    """Which codec: piano."""
    steps_per_beat: int = 4
    """Grid: steps a quarter note (4, 8, 12 or 24); the data set must be prepared with the same."""
    max_notes: int = 64
    """Most notes a bar; those beyond are dropped and reported."""
    pitch_low: int = 21
    """Lowest MIDI pitch (21 = A0, the lowest key of a piano)."""
    pitch_high: int = 108
    """Highest MIDI pitch (108 = C8, the highest key of a piano)."""
    max_duration_bars: int = 4
    """Longest note, in bars; longer ones are shortened and reported."""
    velocity_bins: int = 8
    """How many loudness levels the 127 MIDI velocities are put into."""

    def __post_init__(self) -> None:
        _require("codec.steps_per_beat", self.steps_per_beat, self.steps_per_beat in (4, 8, 12, 24), "4, 8, 12 or 24")
        _require("codec.max_notes", self.max_notes, 1 <= self.max_notes <= 256, "1 to 256")
        _require("codec.pitch_low", self.pitch_low, 0 <= self.pitch_low <= self.pitch_high, "0 to codec.pitch_high")
        _require("codec.pitch_high", self.pitch_high, self.pitch_high <= 127, "at most 127")
        _require("codec.max_duration_bars", self.max_duration_bars, 1 <= self.max_duration_bars <= 64, "1 to 64")
        _require("codec.velocity_bins", self.velocity_bins, 1 <= self.velocity_bins <= 128, "1 to 128")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes of the network (paper, section 3.2 and appendix B)."""

    bars: int = 16
    """Length of a clip, in bars (2 to 64)."""
    z: int = 256
    """Dimensions of the latent vector."""
    encoder: Literal["flat", "hierarchical"] = "hierarchical"
    """flat: one bidirectional LSTM over all slots (the paper's); hierarchical: over a bar's slots, then over bars."""
    embedding: int = 128
    """Width of the learned vector that stands for a slot at the input of encoder and decoder."""
    bar_hidden: int = 128
    """LSTM units a direction over the slots of a bar (hierarchical encoder only)."""
    encoder_hidden: int = 160
    """LSTM units a direction over the bars (hierarchical) or over all slots (flat)."""
    conductor_hidden: int = 192
    """LSTM units of the conductor, whose output is a bar's embedding."""
    decoder_hidden: int = 384
    """LSTM units of the decoder."""
    head_hidden: int = 192
    """Width of the small network before each field's logits."""
    layers: int = 2
    """Layers of every LSTM."""

    def __post_init__(self) -> None:
        _require("model.bars", self.bars, 2 <= self.bars <= 64, "2 to 64")
        for name in (
            "z",
            "embedding",
            "bar_hidden",
            "encoder_hidden",
            "conductor_hidden",
            "decoder_hidden",
            "head_hidden",
            "layers",
        ):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the loss (paper, section 4.3)."""

    beta: float = 0.2
    """Weight of the KL term."""
    free_bits: float = 256.0
    """Bits of KL, summed over the latent's dimensions, that cost nothing."""

    def __post_init__(self) -> None:
        _require("loss.beta", self.beta, self.beta >= 0, "at least 0")
        _require("loss.free_bits", self.free_bits, self.free_bits >= 0, "at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How a run trains."""

    epochs: int = 25
    """How long to train; an epoch draws as many clips as fill the music of the training songs once."""
    batch: int = 32
    """Clips a step."""
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
    transpose_down: int = 5
    """Most semitones that a clip is moved down, drawn anew each time; never so far that a note leaves the range."""
    transpose_up: int = 6
    """Most semitones that a clip is moved up."""
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
        _require("train.grad_clip", self.grad_clip, self.grad_clip > 0, "above 0")
        for name in ("warmup", "seed", "transpose_down", "transpose_up"):
            _require(f"train.{name}", getattr(self, name), getattr(self, name) >= 0, "at least 0")


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


# --------------------------------------------------------------------------------------------- presets
_SMALL = ModelConfig()
_TINY = ModelConfig(
    bars=2,
    z=16,
    embedding=16,
    bar_hidden=16,
    encoder_hidden=16,
    conductor_hidden=16,
    decoder_hidden=32,
    head_hidden=16,
)
_LARGE = ModelConfig(
    z=512, embedding=256, bar_hidden=256, encoder_hidden=512, conductor_hidden=512, decoder_hidden=1024, head_hidden=384
)

PRESETS: Mapping[str, Config] = {
    "piano-16bar-small": Config(train=TrainConfig(lr=2e-3)),
    "piano-2bar-small": Config(
        model=replace(_SMALL, bars=2), loss=LossConfig(free_bits=48), train=TrainConfig(batch=128, lr=2e-3)
    ),
    "piano-16bar": Config(model=_LARGE, train=TrainConfig(batch=128)),
    "piano-2bar": Config(model=replace(_LARGE, bars=2), loss=LossConfig(free_bits=48), train=TrainConfig(batch=512)),
    "piano-2bar-tiny": Config(
        model=_TINY, loss=LossConfig(free_bits=8), train=TrainConfig(batch=16, validation_clips=64)
    ),
}
"""Complete settings by name: `small` fits two CPU cores, `tiny` is a toy to try things out, the others want a GPU."""


def preset(name: str) -> Config:
    """Return a preset by name; raises ConfigError that suggests the nearest name."""
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}{_nearest(name, PRESETS)}. There are: {', '.join(PRESETS)}")
    return PRESETS[name]


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
            raise ConfigError(f"{where}: no setting is called {name!r}{_nearest(name, types)}")
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
            found.append((statement.target.id, str(below.value.value)))
    return tuple(found)


def _override(config: T, path: list[str], text: str, whole: str) -> T:
    name, *rest = path
    types = _types(type(config))  # type: ignore[arg-type]  # a class is hashable
    if name not in types:
        raise ConfigError(f"--set {whole}: no setting is called {name!r}{_nearest(name, types)}")
    current = getattr(config, name)
    if dataclasses.is_dataclass(current) != bool(rest):
        raise ConfigError(f"--set {whole}: name a single setting, e.g. train.lr=3e-4")
    if rest:
        return replace(config, **{name: _override(current, rest, text, whole)})  # type: ignore[type-var]
    value: Any = text
    for kind in (int, float):
        try:
            value = kind(text)
            break
        except ValueError:
            continue
    return replace(config, **{name: _checked(types[name], value, f"--set {whole}")})  # type: ignore[type-var]


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
            raise ConfigError(f"{where} is {value!r}{_nearest(value, choices)}; wanted one of: {', '.join(choices)}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{where} is {value!r}; wanted {'a whole number' if kind is int else 'a number'}")
    return value


def _nearest(name: Any, known: typing.Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
