"""Find SoundFonts and play notes with their samples.

SoundFont 2.04 (E-mu 2006, "SoundFont Technical Specification"): a preset is made of zones, each with an instrument made
of zones, each with a sample; generators say how it is played. What a piano needs is here: key and velocity ranges,
tuning, loops, the volume envelope, attenuation, pan and the low pass. Modulators, LFOs and the modulation envelope are
not.

symusic, which reads our MIDI files, has a synthesiser, too. That of 0.6.0 cannot hand over what it renders ("Unable to
convert function return value to a Python type", with every numpy), and a damaged SoundFont ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicvae.errors import SoundError

__all__ = ["BUILTIN", "Player", "SoundFont", "find_soundfont"]

BUILTIN = "builtin"
"""What to ask for instead of a file to hear the built-in synthesiser."""
VARIABLE = "MUSICVAE_SOUNDFONT"
"""Environment variable that names a SoundFont."""
FOLDERS = (
    "~/.local/share/soundfonts",
    "~/.local/share/sounds/sf2",
    "~/Library/Audio/Sounds/Banks",
    "/usr/local/share/soundfonts",
    "/usr/share/soundfonts",
    "/usr/share/sounds/sf2",
)
"""Where SoundFonts lie on Linux and macOS."""
_PREFERRED = ("default", "musescore_general", "fluidr3_gm", "generaluser", "timgm6mb")
"""Beginnings of names, the first choice first: the system's default, then free General MIDI sets with a good piano."""

Audio = NDArray[np.float32]
_NOTHING: Audio = np.empty(0, np.float32)


class _Generator:
    """Numbers of the generators that are heard (specification, section 8.1.3)."""

    OFFSETS = ((0, 4), (1, 12), (2, 45), (3, 50))
    """Of the sample's begin, end, loop's begin and loop's end: in frames, and in units of 32,768 frames."""
    LOW_PASS, LOW_PASS_BY_ENVELOPE, PAN = 8, 11, 17
    DELAY, ATTACK, HOLD, DECAY, SUSTAIN, RELEASE, HOLD_BY_KEY, DECAY_BY_KEY = range(33, 41)
    INSTRUMENT, KEYS, VELOCITIES, KEY, VELOCITY, ATTENUATION = 41, 43, 44, 46, 47, 48
    SEMITONES, CENTS, SAMPLE, LOOPS, CENTS_A_KEY, ROOT = 51, 52, 53, 54, 56, 58


_G = _Generator
_DEFAULTS = dict.fromkeys((_G.DELAY, _G.ATTACK, _G.HOLD, _G.DECAY, _G.RELEASE), -12_000) | {
    _G.LOW_PASS: 13_500,
    _G.CENTS_A_KEY: 100,
    _G.KEY: -1,
    _G.VELOCITY: -1,
    _G.ROOT: -1,
}
"""Of generators that are not 0 where nothing is said."""
_ABSOLUTE = {_G.KEY, _G.VELOCITY, _G.LOOPS, _G.ROOT, *np.ravel(_G.OFFSETS).tolist()}
"""Generators to which a preset adds nothing."""

