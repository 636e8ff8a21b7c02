"""The command line: help without waiting, exit codes, and the whole way from a folder of music to variations."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from musicvae.cli import VERBS, main
from musicvae.config import Config, docs
from musicvae.music import Score, read
from musicvae.presets import PRESETS
from musicvae.runtime.engine import load
from soundfonts import sf2


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capsys) -> Callable[..., Done]:
    """Run the command line in this process, as the console script does."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["musicvae", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Done(int(stop.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -------------------------------------------------------------------------------------------------- help
def test_help_imports_next_to_nothing():
    code = (
        "import sys\nsys.argv = ['musicvae', '--help']\nfrom musicvae.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n"
        "    heavy = {'numpy', 'torch', 'onnxruntime', 'onnx', 'symusic', 'tqdm'} & set(sys.modules)\n"
        "    print('code', stop.code, sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] in ("code 0 []", "code None []")
    for verb, line in VERBS.items():
        assert f"  {verb} " in done.stdout
        assert line in " ".join(done.stdout.split())


def test_python_m_musicvae():
    done = subprocess.run([sys.executable, "-m", "musicvae", "-h"], capture_output=True, text=True, check=True)
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli, verb):
    done = cli(verb, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Usage: ")
    assert "--help" in done.out


def test_train_help_lists_every_setting(cli):
    text = cli("train", "--help").out
    for section in docs(Config):
        settings = getattr(PRESETS["piano-16bar"], section)
        for name, line in docs(type(settings)).items():
            assert f"{section}.{name} = {getattr(settings, name)}\n" in text
            assert line in text


def test_version(cli):
    import musicvae

    assert musicvae.__version__ in cli("--version").out


def test_presets(cli):
    """A line for each, with its parameters and those of the published configuration in millions."""
    lines = cli("presets").out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines}
    assert set(PRESETS) <= set(rows)
    assert set(json.loads(cli("presets", "--json").out)) == set(PRESETS)
    assert rows["hierdec-mel_16bar"][1:4] == ["melody", "16", "512"]
    assert rows["hierdec-mel_16bar"][-1] == "176.06"
    assert max(map(len, lines)) <= 120


# -------------------------------------------------------------------------------------------- exit codes
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["generat"], "No such command 'generat'"),
        (["generate", "--nope"], "No such option"),
        (["generate", "-n", "0"], "'-n'"),
        (["generate", "--temperature", "-1"], "'--temperature'"),
        (["generate", "--seed", "-1"], "'--seed'"),
        (["generate", "-n", "2", "--model", "MODEL", "-o", "x.mid"], "x.mid is one file, but 2 clips"),
        (["reconstruct"], "Missing argument 'MUSIC'"),
        (["reconstruct", "x.mid", "--programs", "0-200"], "wanted MIDI programs 0 to 127"),
        (["interpolate"], "Missing argument 'A B [C D]'"),
        (["interpolate", "a.mid"], "1 files; wanted 2, for a path, or 4, for a square"),
        (["interpolate", "a.mid", "b.mid", "c.mid"], "3 files; wanted 2"),
        (["generate", "--attribute", "density"], "'density'; wanted NAME=AMOUNT, such as density=+1.5"),
        (["generate", "--attribute", "density=much"], "wanted NAME=AMOUNT"),
        (["interpolate", "a.mid", "b.mid", "--steps", "1"], "'--steps'"),
        (["vary", "a.mid", "--amount", "2"], "'--amount'"),
        (["prepare", "."], "Missing option '-o'"),
        (["train", "x"], "Missing option '-o'"),
        (["train", "x", "-o", "y", "--precision", "half"], "'--precision'"),
        (["export", "x"], "Missing option '-o'"),
        (["import-checkpoint", "x", "-o", "y"], "Missing option '--preset'"),
        (["import-checkpoint", "x", "--preset", "flat-mel_16bar"], "Missing option '-o'"),
        (["evaluate", "x"], "Missing argument 'DATA'"),
        (["evaluate", "x", "y", "--split", "all"], "'--split'"),
        (["evaluate", "x", "y", "--clips", "0"], "'--clips'"),
        (["attributes", "x", "y", "--clips", "9"], "'--clips'"),
    ],
)
def test_wrong_usage_is_2(cli, here, toy_bundle, arguments, text):
    done = cli(*(str(toy_bundle()) if a == "MODEL" else a for a in arguments))
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert "Traceback" not in done.err
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["generate", "--model", "nobody"], "nobody: is neither a bundled model"),
        (["reconstruct", "none.mid", "--model", "MODEL"], "none.mid: does not exist"),
        (["vary", "none.mid", "--model", "MODEL"], "none.mid: does not exist"),
        (["interpolate", "none.mid", "none.mid", "--model", "MODEL"], "none.mid: does not exist"),
        (["prepare", "nowhere", "-o", "d"], "nowhere"),
        (["train", "nowhere", "-o", "run"], "nowhere: is not a prepared data set"),
        (["train", "nowhere", "-o", "run", "--preset", "pino"], "no preset is called 'pino'"),
        (["train", "nowhere", "-o", "run", "--set", "train.lrr=1"], "(did you mean 'lr'?)"),
        (["train", "nowhere", "-o", "run", "--epochs", "0"], "train.epochs is 0; wanted at least 1"),
        (["export", "nowhere", "-o", "m"], "nowhere"),
        (["import-checkpoint", "nowhere", "--preset", "flat-mel_16bar", "-o", "m"], "nowhere"),
        (["import-checkpoint", "nowhere", "--preset", "flat-mel_17bar", "-o", "m"], "did you mean 'flat-mel_16bar'?"),
        (["evaluate", "MODEL", "nowhere"], "nowhere: is not a prepared data set"),
        (["evaluate", "nobody", "nowhere"], "nobody: is neither a bundled model"),
        (["attributes", "MODEL", "nowhere"], "nowhere: is not a prepared data set"),
        (["generate", "--model", "MODEL", "--attribute", "swing=1"], "toy has no attribute vector 'swing'"),
    ],
)
def test_an_error_is_1_and_one_line(cli, here, toy_bundle, arguments, text):
    done = cli(*(str(toy_bundle()) if a == "MODEL" else a for a in arguments))
    assert (done.code, done.out) == (1, "")
    assert text in done.err
    assert done.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.err
    assert not list(here.iterdir())


