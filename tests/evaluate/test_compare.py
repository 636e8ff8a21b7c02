"""Everything at once, from Python and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from musicvae.cli import musicvae
from musicvae.errors import DataError
from musicvae.evaluate import compare as compare_module
from musicvae.evaluate.baselines import BASELINES
from musicvae.evaluate.compare import compare, comparison_tables
from musicvae.music import Score
from musicvae.music.score import PARTS

pytest.importorskip("sklearn")

FEATURES = ["note_count", "pitch_class_histogram"]


def clips(seed: int, count: int, bars: int = 2) -> list[Score]:
    rng = np.random.default_rng(seed)
    found = []
    for n in rng.integers(4, 30, count):
        columns = rng.integers(0, 16 * bars, n), rng.integers(50, 70, n), rng.integers(1, 9, n)
        found.append(Score.of(*columns, bars=bars))
    return found


def test_everything_at_once():
    generated, real = clips(1, 30), clips(2, 50)
    songs = np.arange(50) // 2
    seen = []
    found = compare(
        generated, real, songs, features=FEATURES, rounds=3, baselines=True, progress=lambda *done: seen.append(done)
    )
    assert seen == [(i, 7) for i in range(1, 8)]
    assert (found.generated, found.real, found.songs, found.bars) == (30, 50, 25, 2)
    assert [row.feature for row in found.features] == FEATURES
    assert found.listener is not None
    assert found.listener.clips == 30
    assert found.real_listener is not None
    assert found.real_listener.songs in (12, 13)
    assert tuple(found.baselines) == tuple(BASELINES)
    plain = json.loads(json.dumps(found.to_dict(points=8), allow_nan=False))
    assert plain["listener"]["accuracy"] == found.listener.accuracy
    assert plain["features"][0]["ceiling"]["mean"]["overlap"] == found.features[0].ceiling.mean.overlap
    text = comparison_tables(found)
    count = found.features[0]
    half = f"{count.halves.mean.overlap:.3f} ({count.halves.low.overlap:.3f}–{count.halves.high.overlap:.3f})"
    assert f"| note count | {count.figures.overlap:.3f} | {half} | {count.ceiling.mean.overlap:.3f} (" in text
    assert f"| 10 % of pitches changed | {100 * found.baselines['10 % of pitches changed'].accuracy:.1f} % (" in text


def test_real_against_real_is_half_of_the_songs_against_the_others(monkeypatch):
    asked = []
    listen = compare_module.listen
    monkeypatch.setattr(
        compare_module, "listen", lambda *sets, **named: asked.append((sets, named)) or listen(*sets, **named)
    )
    real, songs = clips(2, 60), np.repeat(np.arange(30), 2)
    compare(clips(1, 12), real, songs, features=["note_count"], rounds=0)
    (first, second, second_ids), named = asked[1]
    assert len(first) == len(second) == 30
    assert not set(named["generated_songs"]) & set(second_ids)
    assert sorted(map(len, [*first, *second])) == sorted(map(len, real))


def test_small_sets_have_no_listener():
    found = compare(clips(1, 9), clips(2, 9), features=FEATURES, rounds=1, baselines=True)
    assert found.listener is None
    assert found.real_listener is None
    assert not found.baselines
    json.dumps(found.to_dict(), allow_nan=False)
    text = comparison_tables(found)
    assert "| note count |" in text
    assert text.endswith("Too few clips for the machine listener.\n")


def test_features_that_say_nothing_are_only_named():
    rng = np.random.default_rng(0)
    drums = [Score.of(np.arange(n) % 32, 36, 1, 80, PARTS.index("drums"), bars=2) for n in rng.integers(1, 30, 24)]
    text = comparison_tables(
        compare(drums[:12], drums[12:], features=["pitch_range", "note_count", "pitch_count"], rounds=1)
    )
    assert "The same in all clips, or in none: pitch range, pitch count.\n" in text
    assert "| note count |" in text
    assert "| pitch" not in text


def test_what_sounds_beyond_the_end_gives_nobody_away():
    real = clips(2, 12)
    longer = [Score.of(c.onset, c.pitch, np.maximum(c.duration, (c.onset > 24) * 999), bars=2) for c in real]
    cut = [Score.of(c.onset, c.pitch, np.where(c.onset > 24, 32 - c.onset, c.duration), bars=2) for c in real]
    a, b = (compare(made, real, features=["polyphony"], rounds=0) for made in (longer, cut))
    assert a.features[0].figures == b.features[0].figures
    assert a.listener == b.listener


def test_clips_of_other_shapes_are_told():
    with pytest.raises(DataError, match="the clips have 2 to 3 bars; wanted one and the same"):
        compare(clips(1, 4), clips(2, 4, bars=3))
    with pytest.raises(DataError, match="the clips have 4 to 8 steps a beat"):
        compare(clips(1, 4), [Score.of([0], [60], [1], bars=2, steps_per_beat=8)] * 4)


def run(*arguments: object):
    return CliRunner().invoke(musicvae, ["compare", "--rounds", "1", *map(str, arguments)], catch_exceptions=False)


def test_the_command(tmp_path, toy_data):
    for number, clip in enumerate(clips(1, 6, bars=4)):
        clip.save(tmp_path / "made" / f"{number}.mid")
    (tmp_path / "made" / "broken.mid").write_bytes(b"MThd")
    result = run(tmp_path / "made", toy_data, "--bars", 4, "--split", "train", "--clips", 8)
    assert result.exit_code == 0
    assert "1 of 7 files left out, the last of them" in result.stderr
    assert f"{tmp_path / 'made'}: 6 clips" in result.stdout
    assert "| pitch class entropy 4 |" in result.stdout
    plain = json.loads(run(tmp_path / "made", toy_data, "--bars", 4, "--split", "train", "--json").stdout)
    assert plain["generated"] == 6
    assert plain["kind"] == "piano"


def test_files_in_another_meter_are_left_out(tmp_path, toy_data):
    for number, clip in enumerate(clips(1, 6, bars=4)):
        clip.save(tmp_path / "made" / f"{number}.mid")
    waltz = Score.of(range(0, 96, 4), 60, 4, bars=8, meter=(3, 4))
    waltz.save(tmp_path / "made" / "waltz.mid")
    result = run(tmp_path / "made", toy_data, "--bars", 4, "--split", "train", "--clips", 8)
    assert result.exit_code == 0
    assert "1 of 7 files left out, the last of them" in result.stderr
    assert "waltz.mid: the meter is 3/4" in result.stderr
    assert f"{tmp_path / 'made'}: 6 clips" in result.stdout


def test_files_are_cut_into_clips(tmp_path):
    for number in range(3):
        # 11 bars: two clips of 4 and one of 3; then 12 bars of rest, and one bar, which is too short for a clip.
        onset = [*range(0, 11 * 16, 4 + number), 24 * 16]
        Score.of(onset, 60, 1, bars=25).save(tmp_path / "long" / f"{number}.mid")
    plain = json.loads(run(tmp_path / "long", tmp_path / "long", "--bars", 4, "--json").stdout)
    assert plain["generated"] == plain["real"] == 9
    assert plain["songs"] == 3


def test_a_folder_without_music(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no music found; wanted files ending in \.npz"):
        run(tmp_path / "empty", tmp_path / "empty")
    (tmp_path / "empty" / "bad.mid").write_bytes(b"hi")
    with pytest.raises(DataError, match="empty: none of 1 files can be used"):
        run(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(DataError, match="gone"):
        run(tmp_path / "gone", tmp_path / "empty")
