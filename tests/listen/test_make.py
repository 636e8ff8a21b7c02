"""Making a test, and both commands, from sources to results."""

from __future__ import annotations

import json
import wave
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("starlette")

from musicvae.cli import musicvae
from musicvae.codecs import PianoCodec, codec
from musicvae.config import CodecConfig
from musicvae.data.dataset import Dataset
from musicvae.errors import ConfigError, DataError, MusicVAEError, ReadError
from musicvae.listen.clips import even, from_data, from_folder, noise, read_wav, treat, tune
from musicvae.listen.design import Test
from musicvae.listen.make import ANSWERS, TEST, Settings, Wanted, _found, clip_path, make
from musicvae.listen.store import Store
from musicvae.music import Score
from musicvae.music.mastering import TARGET, loudness
from musicvae.music.render import RATE
from musicvae.runtime.engine import load

PIANO = PianoCodec(CodecConfig())


def write_music(folder: Path, count: int, bars: int = 3, velocity: int = 70) -> Path:
    folder.mkdir()
    for i in range(count):
        onset = np.arange(0, 16 * bars, 4)
        Score.of(onset, 50 + i + onset // 8, 3, velocity, bars=bars, tempo=60 + 20 * i).save(folder / f"{i}.mid")
    return folder


def write_wav(path: Path, audio: Any, rate: int = RATE, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(audio))
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            file.writeframes((np.rint(audio.T * 127) + 128).astype(np.uint8).tobytes())
        else:
            whole = np.ascontiguousarray(np.rint(audio.T * (2 ** (8 * width - 1) - 1)), dtype="<i4")
            file.writeframes(whole.view(np.uint8).reshape(*whole.shape, 4)[..., :width].tobytes())
    return path


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(musicvae, ["listen", *map(str, arguments)], catch_exceptions=True)


# ---------------------------------------------------------------------------------------------------- one whole test
@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    people, machines = write_music(place / "people", 4), write_music(place / "machines", 4, velocity=30)
    result = run(
        "--human", f"songs={people}", "--machine", machines, "--trials", 2, "--clips", 2, "--bars", 1,
        "--tempo", 200, 240, "--soundfont", "builtin", "--only-make", "-o", place / "test",
    )  # fmt: skip
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "of songs and machines, 6 trials a listener" in result.output
    return place / "test"


def test_all_clips_are_of_one_length_one_loudness_and_one_set_of_tempi(made):
    test = Test.load(made / TEST)
    assert [source[:2] for source in test.sources] == [("songs", "human"), ("machines", "machine")]
    names = {path.name for path in (made / "clips").iterdir()}
    assert names == {f"{clip.token}.wav" for clip in test.clips}
    assert len({clip.token for clip in test.clips}) == len(test.clips) == 2 * 2 + 1 + 4
    assert {path.stat().st_mtime for path in (made / "clips").iterdir()} == {0}
    assert len({path.stat().st_size for path in (made / "clips").iterdir()}) == 1
    tempi = [[clip.tempo for clip in test.clips[:4] if clip.source == source] for source in (0, 1)]
    assert tempi[0] == tempi[1]
    assert sorted(tempi[0]) == [200, 240]
    for clip in test.clips:
        audio = read_wav(clip_path(made, clip.token))
        assert audio.shape == (2, RATE)  # a bar at the fastest tempo
        assert loudness(audio, RATE) == pytest.approx(TARGET, abs=0.5)
        assert np.abs(audio[:, -20:]).max() < 0.01


def test_a_source_gives_each_song_once(made):
    test = Test.load(made / TEST)
    for source in (0, 1):
        songs = [clip.what.partition(",")[0] for clip in test.clips if clip.source == source]
        assert len(set(songs)) == len(songs)
    assert Counter(clip.what for clip in test.clips if clip.source < 0) == {"noise": 2, "a tune": 2}


def test_a_test_that_is_there_goes_on_and_is_not_made_anew(made):
    before = (made / TEST).read_bytes()
    assert run("-o", made, "--only-make").exit_code == 0
    result = run("-o", made, "--only-make", "--trials", 4, "--seed", 3)
    assert isinstance(result.exception, ConfigError)
    assert "has a test already, which --trials, --seed cannot change" in str(result.exception)
    assert (made / TEST).read_bytes() == before


def test_results_of_a_test_as_text_json_and_table(made, tmp_path):
    pytest.importorskip("scipy")
    (made / ANSWERS).unlink(missing_ok=True)
    result = run("results", made)
    assert isinstance(result.exception, DataError)
    assert "nobody has been there yet" in str(result.exception)
    test, store = Test.load(made / TEST), Store(made / ANSWERS)
    for _ in range(3):
        listener = store.listener(store.begin(1, test.places))
        for number, trial in enumerate(test.session(listener.place)):
            vote = trial.catch > 0 if trial.catch else test.clips[trial.clips[0]].source == 0
            store.answer(listener.number, number, int(vote))
    result = run("results", made, "--json", "--csv", tmp_path / "answers.csv", "--difference", 0.25)
    assert result.exit_code == 0, repr(result.exception)
    found = json.loads(result.stdout)
    assert found["ability"]["right"] == 1
    assert found["generated_taken_for_human"]["share"] == 0
    assert found["agreement"]["alpha"] == 1
    assert [row["difference"] for row in found["power"]["needed"]] == [0.25]
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 1 + 3 * test.trials
    text = run("results", made).stdout
    assert "| songs (human)      | 3/3" in text
    assert "right answers: 100.0%" in text


# ------------------------------------------------------------------------------------------------------- sources
def test_held_out_songs_give_one_clip_each(toy_data):
    dataset = Dataset(toy_data)
    splits = dataset.songs["split"]
    held = int((splits != 0).sum())
    found = from_data(dataset, PIANO, 2, min(held, 2), np.random.default_rng(0))
    names = dataset.sources()
    songs = [next(i for i, name in enumerate(names) if one.what.startswith(f"{name}, ")) for one in found]
    assert all(splits[song] != 0 for song in songs)
    assert len(set(songs)) == len(songs)
    assert all(one.music.bars == 2 and len(one.music) for one in found)
    with pytest.raises(DataError, match="held-out songs with a clip of 2 bars; the test needs 999"):
        from_data(dataset, PIANO, 2, 999, np.random.default_rng(0))


def test_what_is_of_no_use_in_a_folder_is_said(tmp_path):
    folder = write_music(tmp_path / "music", 2)
    (folder / "broken.mid").write_bytes(b"MThd")
    (folder / "short.wav").write_bytes(b"RIFF")
    (folder / "notes.txt").write_text("x")
    assert len(from_folder(folder, PIANO, 2, 4.0, 2, np.random.default_rng(0))) == 2
    with pytest.raises(
        DataError, match=r"has 2 MIDI or WAV files of use; the test needs 3.*1 left out: .*cut off"
    ) as error:
        from_folder(folder, PIANO, 2, 4.0, 3, np.random.default_rng(0))
    assert "no WAV file" in str(error.value)
    with pytest.raises(DataError, match="2 left out: is shorter than 16 bars"):
        from_folder(folder, PIANO, 16, 4.0, 1, np.random.default_rng(0))
    (tmp_path / "others").mkdir()
    Score.of(range(0, 96, 4), 60, 4, bars=8, meter=(3, 4)).save(tmp_path / "others" / "waltz.mid")
    with pytest.raises(DataError, match="1 left out: is in 3/4; wanted 4/4"):
        from_folder(tmp_path / "others", PIANO, 2, 4.0, 1, np.random.default_rng(0))
    (tmp_path / "others" / "waltz.mid").unlink()
    Score.of(range(0, 128, 4), 5, 4, bars=8).save(tmp_path / "others" / "low.mid")
    with pytest.raises(DataError, match="1 left out: has no note that the models could write"):
        from_folder(tmp_path / "others", PIANO, 2, 4.0, 1, np.random.default_rng(0))
    with pytest.raises(DataError, match="is no folder"):
        from_folder(tmp_path / "absent", PIANO, 2, 4.0, 1, np.random.default_rng(0))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files_of_all_widths_are_read(tmp_path, width, channels):
    audio = np.random.default_rng(0).uniform(-0.9, 0.9, (channels, 500)).astype(np.float32)
    found = read_wav(write_wav(tmp_path / "x.wav", audio, width=width))
    assert found.shape == (2, 500)
    np.testing.assert_allclose(found, np.broadcast_to(audio, (2, 500)), atol=1.5 / 2 ** (8 * width - 1))


def test_wav_files_of_other_rates_sound_the_same(tmp_path):
    pytest.importorskip("scipy")
    at = np.arange(24_000) / 48_000
    found = read_wav(write_wav(tmp_path / "x.wav", 0.5 * np.sin(2 * np.pi * 440 * at)[None], rate=48_000))
    assert found.shape == (2, 22_050)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / RATE)
    np.testing.assert_allclose(found[0, 500:-500], expected[500:-500], atol=2e-3)
    (tmp_path / "bad.wav").write_bytes(b"RIFFxxxxWAVEnot really")
    with pytest.raises(ReadError, match="is no WAV file"):
        read_wav(tmp_path / "bad.wav")


