"""Make docs/gallery.md and its clips: python docs/gallery.py [--checkpoints FOLDER].

Every clip is made by a command of the package with a seed that stands here; none is chosen by ear, none is left out.
FOLDER holds models from earlier in the training, a folder for each of EARLIER (they are too large to keep here);
without it their clips stay as they are. The two pieces that are sent through the models are written down here: both are
in the public domain, since nothing of the data sets may be passed on.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from musicvae.music import Score
from musicvae.music.roll import roll_svg

HERE = Path(__file__).parent
CLIPS = HERE / "gallery"
LONG, SHORT = "piano-16bar", "piano-2bar"
SEED = 1
EARLIER = (1640, 6560)
"""Updates after which the model of 16 bars is shown, too."""
PLAIN = ("--prior", "normal", "--settle", "0")
"""What the decoder makes of N(0, I)."""
TEMPERATURES = ("0.4", "0.7", "1.0")

# ------------------------------------------------------------------------------------------------ two pieces
PRELUDE = (
    "C4 E4 G4 C5 E5|C4 D4 A4 D5 F5|B3 D4 G4 D5 F5|C4 E4 G4 C5 E5|C4 E4 A4 E5 A5|C4 D4 F#4 A4 D5|B3 D4 G4 D5 G5|"
    "B3 C4 E4 G4 C5|A3 C4 E4 G4 C5|D3 A3 D4 F#4 C5|G3 B3 D4 G4 B4|G3 A#3 E4 G4 C#5|F3 A3 D4 A4 D5|F3 G#3 D4 F4 B4|"
    "E3 G3 C4 G4 C5|E3 F3 A3 C4 F4"
)
"""Bach, prelude in C (BWV 846), bars 1 to 16: five notes of each bar, which its figure plays twice."""
ODE = (
    "E:4 E:4 F:4 G:4|G:4 F:4 E:4 D:4|C:4 C:4 D:4 E:4|E:6 D:2 D:8|E:4 E:4 F:4 G:4|G:4 F:4 E:4 D:4|C:4 C:4 D:4 E:4|"
    "D:6 C:2 C:8|D:4 D:4 E:4 C:4|D:4 E:2 F:2 E:4 C:4|D:4 E:2 F:2 E:4 D:4|C:4 D:4 G:8|E:4 E:4 F:4 G:4|G:4 F:4 E:4 D:4|"
    "C:4 C:4 D:4 E:4|D:6 C:2 C:8"
)
"""Beethoven, the tune of the Ode to Joy: notes and their sixteenths."""
ODE_CHORDS = "C C C G C C C G G G G G C C C G"
NAMES = {name: i for i, name in enumerate(["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"])}


def pitch(name: str) -> int:
    """Return the MIDI pitch of a name such as F#4."""
    return NAMES[name[:-1]] + 12 * (int(name[-1]) + 1)


def prelude() -> Score:
    """Return the prelude's first sixteen bars."""
    notes = []
    for bar, chord in enumerate(PRELUDE.split("|")):
        low, second, *upper = map(pitch, chord.split())
        for half in (0, 8):
            begin = 16 * bar + half
            notes += [(begin, low, 8), (begin + 1, second, 7)]
            notes += [(begin + 2 + i, upper[i % 3], 1) for i in range(6)]
    onset, key, duration = zip(*notes, strict=True)
    return Score.of(onset, key, duration, [72] * len(notes), bars=16, tempo=66)


def ode() -> Score:
    """Return the Ode to Joy with plain chords of two to the bar."""
    notes = []
    for bar, (tune, chord) in enumerate(zip(ODE.split("|"), ODE_CHORDS.split(), strict=True)):
        begin = 16 * bar
        for note in tune.split():
            name, length = note.split(":")
            notes.append((begin, pitch(f"{name}{4 if name == 'G' and bar == 11 else 5}"), int(length), 88))
            begin += int(length)
        root = pitch(f"{chord}3") - (12 if chord == "G" else 0)
        for half in (0, 8):
            notes += [(16 * bar + half, root + step, 8, 60) for step in (0, 4, 7)]
    onset, key, duration, velocity = zip(*notes, strict=True)
    return Score.of(onset, key, duration, velocity, bars=16, tempo=120)


# ------------------------------------------------------------------------------------------------ the page
def run(folder: str, *arguments: str) -> str:
    """Run a command of the package that writes clips into gallery/FOLDER; return it and its pictures as Markdown."""
    command = ["musicvae", *arguments, "--svg", "-o", str(CLIPS / folder)]
    shutil.rmtree(CLIPS / folder, ignore_errors=True)
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True, cwd=HERE)
    told = " ".join(argument.removeprefix(f"{CLIPS}/") for argument in arguments)
    return f"`musicvae {told}`\n\n{pictures(folder)}"