def test_output_into_a_closed_pipe_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "musicvae", "presets"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------------- verbs
def test_generate(cli, here, toy_bundle):
    done = cli("generate", "-n", "2", "--seed", "7", "--model", toy_bundle(), "--tempo", "90", "--svg", "-o", "out")
    assert done.code == 0
    assert sorted(p.name for p in (here / "out").iterdir()) == [
        "toy-seed7-1.mid",
        "toy-seed7-1.svg",
        "toy-seed7-2.mid",
        "toy-seed7-2.svg",
    ]
    assert done.out.count("\n") == 2
    clip = read(here / "out" / "toy-seed7-1.mid").score
    assert clip.cut(0, 2) == load(toy_bundle()).sample(1, seed=7, tempo=90)[0]


def test_generate_says_its_seed(cli, here, toy_bundle):
    """Two new seeds agree with odds of 1 in 10^6."""
    names = {cli("generate", "--model", toy_bundle()).out.split(":")[0] for _ in range(2)}
    assert len(names) == 2
    assert {p.name for p in here.iterdir()} == names


def test_json(cli, here, toy_bundle):
    done = cli("generate", "-n", "2", "--seed", "1", "--model", toy_bundle(), "--json")
    rows = json.loads(done.out)
    assert [Path(row["file"]).name for row in rows] == ["toy-seed1-1.mid", "toy-seed1-2.mid"]
    assert all(row["bars"] == 2 and row["seed"] == 1 and row["model"] == "toy" for row in rows)
    assert all((here / row["file"]).is_file() for row in rows)
    Score.of([0, 4, 8], [60, 62, 64], 4, bars=2).save(here / "mine.mid")
    (row,) = json.loads(cli("reconstruct", "mine.mid", "--model", toy_bundle(), "--json").out)
    assert 0 <= row["onset_f1"] <= 1


