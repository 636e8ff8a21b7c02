"""Small SoundFonts for tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

HZ = 441.0
"""Of the sample: 50 frames a turn at 22,050 Hz."""
Zone = Sequence[tuple[int, int]]


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def sf2(
    zones: Sequence[Zone] = ((),),
    outer: Zone = (),
    shared: Zone = (),
    preset: tuple[int, int] = (0, 0),
) -> bytes:
    """A SoundFont of one sample, a second of a sine.

    `zones` are the generators of the instrument's zones, `shared` those of all of them, `outer` those of the preset.
    """
    wave = (20_000 * np.sin(2 * np.pi * HZ * np.arange(22_050) / 22_050)).astype("<i2")
    bags, gens = [], []
    for zone in [*([shared] if shared else []), *zones]:
        bags.append(len(gens))
        gens += list(zone) + ([] if zone is shared and shared else [(53, 0)])
    bags.append(len(gens))
    name = b"sine".ljust(20, b"\0")
    outer = [*outer, (41, 0)]
    program, bank = preset[1], preset[0]
    tables = {
        b"phdr": (name + struct.pack("<HHH12x", program, bank, 0)) + name + struct.pack("<HHH12x", 0, 0, 1),
        b"pbag": struct.pack("<HHHH", 0, 0, len(outer), 0),
        b"pgen": b"".join(struct.pack("<Hh", *g) for g in outer) + b"\0" * 4,
        b"inst": (name + struct.pack("<H", 0)) + name + struct.pack("<H", len(bags) - 1),
        b"ibag": b"".join(struct.pack("<HH", b, 0) for b in bags),
        b"igen": b"".join(struct.pack("<HH", n, v & 0xFFFF) for n, v in gens) + b"\0" * 4,
        b"shdr": name + struct.pack("<IIIIIBbHH", 0, 22_050, 50, 22_000, 22_050, 69, 0, 0, 1) + b"EOS".ljust(46, b"\0"),
    }
    lists = chunk(b"LIST", b"INFO" + chunk(b"ifil", b"\2\0\4\0"))
    lists += chunk(b"LIST", b"sdta" + chunk(b"smpl", wave.tobytes() + b"\0" * 92))
    lists += chunk(b"LIST", b"pdta" + b"".join(chunk(n, d) for n, d in tables.items()))
    return chunk(b"RIFF", b"sfbk" + lists)
