"""The engine: music in, music out. `musicvae.load()` returns one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicvae.codecs import Codec, codec
from musicvae.config import MOST_ROUNDS, TEMPERATURE
from musicvae.errors import BundleError, CodecError, MissingExtraError
from musicvae.latent import slerp
from musicvae.music.score import PARTS, Change, Clips, Reading, Score
from musicvae.runtime import bundle as bundles
from musicvae.runtime.flow import read_flow
from musicvae.runtime.sampling import Backend, Progress, bar_lengths, draw_tokens, generators, prior

__all__ = ["Model", "load"]

Music = Score | Reading
"""What the engine accepts as music."""

Prior = Literal["normal", "fitted"]
"""What latent vectors are drawn from."""

BATCH = 32
"""Most clips decoded at once, so that memory stays small however many are asked for."""

BEYOND = 1.2
"""How far a round of settling goes, in ways from a latent vector to that of its clip: over-relaxed (docs/log.md)."""


def load(
    model: str | Path | None = None,
    *,
    backend: Literal["onnx", "torch"] = "onnx",
    precision: Literal["int8", "float32"] = "int8",
    threads: int = 0,
) -> Model:
    """Open a model: a bundled name, a folder, or None for the default.

    `backend` is what computes: onnx (always there) or torch (needs the `train` extra). `precision` is what onnxruntime
    draws notes with: int8 is about twice as fast and is used where `musicvae export` has measured that it moves no
    accuracy by half a point; other models and torch compute in float32. `threads` limits the cores used by onnxruntime
    (0: all). Raises BundleError if there is no such model.
    """
    opened = bundles.read(bundles.find(model))
    spec = codec(opened.config.codec).spec
    computes: Backend
    if backend == "onnx":
        from musicvae.runtime.onnx import OnnxBackend

        computes = OnnxBackend(opened.folder, spec, opened.config.model, threads=threads, int8=precision == "int8")
    elif backend == "torch":
        try:
            from musicvae.runtime.torch import load_network
        except ModuleNotFoundError as error:
            raise MissingExtraError("The torch backend", "train") from error
        computes = load_network(opened.folder, spec, opened.config.model)
    else:
        raise BundleError(f"no backend is called {backend!r}; there are onnx and torch")
    return Model(opened, computes)


class Model:
    """A trained MusicVAE.

    A latent vector is a float32 array (Z,); several are (n, Z). Every method that draws takes a `seed`: the same seed
    gives the same clips, and clip i does not depend on how many are asked for.
    """

    def __init__(self, bundle: bundles.Bundle, backend: Backend) -> None:
        self.bundle, self.backend = bundle, backend
        self.codec: Codec = codec(bundle.config.codec)
        self.bars = bundle.config.model.bars
        """Length of a clip, in bars."""
        self.z = bundle.config.model.z
        """Dimensions of the latent vector."""
        self.attributes = bundles.read_attributes(bundle)
        """Attribute vectors (Z,) by name, as `musicvae attributes` found them."""
        self.flow = read_flow(bundle.folder, self.z)
        """The prior that `musicvae prior` fitted; None where it did not."""

    def __repr__(self) -> str:
        return f"Model({self.bundle.name!r}, {self.bars} bars, z {self.z})"

    # ------------------------------------------------------------------------------------------ from z
    def prior(self, noise: Sequence[np.random.Generator], kind: Prior | None = None) -> NDArray[np.float32]:
        """Draw a latent vector with each generator → (B, Z).

        normal: from N(0, I), the paper's; fitted: such noise moved to where music is (see `runtime.flow`), by default
        where the model has a fitted prior. Raises BundleError if it has none.
        """
        z = prior(noise, self.z)
        if kind == "normal" or (kind is None and self.flow is None):
            return z
        if self.flow is None:
            raise BundleError(
                f"{self.bundle.name} has no fitted prior. Fit one with: musicvae prior MODEL DATA, or use normal"
            )
        return self.flow(z)

    def sample(
        self,
        n: int = 1,
        *,
        temperature: float = TEMPERATURE,
        seed: int = 0,
        tempo: float = 120.0,
        attributes: Mapping[str, float] | None = None,
        prior: Prior | None = None,
        settle: int | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Draw `n` new clips from the prior (see `prior`), settled (see `settle`), and moved (see `move`) if asked.

        `temperature` (≥ 0) is how freely notes are drawn: 0 takes the likeliest (of durations the middle
        one of what is likely), 1 draws from the model's own distribution. `tempo` is in quarter notes a minute: the
        model knows steps, not seconds.
        """
        _not_negative(n=n, seed=seed)
        if not n:
            return []
        rounds = self._rounds(settle)
        noise = generators(seed, n)
        z = self._settle(self.prior(noise, prior), rounds, progress, after=n)
        return self._decode(self.move(z, attributes or {}), noise, temperature, tempo, progress, before=n * rounds)

    def settle(self, z: ArrayLike, rounds: int | None = None) -> NDArray[np.float32]:
        """Send latent vectors (n, Z) or (Z,) through the model: towards those of their likeliest clips, `rounds` times.

        A sample of a prior may lie where no music is. Each round brings it nearer to what decoder and encoder agree
        on: bars become more alike, notes that fit nothing vanish (Rezende et al. 2014, appendix F, whose rounds draw).
        Without `rounds`, as often as the model's setting sample.settle says.
        """
        return self._settle(self._vectors(z), self._rounds(rounds), None)

    def settle_once(self, z: NDArray[np.float32], clips: Sequence[Score]) -> NDArray[np.float32]:
        """Return latent vectors (n, Z) after a round of `settle`, given their likeliest clips, decoded already."""
        each = (self._mu(self.codec.encode(clip).tokens[None]) for clip in clips)  # alone: the same in any company
        return z + np.float32(BEYOND) * (np.concatenate(list(each)) - z)

    def decode(
        self,
        z: ArrayLike,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        tempo: float = 120.0,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Turn latent vectors (n, Z) or (Z,) into clips; all draw with the same noise, so they differ by z alone."""
        rows = self._vectors(z)
        _not_negative(seed=seed)
        return self._decode(rows, [generators(seed, 1)[0] for _ in rows], temperature, tempo, progress)

    def move(self, z: ArrayLike, attributes: Mapping[str, float]) -> NDArray[np.float32]:
        """Return latent vectors (…, Z) moved along attribute vectors: `{"density": 1.5}` adds one and a half of it.

        One vector leads from clips that have little of the attribute to those that have much (paper, section 5.3).
        Raises CodecError for an attribute that the model has no vector of, or an amount that is not finite.
        """
        moved = np.array(z, dtype=np.float32)
        for name, amount in attributes.items():
            if name not in self.attributes:
                known = ", ".join(self.attributes) or "none; find them with: musicvae attributes MODEL DATA"
                raise CodecError(f"{self.bundle.name} has no attribute vector {name!r}; it has: {known}")
            if not np.isfinite(amount):
                raise CodecError(f"attribute {name} is {amount}; wanted a finite number, such as 1.5")
            moved += np.float32(amount) * self.attributes[name]
        return moved

    # --------------------------------------------------------------------------------------- from music
    def windows(self, music: Music) -> list[Score]:
        """Cut music into clips of the model's length, from its first bar with a note.

        The last one is filled up with rests; clips without notes are left out. Raises CodecError if nothing is left.
        """
        score = _score(music)
        return Clips(score.cut(first, self.bars) for first in self.starts(score))

    def starts(self, music: Music) -> list[int]:
        """Return the first bar of each of the `windows` of music, counted from 0. CodecError if there are none."""
        score = _score(music)
        mine = np.isin(score.part, [PARTS.index(part) for part in self.codec.parts])
        if not mine.any():
            parts = " or ".join(self.codec.parts)
            raise CodecError(
                f"the music has no notes of {parts}. Read it with parts={self.codec.parts!r}, or choose another model"
                if len(score)
                else "the music has no notes"
            )
        bar = score.onset[mine] // score.steps_per_bar
        return [b for b in range(int(bar.min()), score.bars, self.bars) if ((bar >= b) & (bar < b + self.bars)).any()]

    def encode(self, music: Music) -> NDArray[np.float32]:
        """Return the latent vectors (n, Z) of music, one for each window: the means of the posterior."""
        mus: list[NDArray[np.float32]] = []
        clips = self.windows(music)
        for i in range(0, len(clips), BATCH):
            mus.append(self._mu(np.stack([self.codec.encode(clip).tokens for clip in clips[i : i + BATCH]])))
        vectors: NDArray[np.float32] = np.concatenate(mus)
        return vectors

    def changes(self, music: Music) -> tuple[Change, ...]:
        """Return what of the music the model's tokens cannot hold: nothing where the tuple is empty."""
        return self.codec.encode(_score(music)).changes

    def reconstruct(
        self, music: Music, *, temperature: float = 0.0, seed: int = 0, progress: Progress | None = None
    ) -> Score:
        """Send music through the model and back; windows are joined again, where they stood, at the same tempo."""
        _not_negative(seed=seed)
        score = _score(music)
        z = self.encode(score)
        clips = self._decode(z, generators(seed, len(z)), temperature, score.tempo, progress)
        return _join(clips, self.starts(score), score)

    def interpolate(
        self,
        a: Music | ArrayLike,
        b: Music | ArrayLike,
        *,
        steps: int = 9,
        temperature: float = 0.0,
        seed: int = 0,
        tempo: float | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Return `steps` clips on the way from `a` to `b`, both ends included.

        Ends are music, of which the first window is taken, or latent vectors (Z,). The way is spherical (`slerp`). All
        clips share their noise. Without `tempo`, that of `a` where it is music.
        """
        if steps < 2:
            raise CodecError(f"steps is {steps}; wanted at least 2, the two ends")
        start, end = self._point(a), self._point(b)
        path = np.stack([slerp(start, end, t) for t in np.linspace(0, 1, steps)])
        return self.decode(path, temperature=temperature, seed=seed, tempo=tempo or _tempo(a), progress=progress)

    def grid(
        self,
        corners: Sequence[Music | ArrayLike],
        *,
        steps: int = 5,
        temperature: float = 0.0,
        seed: int = 0,
        tempo: float | None = None,
        progress: Progress | None = None,
    ) -> list[list[Score]]:
        """Return a square of `steps` × `steps` clips between four: top left and right, bottom left and right.

        Ends are as for `interpolate`. Rows run from left to right, the first from the first corner to the second.
        """
        if len(corners) != 4 or steps < 2:
            raise CodecError(f"{len(corners)} corners, steps {steps}; wanted 4 corners and at least 2 steps")
        a, b, c, d = (self._point(corner) for corner in corners)
        ways = np.linspace(0, 1, steps)
        points = [slerp(slerp(a, c, down), slerp(b, d, down), across) for down in ways for across in ways]
        made = self.decode(
            np.stack(points), temperature=temperature, seed=seed, tempo=tempo or _tempo(corners[0]), progress=progress
        )
        return Clips(made[row * steps : (row + 1) * steps] for row in range(steps))

    def vary(
        self,
        a: Music | ArrayLike,
        *,
        amount: float = 0.3,
        n: int = 8,
        temperature: float = 0.0,
        seed: int = 0,
        tempo: float | None = None,
        attributes: Mapping[str, float] | None = None,
        prior: Prior | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Return `n` variations: points on the way from `a` to `n` points of the prior.

        `amount` is how far they go, from 0 (the reconstruction of `a`) to 1 (new clips); then they are moved along
        `attributes` (see `move`).
        """
        if not 0 <= amount <= 1:
            raise CodecError(f"amount is {amount}; wanted 0 (the same) to 1 (something new)")
        _not_negative(n=n, seed=seed)
        start = self._point(a)
        if not n:
            return []
        points = np.stack([slerp(start, target, amount) for target in self.prior(generators(seed, n), prior)])
        points = self.move(points, attributes or {})
        return self.decode(points, temperature=temperature, seed=seed, tempo=tempo or _tempo(a), progress=progress)

    # -------------------------------------------------------------------------------------------- inside
    def _decode(
        self,
        z: NDArray[np.float32],
        noise: Sequence[np.random.Generator],
        temperature: float,
        tempo: float,
        progress: Progress | None,
        before: int = 0,
    ) -> list[Score]:
        """Draw a clip of each row; for the progress, `before` have been drawn already."""
        if not 0 <= temperature < np.inf:
            raise CodecError(f"temperature is {temperature}; wanted 0 (the likeliest notes) or more")
        clips: list[Score] = Clips()
        for i in range(0, len(z), BATCH):
            some = slice(i, i + BATCH)
            shown = _shifted(progress, before + i, len(z[some]), before + len(z))
            tokens = draw_tokens(self.backend, z[some], noise[some], temperature, shown)
            clips += [self.codec.decode(clip, tempo) for clip in tokens]
        return clips

    def _settle(
        self, z: NDArray[np.float32], rounds: int, progress: Progress | None, after: int = 0
    ) -> NDArray[np.float32]:
        """Do what `settle` says; for the progress, `after` clips are still to be drawn then."""
        rows, done = z.copy(), 0
        for i in range(0, len(rows), BATCH):
            some = slice(i, i + BATCH)
            for _ in range(rounds):
                shown = _shifted(progress, done, len(rows[some]), len(rows) * rounds + after)
                clips = [self.codec.decode(tokens) for tokens in draw_tokens(self.backend, rows[some], progress=shown)]
                rows[some] = self.settle_once(rows[some], clips)
                done += len(clips)
        return rows

    def _rounds(self, asked: int | None) -> int:
        rounds = self.bundle.config.sample.settle if asked is None else asked
        if not 0 <= rounds <= MOST_ROUNDS:
            raise CodecError(f"settle is {rounds}; wanted 0 to {MOST_ROUNDS} rounds")
        return rounds

    def _vectors(self, z: ArrayLike) -> NDArray[np.float32]:
        """Return latent vectors (n, Z) or (Z,) as (n, Z); raises CodecError where they are not of this model."""
        rows = np.atleast_2d(np.asarray(z, dtype=np.float32))
        if rows.ndim != 2 or rows.shape[1] != self.z:
            raise CodecError(
                f"z has shape {np.shape(z)}; this model has {self.z} dimensions, wanted (n, {self.z}) or ({self.z},)"
            )
        if not np.isfinite(rows).all():
            raise CodecError("z has values that are not finite")
        return rows

    def _mu(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Tokens (B, U, S, F) of whole bars → mu (B, Z)."""
        lengths = bar_lengths(tokens, self.codec.spec.end)
        return self.backend.encode(tokens[:, :, : lengths.max()], lengths)[0]

    def _point(self, a: Music | ArrayLike) -> NDArray[np.float32]:
        if isinstance(a, Score | Reading):
            score = _score(a)
            mu: NDArray[np.float32] = self.encode(score.cut(self.starts(score)[0], self.bars))[0]
            return mu
        z = np.array(a, dtype=np.float32)
        if z.shape != (self.z,) or not np.isfinite(z).all():
            raise CodecError(f"a latent vector of this model is {self.z} finite numbers; got shape {z.shape}")
        return z


def _not_negative(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 0:
            raise CodecError(f"{name} is {number}; wanted 0 or more")


def _score(music: Music) -> Score:
    return music.score if isinstance(music, Reading) else music


def _tempo(music: Any) -> float:
    return _score(music).tempo if isinstance(music, Score | Reading) else 120.0


def _join(clips: Sequence[Score], starts: Sequence[int], like: Score) -> Score:
    """Put clips one after another at the bars where they belong; the length is that of `like`."""
    per_bar = like.steps_per_bar
    onset, pitch, duration, velocity, part = (
        np.concatenate(
            [c.columns[i] + (start * per_bar if i == 0 else 0) for c, start in zip(clips, starts, strict=True)]
        )
        for i in range(5)
    )
    inside = onset < like.bars * per_bar
    columns = (c[inside] for c in (onset, pitch, duration, velocity, part))
    return Score.of(*columns, bars=like.bars, steps_per_beat=like.steps_per_beat, meter=like.meter, tempo=like.tempo)


def _shifted(progress: Progress | None, done: int, now: int, total: int) -> Callable[[int, int], None] | None:
    """Make one progress of many batches: `done` clips are drawn, `now` are being drawn."""
    if progress is None:
        return None
    return lambda slot, slots: progress(done * slots + now * slot, total * slots)