def pictures(folder: str) -> str:
    """Return the clips of gallery/FOLDER as a row of pictures, each with a link to its MIDI file."""
    shown = []
    for midi in sorted((CLIPS / folder).glob("*.mid"), key=lambda p: (len(p.name), p.name)):
        where = f"gallery/{folder}/{midi.stem}"
        shown.append(f'<a href="{where}.mid"><img src="{where}.svg" width="410" alt="piano roll of {midi.stem}"></a>')
    return "\n".join(shown) + "\n"


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, help="folder of the models of EARLIER")
    checkpoints = parser.parse_args().checkpoints
    pieces = CLIPS / "pieces"
    pieces.mkdir(parents=True, exist_ok=True)
    for name, piece in (("prelude", prelude()), ("ode", ode())):
        piece.save(pieces / f"{name}.mid")
        (pieces / f"{name}.svg").write_text(roll_svg(piece, title=name), encoding="utf-8")
    seed = ("--seed", str(SEED))
    page = [
        "# Gallery",
        "Each picture leads to its MIDI file. Everything here was made by `python docs/gallery.py` with the commands "
        "that stand above the pictures: fixed seeds, nothing chosen by ear, nothing left out, nothing mended. Time "
        "runs to the right, pitch upwards; darker notes are louder.",
        "## As training goes on",
        f"The same seed as the training of `{LONG}` goes on (its card says how many epochs that is; the brief asked "
        "for clips after 25, 50 and 100 epochs, for which there was no machine), from the plain prior N(0, I), not "
        "settled.",
    ]
    for updates in EARLIER:
        page.append(f"### After {updates:,} updates")
        if checkpoints:
            model = ("--model", str(checkpoints / str(updates)))
            run(f"training-{updates}", "generate", "-n", "2", *seed, *PLAIN, *model)
        page.append(pictures(f"training-{updates}"))
    page += [
        "### In the end",
        run("training-all", "generate", "-n", "2", *seed, *PLAIN, "--model", LONG),
        f"## New clips of 16 bars at {len(TEMPERATURES)} temperatures",
        "As `musicvae generate` makes them: from the fitted prior, sent through the model three times, then drawn.",
        *(
            run(f"long-{t}", "generate", "-n", "4", *seed, "--temperature", t, "--model", LONG)
            for t in TEMPERATURES
        ),
        "The same at 0.7, as the fitted prior alone has them:",
        run("long-unsettled", "generate", "-n", "4", *seed, "--settle", "0", "--model", LONG),
        f"## New clips of 2 bars at {len(TEMPERATURES)} temperatures",
        "From the fitted prior, as `musicvae generate` makes them.",
        *(
            run(f"short-{t}", "generate", "-n", "4", *seed, "--temperature", t, "--model", SHORT)
            for t in TEMPERATURES
        ),
        "## Through the latent vector and back",
        "Bach's prelude in C and the Ode to Joy with plain chords, written down in the script. Neither is in the data "
        "by that file; other versions of such tunes may be. First the originals.",
        pictures("pieces"),
        f"`{LONG}`, the whole piece from one vector of 512 numbers:",
        run("long-prelude", "reconstruct", str(pieces / "prelude.mid"), "--model", LONG),
        run("long-ode", "reconstruct", str(pieces / "ode.mid"), "--model", LONG),
        f"`{SHORT}`, from a vector for each two bars:",
        run("short-prelude", "reconstruct", str(pieces / "prelude.mid"), "--model", SHORT),
        run("short-ode", "reconstruct", str(pieces / "ode.mid"), "--model", SHORT),
        "## From one piece to the other",
        run(
            "between",
            *("interpolate", str(pieces / "prelude.mid"), str(pieces / "ode.mid")),
            *("--steps", "6", "--model", LONG),
        ),
        "## Attributes",
        "The Ode to Joy, moved along attribute vectors.",
        *(
            run(f"attribute-{name}{amount}", "vary", str(pieces / "ode.mid"), "-n", "1", "--amount", "0", *seed,
                "--attribute", f"{name}={amount}", "--model", LONG)
            for name in ("density", "register", "length")
            for amount in ("-1", "+1")
        ),
    ]  # fmt: skip
    (HERE / "gallery.md").write_text("\n\n".join(part.strip() for part in page if part) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
