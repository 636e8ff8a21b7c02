"""The card of a data set: figures against the songs that went in, and what it says of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from musicvae.cli.card import command
from musicvae.data import card
from musicvae.data.card import LENGTHS, data_facts, data_section
from musicvae.data.dataset import Dataset
from musicvae.data.labels import Labels
from musicvae.data.prepare import prepare
from musicvae.errors import DataError
from musicvae.music import Score
from songs import write_tracks


@pytest.fixture
def data(tmp_path):
    """Three songs in known keys: C major at 60, the same a fifth up at 120 with guitar and drums, a minor one at 90."""
    major, minor = [0, 2, 4, 5, 7, 9, 11, 12, 0, 4, 7, 12], [9, 11, 12, 14, 16, 17, 20, 21, 9, 12, 16, 21]
    music = tmp_path / "music"
    (music / "TRA").mkdir(parents=True)

    def scale(notes, shift, tempo, duration=4):
        onset = 4 * np.arange(len(notes))  # three bars of quarter notes
        return Score.of(onset, np.array(notes) + 60 + shift, duration, 64, tempo=tempo)

    write_tracks(music / "TRA" / "a.mid", [(0, False, scale(major, 0, 60.0))])
    drums = Score.of([0, 8, 16], 36, 1, 100)
    write_tracks(
        music / "b.mid", [(0, False, scale(major, 7, 120.0)), (25, False, scale(major, 7, 120, 1)), (0, True, drums)]
    )
    write_tracks(music / "c.mid", [(4, False, scale(minor, 0, 90.0, 2))])
    (music / "broken.mid").write_bytes(b"MThd")
    prepare([music], tmp_path / "data", workers=1)
    return Dataset(tmp_path / "data")


def test_figures(data, monkeypatch):
    monkeypatch.setattr(card, "CHUNK", 7)  # notes come in many pieces
    facts = data_facts(data)
    json.dumps(facts)
    assert sum(facts["songs"].values()) == 3
    assert sum(facts["hours"].values()) == pytest.approx(12 / 60 / 60 + 12 / 120 / 60 + 12 / 90 / 60, abs=2e-4)
    assert facts["tempo"]["50"] == pytest.approx(90, abs=0.01)
    assert facts["tempo"]["share_of_120"] == pytest.approx(1 / 3, abs=1e-4)
    assert facts["keys"] == {"major": 0.6667, "songs": {"C major": 1, "G major": 1, "A minor": 1}}
    assert facts["instruments"] == {
        "piano": {"tracks": 3, "songs": 3},
        "guitar": {"tracks": 1, "songs": 1},
        "drums": {"tracks": 1, "songs": 1},
    }
    assert facts["files"] == {"found": 4, "kept": 3, "duplicates": 0, "dropped": 1}
    parts = facts["parts"]
    assert list(parts) == ["piano", "melody", "drums"]
    assert {part: (one["voices"], one["songs"], one["notes"]) for part, one in parts.items()} == {
        "piano": (3, 3, 36),
        "melody": (4, 3, 48),
        "drums": (1, 1, 3),
    }
    assert parts["piano"]["notes_a_bar"]["50"] == 4
    assert parts["piano"]["lengths"] == {"16th": 0, "8th": 0.3333, "quarter": 0.6667, "half": 0, "longer": 0}
    assert parts["melody"]["lengths"]["16th"] == 0.25
    assert parts["piano"]["velocity"] == dict.fromkeys(("5", "25", "50", "75", "95"), 64)
    assert parts["drums"]["velocity"]["50"] == 100
    assert "pitch" not in parts["drums"]
    low = sorted([*([60 + n for n in (0, 2, 4, 5, 7, 9, 11, 12, 0, 4, 7, 12)])])
    assert parts["piano"]["pitch"]["5"] <= low[2] <= parts["piano"]["pitch"]["50"]


@pytest.mark.parametrize("chunk", [3, 2**20])
def test_quantiles_of_all_notes(toy_data, monkeypatch, chunk):
    monkeypatch.setattr(card, "CHUNK", chunk)
    dataset = Dataset(toy_data)
    piano = np.concatenate(
        [
            dataset.notes[
                dataset.bars[v["first_bar"]] : dataset.bars[v["first_bar"] + dataset.songs["bars"][v["song"]]]
            ]
            for v in dataset.voices
            if v["part"] == 0
        ]
    )
    found = data_facts(dataset)["parts"]["piano"]
    assert found["notes"] == len(piano)
    for name, share in (("5", 0.05), ("50", 0.5), ("95", 0.95)):
        assert found["pitch"][name] == np.quantile(piano["pitch"], share, method="inverted_cdf")
        assert found["velocity"][name] == np.quantile(piano["velocity"], share, method="inverted_cdf")
    counts, _ = np.histogram(piano["duration"], [1, 2, 3, 5, 9, 10**6])
    np.testing.assert_allclose(list(found["lengths"].values()), counts / len(piano), atol=1e-4)
    assert len(LENGTHS) == 5


def test_section(data, tmp_path):
    table = tmp_path / "genres.tsv"
    table.write_text("TRA\tHymn\nc\tDirge\n")
    text = "\n".join(data_section(data_facts(data, Labels.read(table))))
    assert "To play piano parts, single lines and drum parts in 4/4 like those of these 3 songs" in text
    assert "Of the 2 that the lists of labels have, " in text
    assert "Hymn 50%" in text
    assert "the other 1 have no genre there" in text
    assert "67% fit a major key best" in text
    assert "- 1 files: " in text
    assert "Of 4 files in `music`, 3 are its songs" in text
    alone = "\n".join(data_section(data_facts(data), ("piano",)))
    assert "To play piano parts in 4/4" in alone
    assert "drums:" not in alone
    assert "was not looked up" in alone


def test_section_of_drums_and_of_a_chosen_genre(data, tmp_path):
    write_tracks(tmp_path / "d.mid", [(0, True, Score.of([0, 4], 36, 1))])
    (tmp_path / "t.tsv").write_text("d\tMarch\n")
    prepare(
        [tmp_path / "d.mid"], tmp_path / "drums", choice=Labels.read(tmp_path / "t.tsv").choose(["march"]), workers=1
    )
    facts = data_facts(Dataset(tmp_path / "drums"))
    assert facts["keys"] == {"major": 0.0, "songs": {}}
    text = "\n".join(data_section(facts))
    assert "To play drum parts in 4/4" in text
    assert "All of them stand in the lists March." in text
    assert "major key" not in text


def test_command(data, tmp_path):
    done = CliRunner().invoke(command, [str(data.folder)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("# data\n\n**What a model of it may claim.** ")
    (tmp_path / "t.tsv").write_text("TRA\tHymn\n")
    done = CliRunner().invoke(command, [str(data.folder), "--json", "--labels", str(tmp_path / "t.tsv")])
    facts = json.loads(done.output)
    assert facts["labels"] == {
        "songs": 1,
        "groups": {"labels": {"songs": 1, "most_of_a_song": 1, "songs_by_label": {"Hymn": 1}}},
    }
    (tmp_path / "t.tsv").write_text("hi\n")
    done = CliRunner().invoke(command, [str(data.folder), "--labels", str(tmp_path / "t.tsv")])
    assert "No song has a label in the lists that were looked at" in done.output


def test_a_model_card_has_the_section(toy_config, data):
    from musicvae.evaluate.card import model_card

    config = toy_config()
    info = {"sources": ["music"], **{k: data.info[k] for k in ("songs", "bars", "voices")}}
    session = {
        "from_step": 0,
        "command": ["x"],
        "commit": None,
        "device": "cpu",
        "precision": "f",
        "python": "3",
        "torch": "2",
    }
    trained = {"data": info, "clips": {"train": 3}, "parameters": 9, "step": 1, "seconds": 1, "sessions": [session]}
    facts = data_facts(data)
    text = model_card("toy", config, trained, None, facts)
    assert "\n".join(data_section(facts, ("piano",))) in text
    assert "melody: notes a bar" not in text
    assert "may claim" not in model_card("toy", config, trained, None)
    assert "\nSeed 0; batches of" in text
    # The settings that are told are those of the last run, whose weights began with those of another.
    twice = model_card("toy", config, {**trained, "init": {"run": "r", **trained}}, None)
    assert "\nThe last of them: seed 0; batches of" in twice
    assert [line[:2] for line in twice.splitlines() if "steps in" in line] == ["1.", "2."]


def test_sources_are_those_of_songs_tsv(data):
    rows = [line.split("\t") for line in (data.folder / "songs.tsv").read_text().splitlines()[1:]]
    assert data.sources() == [row[-1] for row in rows]
    assert {source.rpartition("/")[2] for source in data.sources()} == {"a.mid", "b.mid", "c.mid"}
    (data.folder / "songs.tsv").write_text("song\n1\n")
    with pytest.raises(DataError, match=r"songs\.tsv: has 1 songs; the data set has 3"):
        data.sources()
    (data.folder / "songs.tsv").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        data.sources()