# --------------------------------------------------------------------------------------------------- made alike
def test_notes_are_held_in_levels_or_all_alike():
    score = Score.of([0, 4, 8], [60, 64, 67], 4, [20, 61, 110], bars=1, tempo=77)
    levels = treat(score, PIANO, 110, "levels")
    assert levels.tempo == 110
    assert levels == treat(levels, PIANO, 110, "levels")
    assert len(set(levels.velocity.tolist())) == 3
    flat = treat(score, PIANO, 110, "flat")
    assert set(flat.velocity.tolist()) == {80}
    assert flat.pitch.tolist() == [60, 64, 67]
    assert score.velocity.tolist() == [20, 61, 110]


def test_audio_is_cut_or_filled_faded_and_brought_to_one_loudness():
    rng = np.random.default_rng(0)
    for gain, size in ((0.01, 3 * RATE), (0.9, RATE)):
        made = even((gain * rng.uniform(-1, 1, (2, size))).astype(np.float32), 2.0)
        assert made.shape == (2, 2 * RATE)
        assert np.abs(made).max() <= 10 ** (-1 / 20) + 1e-6
        assert loudness(made, RATE) == pytest.approx(TARGET, abs=0.6)
    assert not even(np.zeros((2, 10), np.float32), 1.0).any()  # silence stays silence