_BAG, _GENERATOR = (np.dtype([("first", "<u2"), ("unused", "<u2")]), np.dtype([("number", "<u2"), ("amount", "<i2")]))
_TABLES = {
    b"phdr": np.dtype([("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("unused", "V12")]),
    b"pbag": _BAG,
    b"pgen": _GENERATOR,
    b"inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    b"ibag": _BAG,
    b"igen": _GENERATOR,
    b"shdr": np.dtype(
        [
            ("name", "S20"),
            *((name, "<u4") for name in ("start", "end", "loop", "loop_end", "rate")),
            *(("pitch", "u1"), ("correction", "i1"), ("link", "<u2"), ("type", "<u2")),
        ]
    ),
}


def find_soundfont(asked: str | Path | None = None) -> Path | None:
    """Return the SoundFont to play with; None is the built-in synthesiser.

    That is `asked`, or else what MUSICVAE_SOUNDFONT says, or else one of the system's. Raises SoundError if a file that
    was named does not exist.
    """
    named = asked or os.environ.get(VARIABLE)
    if named is not None and str(named) == BUILTIN:
        return None
    if named:
        path = Path(named)
        if not path.is_file():
            by = "" if asked else f" (from {VARIABLE})"
            raise SoundError(
                f"{path}{by}: there is no such SoundFont. Name an .sf2 file, or {BUILTIN!r} for the built-in piano"
            )
        return path
    found = [path for folder in FOLDERS for path in sorted(Path(folder).expanduser().glob("*.sf2"))]
    liked = [path for name in _PREFERRED for path in found if path.name.lower().startswith(name)]
    return next(iter(liked + found), None)


class Zone(NamedTuple):
    """A sample and how it is played."""

    frames: NDArray[np.int16]
    """The sample."""
    rate: int
    """Its frames a second."""
    loop: tuple[int, int]
    """First frame of its loop and the one after the last; equal if there is none."""
    root: float
    """MIDI note number, with a fraction, at which it sounds as it is."""
    keys: tuple[int, int]
    """Lowest and highest MIDI note number that it is for."""
    velocities: tuple[int, int]
    """Likewise of velocities."""
    generators: Mapping[int, int]
    """The rest, by number."""

    def value(self, number: int) -> int:
        """Return a generator's value, in the unit of the specification."""
        return self.generators.get(number, 0)

    def seconds(self, number: int, by_key: int = 0, key: int = 60) -> float:
        """Return a generator in timecents as seconds, at most a minute; `by_key` is what makes low keys longer."""
        cents = self.value(number) + (self.value(by_key) * (60 - key) if by_key else 0)
        return float(2.0 ** (min(max(cents, -12_000), 7000) / 1200))


class SoundFont:
    """An SF2 file, opened for playing. Its samples stay on the disk until they are heard."""

    def __init__(self, path: Path) -> None:
        """Open a file; raises SoundError if it is not an SF2 file, or damaged."""
        self.path = path
        try:
            chunks = dict(_chunks(np.memmap(path, np.uint8, mode="r")))
            self.tables = {
                name: chunks[name][: len(chunks[name]) // kind.itemsize * kind.itemsize].view(kind)
                for name, kind in _TABLES.items()
            }
            samples = chunks[b"smpl"]
            self.samples: NDArray[np.int16] = samples[: len(samples) // 2 * 2].view("<i2")
        except KeyError as error:
            raise self._damaged(f"it has no chunk {error}") from None
        except (OSError, ValueError) as error:
            raise self._damaged(str(error)) from None

    def zones(self, bank: int, program: int) -> list[Zone]:
        """Return the zones of a preset, none if there is no such preset; raises SoundError for a damaged file."""
        presets = self.tables[b"phdr"][:-1]
        found = np.flatnonzero((presets["bank"] == bank) & (presets["program"] == program))
        try:
            return list(self._zones(int(found[0]))) if len(found) else []
        except (IndexError, ValueError, KeyError) as error:
            raise self._damaged(str(error)) from None

    def _zones(self, preset: int) -> Iterator[Zone]:
        for outer, instrument in self._bags(b"phdr", b"pbag", b"pgen", preset, _G.INSTRUMENT):
            for inner, number in self._bags(b"inst", b"ibag", b"igen", instrument, _G.SAMPLE):
                added = {n: v for n, v in outer.items() if n not in _ABSOLUTE}
                generators = _DEFAULTS | inner
                generators |= {n: generators.get(n, 0) + v for n, v in added.items()}
                ranges = []
                for n in (_G.KEYS, _G.VELOCITIES):
                    (a, b), (c, d) = _range(outer, n), _range(inner, n)
                    ranges.append((max(a, c), min(b, d)))
                header = self.tables[b"shdr"][number]
                if not header["type"] & 0x8000:  # in the ROM of a sound card
                    yield self._zone(header, generators, ranges[0], ranges[1])

    def _zone(
        self, header: Any, generators: dict[int, int], keys: tuple[int, int], velocities: tuple[int, int]
    ) -> Zone:
        moved = [generators.get(fine, 0) + 32_768 * generators.get(coarse, 0) for fine, coarse in _G.OFFSETS]
        at = [int(header[name]) + by for name, by in zip(("start", "end", "loop", "loop_end"), moved, strict=True)]
        start, end, loop, loop_end = at
        rate = int(header["rate"])
        if not (0 <= start < end <= len(self.samples) and 1000 <= rate <= 400_000):
            name = header["name"].decode("latin-1").strip("\0")
            raise ValueError(f"sample {name!r} lies from {start} to {end} of {len(self.samples)} at {rate} Hz")
        loops = generators.get(_G.LOOPS, 0) & 1 and start <= loop and loop + 8 <= loop_end <= end
        pitch = generators[_G.ROOT] if generators[_G.ROOT] >= 0 else int(header["pitch"])
        tuned = generators.get(_G.SEMITONES, 0) + (generators.get(_G.CENTS, 0) + int(header["correction"])) / 100
        return Zone(
            self.samples[start:end],
            rate,
            (loop - start, loop_end - start) if loops else (0, 0),
            (pitch if pitch <= 127 else 60) - tuned,
            keys,
            velocities,
            generators,
        )

    def _bags(
        self, headers: bytes, bags: bytes, generators: bytes, number: int, last: int
    ) -> Iterator[tuple[dict[int, int], int]]:
        """Return the generators of each zone of a preset or an instrument, and what generator `last` names."""
        first, stop = (int(self.tables[headers][number + i]["bag"]) for i in (0, 1))
        shared: dict[int, int] = {}
        for bag in range(first, stop):
            begin, end = (int(self.tables[bags][bag + i]["first"]) for i in (0, 1))
            rows = self.tables[generators][begin:end]
            given = dict(zip(rows["number"].tolist(), rows["amount"].tolist(), strict=True))
            if last in given:
                yield shared | given, given[last] & 0xFFFF
            elif bag == first:
                shared = given

    def _damaged(self, why: str) -> SoundError:
        kind = "is no SoundFont that can be read"
        if self.path.suffix.lower() == ".sf3":
            kind = "is a compressed SoundFont (SF3), and only SF2 is read"
        return SoundError(f"{self.path}: {kind} ({why}). Name another .sf2 file, or {BUILTIN!r} for the built-in piano")


class Player:
    """Plays notes with the zones of a preset.

    What a key sounds like is worked out once for notes of one key that follow one another, the longest first.
    """

    def __init__(self, zones: list[Zone], rate: int) -> None:
        self.zones, self.rate = zones, rate
        self._key = -1
        self._waves: dict[Any, tuple[int, Audio]] = {}  # of the key: frames asked for, frames made

    def note(self, pitch: int, velocity: int, seconds: float) -> Audio:
        """Return a note (2, samples) held for `seconds`, with its release."""
        if pitch != self._key:
            self._key, self._waves = pitch, {}
        sounds = [
            self._voice(number, zone, pitch, velocity, seconds)
            for number, zone in enumerate(self.zones)
            if zone.keys[0] <= pitch <= zone.keys[1] and zone.velocities[0] <= velocity <= zone.velocities[1]
        ]
        mixed = np.zeros((2, max((s.shape[1] for s in sounds), default=0)), np.float32)
        for sound in sounds:
            mixed[:, : sound.shape[1]] += sound
        return mixed

    def _voice(self, number: int, zone: Zone, pitch: int, velocity: int, seconds: float) -> Audio:
        envelope = _envelope(
            zone.seconds(_G.DELAY),
            zone.seconds(_G.ATTACK),
            zone.seconds(_G.HOLD, _G.HOLD_BY_KEY, pitch),
            zone.seconds(_G.DECAY, _G.DECAY_BY_KEY, pitch),
            min(max(zone.value(_G.SUSTAIN) / 10, 0.0), 100.0),
            min(max(zone.seconds(_G.RELEASE), 0.02), 5.0),
            seconds,
            self.rate,
        )
        # Zones for soft and loud blows often share a sample and differ in their filter.
        wave = self._made(
            number, len(envelope), lambda: _filter(zone, self._raw(zone, pitch, len(envelope)), self.rate)
        )
        mono = wave[: len(envelope)] * envelope[: len(wave)]
        fall = min(self.rate // 200, len(mono))
        mono[len(mono) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
        strength = (zone.value(_G.VELOCITY) if zone.value(_G.VELOCITY) >= 0 else velocity) / 127
        # 0.4: E-mu's own hardware attenuates so much less than it says, and SoundFonts are made for it.
        gain = strength**2 * 10 ** (-0.4 * max(zone.value(_G.ATTENUATION), 0) / 200)
        angle = (min(max(zone.value(_G.PAN) / 1000, -0.5), 0.5) + 0.5) * np.pi / 2
        ears: Audio = np.array([[np.cos(angle)], [np.sin(angle)]], np.float32) * np.float32(gain) * mono
        return ears

    def _raw(self, zone: Zone, pitch: int, count: int) -> Audio:
        key = zone.value(_G.KEY) if zone.value(_G.KEY) >= 0 else pitch
        semitones = (key - zone.root) * zone.value(_G.CENTS_A_KEY) / 100
        ratio = zone.rate / self.rate * 2 ** (min(max(semitones, -120.0), 60.0) / 12)
        same = (zone.frames.__array_interface__["data"], len(zone.frames), zone.loop, ratio)
        return self._made(same, count, lambda: _resample(zone, count, ratio))

    def _made(self, what: Any, count: int, make: Callable[[], Audio]) -> Audio:
        """Return what was made of the key before, if it was made for as many frames."""
        asked, wave = self._waves.get(what, (-1, _NOTHING))
        if asked < count:
            wave = make()
            self._waves[what] = count, wave
        return wave


@lru_cache(maxsize=8)  # the left and the right half of a piano have one
def _envelope(
    delay: float, attack: float, hold: float, decay: float, sustain: float, release: float, seconds: float, rate: int
) -> Audio:
    """Return the volume envelope of a note held for `seconds`: from nothing to where 80 dB are lost.

    `sustain` is in dB below the peak; `decay` and `release` are the seconds that 100 dB take.
    """
    hold_ends = delay + attack + hold
    at, level = [0.0, hold_ends, hold_ends + decay * sustain / 100], [0.0, 0.0, -sustain]
    left = float(np.interp(seconds, at, level))
    before = [i for i, t in enumerate(at) if t < seconds]
    at = [at[i] for i in before] + [seconds, seconds + release]
    level = [level[i] for i in before] + [left, left - 100]
    t = np.arange(int((seconds + release * min(max((80 + left) / 100, 0.05), 1)) * rate) + 1) / rate
    envelope: Audio = np.exp2(np.interp(t, at, np.multiply(level, np.log2(10) / 20)).astype(np.float32))
    rising = int((delay + attack) * rate) + 1
    envelope[:rising] *= np.clip((t[:rising] - delay) / attack, 0, 1)
    envelope.setflags(write=False)
    return envelope


def _resample(zone: Zone, count: int, ratio: float) -> Audio:
    """Return at most `count` frames of a sample, each `ratio` frames after the last, by cubic interpolation."""
    position = np.arange(count) * ratio
    begin, end = zone.loop
    if end > begin:
        beyond = int(np.searchsorted(position, end))
        position[beyond:] = begin + (position[beyond:] - begin) % (end - begin)
    else:
        position = position[: np.searchsorted(position, len(zone.frames) - 1)]
    used = min(int(position.max(initial=0)) + 3, len(zone.frames))
    padded = np.pad(zone.frames[:used].astype(np.float32) / 32_768, (1, 3))
    i = position.astype(np.intp)
    x = (position - i).astype(np.float32)
    a, b, c, d = (padded[i + offset] for offset in range(4))
    wave = b + 0.5 * x * (c - a + x * (2 * a - 5 * b + 4 * c - d + x * (3 * (b - c) + d - a)))
    return wave.astype(np.float32, copy=False)


def _filter(zone: Zone, wave: Audio, rate: int) -> Audio:
    """Return a wave through the low pass of its zone: of second order, as the specification has it, without delay."""
    # The modulation envelope opens the filter at once and closes it slowly: taken as open all the time.
    cents = zone.value(_G.LOW_PASS) + zone.value(_G.LOW_PASS_BY_ENVELOPE)
    cutoff = 8.176 * 2 ** (min(max(cents, 1500), 13_500) / 1200)
    if cutoff >= 16_000 or not len(wave):
        return wave
    size = 1 << len(wave).bit_length()
    f = np.fft.rfftfreq(size, 1 / rate).astype(np.float32)
    filtered = np.fft.irfft(np.fft.rfft(wave, size) / np.sqrt(1 + (f / np.float32(cutoff)) ** 4), size)
    return filtered[: len(wave)].astype(np.float32, copy=False)


def _chunks(data: NDArray[np.uint8]) -> Iterator[tuple[bytes, NDArray[np.uint8]]]:
    """Return the chunks in the lists of a RIFF file of kind sfbk."""
    if len(data) < 12 or bytes(data[:4]) != b"RIFF" or bytes(data[8:12]) != b"sfbk":
        raise ValueError(f"it begins with {bytes(data[:12])!r}; wanted b'RIFF' and b'sfbk'")
    at = 12
    while at + 8 <= len(data):
        name, size = bytes(data[at : at + 4]), int.from_bytes(bytes(data[at + 4 : at + 8]), "little")
        if at + 8 + size > len(data):
            raise ValueError(f"it is cut off: chunk {name!r} ends {at + 8 + size - len(data)} bytes after the file")
        if name == b"LIST":
            at += 12  # its chunks follow
            continue
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _range(generators: Mapping[int, int], number: int) -> tuple[int, int]:
    """Return the lowest and highest key or velocity of a zone."""
    both = generators.get(number, 0x7F00) & 0xFFFF
    return both & 0xFF, both >> 8