def test_existing_files_are_kept(cli, here, toy_bundle):
    arguments = ("generate", "--seed", "7", "--model", toy_bundle(), "-o", "x.mid")
    (here / "x.mid").write_bytes(b"mine")
    done = cli(*arguments)
    assert done.code == 1
    assert "x.mid: exists already" in done.err
    assert "--overwrite" in done.err
    assert (here / "x.mid").read_bytes() == b"mine"
    assert cli(*arguments, "--overwrite").code == 0
    assert (here / "x.mid").read_bytes()[:4] == b"MThd"
    (here / "y.svg").write_text("mine")
    assert cli("generate", "--model", toy_bundle(), "-o", "y.mid", "--svg").code == 1
    assert not (here / "y.mid").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate"],
        ["reconstruct", "a.mid"],
        ["interpolate", "a.mid", "a.mid", "--steps", "2"],
        ["vary", "a.mid", "-n", "1"],
    ],
    ids=lambda a: a[0],
)
def test_wav_beside_every_clip(cli, here, toy_bundle, monkeypatch, arguments):
    monkeypatch.setenv("MUSICVAE_SOUNDFONT", "builtin")
    Score.of([0, 8], [60, 64], 4, 72, bars=2).save(here / "a.mid")
    done = cli(*arguments, "--model", toy_bundle(), "--wav", "-o", "out")
    assert done.code == 0, done.err
    assert "sound: the built-in piano; for another, name a SoundFont with --soundfont" in done.err
    clips = sorted((here / "out").glob("*.mid"))
    for clip in clips:
        with wave.open(str(clip.with_suffix(".wav"))) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, 44_100)
            assert file.getnframes() >= 44_100 * read(clip).score.seconds
    assert len(list((here / "out").iterdir())) == 2 * len(clips) > 0


def test_soundfonts_are_looked_at_before_the_work(cli, here, toy_bundle, monkeypatch):
    monkeypatch.delenv("MUSICVAE_SOUNDFONT", raising=False)
    generate = ("generate", "--model", toy_bundle(), "--seed", "1", "-o")
    (here / "sine.sf2").write_bytes(sf2())
    (here / "bad.sf2").write_bytes(b"hello")
    done = cli(*generate, "sine", "--wav", "--soundfont", "sine.sf2", "--json")
    assert (done.code, done.err) == (0, "sound: sine.sf2\n")
    assert cli(*generate, "builtin", "--wav", "--soundfont", "builtin").code == 0
    sounds = [(here / name / "toy-seed1-1.wav").read_bytes() for name in ("sine", "builtin")]
    assert sounds[0] != sounds[1]
    for name, text in (("bad.sf2", "is no SoundFont that can be read"), ("none.sf2", "there is no such SoundFont")):
        done = cli(*generate, "out", "--wav", "--soundfont", name)
        assert (done.code, done.out) == (1, "")
        assert f"Error: {name}: {text}" in done.err
    assert cli(*generate, "out", "--soundfont", "sine.sf2").code == 2
    assert not (here / "out").exists()
    (here / "y.wav").write_text("mine")
    assert cli(*generate, "y.mid", "--wav").code == 1
    assert not (here / "y.mid").exists()


def test_a_place_that_cannot_be_written(cli, here, toy_bundle):
    (here / "file").write_text("x")
    done = cli("generate", "--model", toy_bundle(), "-o", "file/below")
    assert done.code == 1
    assert "Choose another place with -o" in done.err


def test_what_happens_to_music_is_told(cli, here, toy_bundle):
    Score.of([0, 4, 80, 84], [60, 127, 62, 64], 4, 72, bars=6).save(here / "long.mid")
    done = cli("reconstruct", "long.mid", "--model", toy_bundle())
    assert done.code == 0
    assert "taken as 2 windows of 2 bars" in done.err
    assert "in the model's tokens: dropped: pitch outside 21–108 (1)" in done.err
    assert "note onsets: precision " in done.err
    Score.of(0, 60, 4, 72, bars=1).save(here / "short.mid")
    assert "1 bars, filled up with rests to 2" in cli("vary", "short.mid", "-n", "1", "--model", toy_bundle()).err
    done = cli("interpolate", "long.mid", "short.mid", "--steps", "3", "--model", toy_bundle())
    assert "long.mid: the first window is used" in done.err
    assert len(list(here.glob("long-to-short-*.mid"))) == 3


def test_another_meter(cli, here, toy_bundle):
    Score.of([0, 20], 60, 4, meter=(5, 4)).save(here / "five.mid")
    done = cli("reconstruct", "five.mid", "--model", toy_bundle())
    assert done.code == 1
    assert "five.mid" in done.err
    assert "5/4" in done.err
    assert "--any-meter" in done.err
    assert cli("reconstruct", "five.mid", "--model", toy_bundle(), "--any-meter").code == 0