@pytest.mark.parametrize("kind", ["piano", "melody"])
def test_catch_clips_are_noise_and_tunes(kind):
    how = codec(CodecConfig(kind=kind))
    rng = np.random.default_rng(0)
    loud = treat(noise(how, 4, rng), how, 120, "levels")
    assert len(loud) > 16
    tunes = [treat(tune(how, 16, which), how, 120, "levels") for which in (0, 1)]
    assert tunes[0] != tunes[1]
    for one in tunes:
        top = [int(one.pitch[one.onset == onset].max()) for onset in np.unique(one.onset)]
        assert top[:3] in ([76, 76, 77], [72, 72, 79])
        assert one.bars == 16
    with pytest.raises(ConfigError, match="a listening test plays a piano; the model writes drums"):
        noise(codec(CodecConfig(kind="drums")), 2, rng)


def test_a_model_is_a_source(toy_bundle, tmp_path):
    music = write_music(tmp_path / "songs", 3)
    result = run(
        "--human", music, "--model", toy_bundle(), "--trials", 2, "--clips", 1, "--bars", 1, "--tempo", 240, 240,
        "--soundfont", "builtin", "--only-make", "-o", tmp_path / "test",
    )  # fmt: skip
    assert result.exit_code == 0, repr(result.exception)
    test = Test.load(tmp_path / "test" / TEST)
    assert [source.label for source in test.sources] == ["songs", "toy"]
    assert {clip.what for clip in test.clips if clip.source == 1} <= {"clip 1 of seed 0", "clip 2 of seed 0"}


def test_no_clip_of_a_model_is_silent(toy_bundle, monkeypatch):
    """Held-out clips have notes: silence would be the machine's."""
    model = load(toy_bundle())
    sample = model.sample
    silent = Score.of([], [], [], bars=2)
    monkeypatch.setattr(
        model, "sample", lambda n, **how: [silent if i % 3 == 0 else c for i, c in enumerate(sample(n, **how))]
    )
    found = _found(Wanted("m", "machine", model), PIANO, 2, 4.0, 5, Settings(), np.random.default_rng(0))
    assert [one.what for one in found] == [f"clip {i} of seed 0" for i in (2, 3, 5, 6, 8)]
    assert all(len(one.music) for one in found)


def test_the_seed_does_not_tell_the_order(tmp_path):
    people, machines = write_music(tmp_path / "people", 9), write_music(tmp_path / "machines", 9, velocity=30)
    wanted = [Wanted("a", "human", people), Wanted("b", "machine", machines)]
    settings = Settings(trials=8, clips=8, bars=1, tempo=(240, 240), soundfont="builtin")
    one, other = (make(tmp_path / name, wanted, settings) for name in ("one", "other"))
    assert [clip.what for clip in one.clips] == [clip.what for clip in other.clips]
    assert one.seed != other.seed
    assert one.settings["seed"] == other.settings["seed"] == 0
    assert [one.session(place) for place in range(4)] != [other.session(place) for place in range(4)]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "whose music is the human one"),
        (["--human", "a", "--tempo", "130", "100"], "wanted the slower one first"),
        (["--human", "a", "--machine", "a"], "two sources have one name"),
        (["--human", "a", "--human", "b=a", "--machine", "c=a", "--trials", "4"], "Try --trials 3"),
        (["--human", "a", "--machine", "b=a", "--bars", "1", "--trials", "2"], "the test needs 3"),
        (["--human", "absent", "--machine", "a", "--bars", "1", "--trials", "2"], "absent: is no folder"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, monkeypatch, arguments, error):
    monkeypatch.chdir(tmp_path)
    write_music(tmp_path / "a", 2)
    result = run(*arguments, "--only-make")
    assert result.exit_code != 0
    assert error in result.output + (str(result.exception) if isinstance(result.exception, MusicVAEError) else "")
    assert not (tmp_path / "listening").exists()