def test_a_square(cli, here, toy_bundle):
    names = ["a", "b", "c", "d"]
    for i, name in enumerate(names):
        Score.of([0, 4 + i], [60, 64 + i], 4, bars=2).save(here / f"{name}.mid")
    files = [f"{name}.mid" for name in names]
    done = cli("interpolate", *files, "--steps", "2", "--model", toy_bundle(), "-o", "out")
    assert done.code == 0, done.err
    found = sorted(p.name for p in (here / "out").iterdir())
    assert found == ["a-to-d-1-1.mid", "a-to-d-1-2.mid", "a-to-d-2-1.mid", "a-to-d-2-2.mid"]
    for name, corner in zip(names, found, strict=True):
        assert cli("reconstruct", f"{name}.mid", "--model", toy_bundle(), "-o", "copy.mid", "--overwrite").code == 0
        assert (here / "copy.mid").read_bytes() == (here / "out" / corner).read_bytes()


@pytest.mark.parametrize("kind", ["melody", "trio"])
def test_evaluate(cli, here, toy_bundle, toy_band_data, kind):
    """The table's figures are those of the JSON; every baseline has a row."""
    model = toy_bundle(kind=kind, decoder="hierarchical")
    arguments = ("evaluate", model, toy_band_data, "--split", "train", "--clips", "12", "--seed", "3")
    done = cli(*arguments, "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["model"], result["split"], result["clips"], result["temperature"]) == ("toy", "train", 12, 1.0)
    text = cli(*arguments).out
    for row, modes in result["table"].items():
        assert row in text
        for figures in modes.values():
            assert f"{figures[kind if kind == 'melody' else 'bass']['value']:.3f}" in text
    assert f"{result['recon_nats']['value']:.1f} ±" in text
    assert f"{result['songs']} train songs" in text


def test_evaluate_without_copies(cli, here, toy_bundle, toy_data):
    shutil.copytree(toy_data, here / "data")
    arguments = ("evaluate", toy_bundle(), "data", "--clips", "4", "--without-copies")
    done = cli(*arguments, "--split", "valid", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["copied_songs"] == 0
    assert "valid songs (0 near-copies of training songs left out)" in cli(*arguments, "--split", "valid").out
    done = cli(*arguments, "--split", "train")
    assert done.code == 2
    assert "every song of --split train is a training song" in done.err


def test_attributes_and_their_use(cli, here, toy_bundle, toy_band_data):
    shutil.copytree(toy_bundle(kind="melody", decoder="hierarchical"), here / "m")
    arguments = ("attributes", "m", toy_band_data, "--clips", "60", "--samples", "8", "--json")
    done = cli(*arguments, "--dry-run")
    assert done.code == 0, done.err
    assert not (here / "m" / "attributes.json").exists()
    facts = json.loads(cli(*arguments).out)
    assert facts == json.loads(done.out)
    stored = json.loads((here / "m" / "attributes.json").read_text())
    assert list(stored["vectors"]) == facts["names"]
    name = facts["names"][0]
    for verb in (("generate",), ("vary", "mine.mid")):
        if verb[0] == "vary":
            load(here / "m").sample(1, seed=2)[0].save(here / "mine.mid")
        rows = {}
        for amount in ("0", "+3"):
            extra = (
                "--seed",
                "1",
                "-n",
                "6",
                "--model",
                "m",
                "--attribute",
                f"{name}={amount}",
                "-o",
                f"{verb[0]}{amount}",
            )
            done = cli(*verb, *extra, "--json")
            assert done.code == 0, done.err
            rows[amount] = [Path(row["file"]).read_bytes() for row in json.loads(done.out)]
        assert rows["0"] != rows["+3"]


# --------------------------------------------------------------------------------------------- whole way
@pytest.mark.parametrize(("kind", "preset"), [("drums", "cat-drums_2bar_small"), ("trio", "hierdec-trio_16bar-tiny")])
def test_from_music_to_clips_of_another_kind(cli, here, toy_band, toy_band_data, kind, preset):
    """Trained, exported with its card, evaluated as a run and as a model, and used on a file."""
    done = cli(
        "train", toy_band_data, "--preset", preset, "-o", "run", "--stop-after", "2", "--device", "cpu",
        *(w for s in ("train.batch=4", "model.bars=2", "model.z=4", "model.encoder_hidden=8", "model.bar_hidden=8",
                      "model.conductor_hidden=8", "model.decoder_hidden=8,7", "train.validation_clips=4")
          for w in ("--set", s)),
    )  # fmt: skip
    assert done.code == 0, done.err
    done = cli("export", "run", "-o", "model", "--clips", "4")
    assert done.code == 0, done.err
    card = (here / "model" / "README.md").read_text(encoding="utf-8")
    assert {"drums": "drums", "trio": "trios"}[kind] in card
    assert "polyphonic piano" not in card
    for what in ("run", "model"):
        done = cli("evaluate", what, toy_band_data, "--split", "train", "--clips", "4", "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["clips"] == 4
    song = sorted(toy_band.glob("*.mid"))[3]
    done = cli("reconstruct", song, "--model", "model", "-o", "copy.mid", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)[0]["bars"] == 7
    parts = ("drums",) if kind == "drums" else ("melody", "bass", "drums")
    done = cli("generate", "--model", "model", "-n", "3", "--seed", "1", "--temperature", "1", "-o", "clips", "--json")
    assert done.code == 0, done.err
    made = load(here / "model").sample(3, seed=1, temperature=1)
    for row, clip in zip(json.loads(done.out), made, strict=True):
        if len(clip):
            back = read(Path(row["file"]), parts=parts).score
            assert (len(back), set(back.part.tolist())) == (len(clip), set(clip.part.tolist()))


def test_from_a_folder_of_music_to_variations(cli, here, toy_music):
    assert cli("prepare", toy_music, "-o", "data", "--workers", "1").code == 0
    done = cli(
        "train", "data", "--preset", "piano-2bar-tiny", "-o", "run", "--epochs", "2", "--set", "train.warmup=0",
        "--sample-every", "2", "--device", "cpu", "--precision", "float32",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "held-out songs" in done.err
    assert "musicvae export run" in done.err
    assert len(list((here / "run" / "samples").rglob("*.mid"))) == 4
    done = cli("export", "run", "-o", "my-model", "--clips", "4")
    assert done.code == 0, done.err
    assert (here / "my-model" / "README.md").read_text(encoding="utf-8").strip()
    song = toy_music / "5.mid"
    for verb, files in {
        ("generate", "-n", 2, "--seed", 1): 2,
        ("reconstruct", song): 1,
        ("interpolate", song, toy_music / "6.mid", "--steps", 3): 3,
        ("vary", song, "-n", 2, "--seed", 1): 2,
    }.items():
        done = cli(*verb, "--model", "my-model", "-o", f"out-{verb[0]}", "--json")
        assert done.code == 0, done.err
        rows = json.loads(done.out)
        assert len(rows) == files
        for row in rows:
            assert row["model"] == "my-model"
            assert row["bars"] == (8 if verb[0] == "reconstruct" else 2)
            assert (here / row["file"]).read_bytes()[:4] == b"MThd"
    assert cli("train", "data", "-o", "run", "--resume", "--epochs", "2", "--device", "cpu").code == 0
    assert "holds a run already" in cli("train", "data", "--preset", "piano-2bar-tiny", "-o", "run").err
    assert "is a training run" in cli("generate", "--model", "run").err


# ------------------------------------------------------------------------------------------------ extras
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["train", "data", "-o", "run"], "Training"),
        (["export", "run", "-o", "model"], "Exporting"),
        (["import-checkpoint", "x", "--preset", "flat-mel_16bar", "-o", "model"], "Importing"),
        (["evaluate", "run", "data"], "Scoring a run"),
    ],
)
def test_without_torch_the_extra_is_named(cli, here, monkeypatch, arguments, what):
    """The base install has no torch: what needs it says what to install."""
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text("{}")
    rooms = ("musicvae.train", "musicvae.model", "musicvae.runtime.torch", "musicvae.runtime.export")
    for name in [name for name in sys.modules if name.startswith(rooms)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = cli(*arguments)
    assert done.code == 1
    assert done.err == f"Error: {what} needs an extra that is not installed. Run: pip install 'musicvae[train]'\n"
