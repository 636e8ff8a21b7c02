"""The routes: what comes back is what the engine makes, and what docs/web.md promises."""

from __future__ import annotations

import io
import json
import re
import shutil
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.routing import Route

from musicvae.config import SampleConfig
from musicvae.errors import BundleError
from musicvae.evaluate.reconstruction import count_notes
from musicvae.music import Score, read_bytes
from musicvae.music.midi import midi_bytes
from musicvae.web.app import create_app
from musicvae.web.models import open_models

DOCUMENT = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
CLIP = {
    "bars": 2,
    "steps_per_beat": 4,
    "tempo": 96,
    "notes": [[0, 4, 60, 72, 0], [4, 2, 64, 80, 0], [16, 16, 55, 90, 0]],
}


def notes(score: Score) -> list[list[int]]:
    columns = (score.onset, score.duration, score.pitch, score.velocity, score.part)
    return np.stack(columns, axis=1).tolist()


def rows(clips: list[dict[str, Any]]) -> list[Any]:
    return [clip["notes"] for clip in clips]


def upload(api: Any, data: bytes, expect: int = 200, kind: str = "audio/midi", **query: Any) -> Any:
    answer = api.post("/api/encode", params=query, content=data, headers={"content-type": kind})
    assert answer.status_code == expect, answer.text
    return answer.json()


# ------------------------------------------------------------------------------------------------ the document
def test_the_document_has_every_route_and_no_other(api):
    documented = set(re.findall(r"^\| `(\w+) (\S+)` \|", DOCUMENT, re.MULTILINE))
    routes = [r for r in api.app.routes if isinstance(r, Route)]
    there = {(min((r.methods or set()) - {"HEAD"}), r.path.replace(":path", "")) for r in routes}
    assert documented == there


def test_the_document_has_the_limits_and_the_keys_of_a_clip(api):
    found = api.get("/api/models").json()
    blocks = [
        json.loads(b)
        for b in re.findall(r"^```json\n(\{\n.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
        if "Clip" not in b
    ]
    example = next(b for b in blocks if "limits" in b)
    assert example["limits"] == found["limits"]
    assert example.keys() == found.keys()
    assert example["models"][0].keys() == found["models"][0].keys()
    assert example["models"][0]["attributes"][0] == found["models"][0]["attributes"][0]
    clip = next(b for b in blocks if "notes" in b and "z" in b)
    assert clip.keys() == api.ask("generate", n=1)["clips"][0].keys()


def test_every_error_of_the_document_has_a_place(api):
    codes = set(re.findall(r"^\| (\d{3}) \|", DOCUMENT, re.MULTILINE))
    source = "".join(p.read_text(encoding="utf-8") for p in Path(create_app.__code__.co_filename).parent.glob("*.py"))
    assert codes - {"405"} == set(re.findall(r"(?:RequestError|Refused|HTTPException)\(\s*(\d{3})", source))


# -------------------------------------------------------------------------------------------------- the models
def test_models_are_listed_by_name(api, toy_models):
    found = api.get("/api/models").json()
    assert [m["name"] for m in found["models"]] == list(toy_models)
    assert found["default"] == "piano"
    piano, melody = found["models"]
    assert [a["name"] for a in piano["attributes"]] == ["density", "register"]
    assert (piano["bars"], piano["z"], melody["parts"]) == (2, 6, ["melody"])


def test_models_given_come_first_and_no_name_is_used_twice(toy_bundle):
    toy, other = toy_bundle(), toy_bundle(kind="melody", decoder="flat")
    found = open_models([toy, other, str(toy)])
    assert list(found) == ["toy", "toy-2", "piano-16bar", "piano-2bar"]
    assert [m.bundle.config.codec.kind for m in found.values()] == ["piano", "melody", "piano", "piano"]
    assert list(open_models()) == ["piano-16bar", "piano-2bar"]


def test_a_damaged_model_is_known_before_anybody_asks(toy_bundle, tmp_path):
    broken = shutil.copytree(toy_bundle(), tmp_path / "broken")
    (broken / "step.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"step.*\.onnx: cannot be loaded"):
        open_models([broken])


def test_the_credit_is_that_of_the_card():
    from musicvae.web.models import model_json

    for name, model in open_models().items():
        assert "Lakh" in model_json(name, model)["credit"]


# ---------------------------------------------------------------------------------------------------- decoding
@pytest.mark.parametrize("name", ["piano", "melody"])
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_generate_makes_the_clips_of_sample(api, toy_models, name, temperature):
    clips = api.ask("generate", model=name, n=3, temperature=temperature, seed=5)["clips"]
    assert rows(clips) == [notes(s) for s in toy_models[name].sample(3, temperature=temperature, seed=5)]
    assert rows(api.ask("generate", model=name, n=1, temperature=temperature, seed=5)["clips"]) == rows(clips)[:1]
    clip = clips[2]
    assert (clip["model"], clip["seed"], clip["index"], clip["temperature"]) == (name, 5, 2, temperature)
    assert (clip["bars"], clip["steps_per_beat"], clip["beats_per_bar"], clip["tempo"]) == (2, 4, 4, 120)


def test_generate_settles_as_often_as_the_model_says(api, toy_models, monkeypatch):
    model = toy_models["piano"]
    plain = rows(api.ask("generate", n=3, seed=5)["clips"])
    config = replace(model.bundle.config, sample=SampleConfig(settle=2))
    monkeypatch.setattr(model, "bundle", model.bundle._replace(config=config))
    clips = api.ask("generate", n=3, seed=5)["clips"]
    assert rows(clips) == [notes(s) for s in model.sample(3, seed=5)] != plain
    how = {key: clips[2][key] for key in ("model", "temperature", "seed", "index")}
    assert api.ask("decode", z=[clips[2]["z"]], **how)["clips"] == [clips[2]]  # its z is where it settled


def test_decode_makes_the_clips_of_decode(api, toy_models, z_text):
    z = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    clips = api.ask("decode", z=[z_text(p) for p in z], temperature=1, seed=3)["clips"]
    assert rows(clips) == [notes(s) for s in toy_models["piano"].decode(z, temperature=1, seed=3)]
    assert [c["z"] for c in clips] == [z_text(p) for p in z]
    padded = api.ask("decode", z=[z_text(z[0]) + "="], temperature=1, seed=3)["clips"]
    assert padded[0]["notes"] == clips[0]["notes"]


def test_a_clip_comes_back_from_what_it_says_of_itself(api):
    clip = api.ask("generate", n=4, temperature=1.2, seed=11)["clips"][3]
    how = {key: clip[key] for key in ("model", "temperature", "seed", "index")}
    same = api.ask("decode", z=[clip["z"]], **how)["clips"][0]
    assert same == clip
    assert api.ask("bend", z=clip["z"], amounts={}, **how)["clip"] == clip
    assert api.ask("vary", z=clip["z"], amount=0, n=2, targets=5, **how)["clips"] == [clip, clip]
    assert api.ask("walk", corners=[clip["z"]] * 2, at=[0], **how)["clip"] == clip
    other = api.ask("decode", z=[clip["z"]], **{**how, "index": None})["clips"][0]
    assert other["notes"] != clip["notes"]  # other noise, or the index would mean nothing


def test_walk_goes_the_way_of_interpolate_and_grid(api, toy_models, z_text):
    corners = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    texts = [z_text(c) for c in corners]
    drawn = {"temperature": 0.8, "seed": 2}
    line = toy_models["piano"].interpolate(*corners[:2], steps=5, **drawn)
    for i, score in enumerate(line):
        assert api.ask("walk", corners=texts[:2], at=[i / 4], **drawn)["clip"]["notes"] == notes(score)
    square = toy_models["piano"].grid(list(corners), steps=3, **drawn)
    for y, row in enumerate(square):
        for x, score in enumerate(row):
            assert api.ask("walk", corners=texts, at=[x / 2, y / 2], **drawn)["clip"]["notes"] == notes(score)
    assert api.ask("walk", corners=texts, at=[1, 0])["clip"]["z"] == texts[1]


def test_bend_moves_along_the_vectors_and_says_how_far(api, toy_models, z_text, z_values):
    z = np.linspace(-1, 1, 6, dtype=np.float32)
    amounts = {"density": 1.5, "register": -0.5}
    drawn = {"temperature": 0.7, "seed": 4}
    found = api.ask("bend", z=z_text(z), amounts=amounts, **drawn)
    model = toy_models["piano"]
    moved = model.move(z, amounts)
    before, after = model.decode(np.stack([z, moved]), **drawn)
    counts = count_notes(before, after)
    assert found["clip"]["notes"] == notes(after)
    assert np.array_equal(z_values(found["clip"]["z"]), moved)
    distance = found["distance"]
    assert distance["latent"] == pytest.approx(np.linalg.norm(moved - z), abs=1e-3)
    assert distance["relative"] == pytest.approx(distance["latent"] / np.sqrt(12), abs=1e-3)
    assert (distance["notes_kept"], distance["notes_before"], distance["notes_after"]) == counts[:3]
    still = api.ask("bend", z=z_text(z), amounts={"density": 0}, **drawn)["distance"]
    assert still["latent"] == 0
    assert still["notes_kept"] == still["notes_before"] == still["notes_after"] == len(before)


def test_vary_makes_the_clips_of_vary(api, toy_models, z_text):
    z = np.linspace(-1, 1, 6, dtype=np.float32)
    clips = api.ask("vary", z=z_text(z), amount=0.4, n=3, temperature=0.9, seed=6)["clips"]
    assert rows(clips) == [notes(s) for s in toy_models["piano"].vary(z, amount=0.4, n=3, temperature=0.9, seed=6)]
    others = api.ask("vary", z=z_text(z), amount=0.4, n=3, temperature=0.9, seed=6, targets=7)["clips"]
    assert {c["z"] for c in others}.isdisjoint(c["z"] for c in clips)


# ------------------------------------------------------------------------------------------------------- files
def test_encode_gives_windows_with_original_and_reconstruction(api, toy_models, toy_songs, z_text):
    song, model = toy_songs[5], toy_models["piano"]
    data = midi_bytes(song)
    found = upload(api, data, temperature=0.5, seed=3)
    reading = read_bytes(data, "song.mid")
    assert found["bars"] == song.bars
    assert (found["notes_found"], found["notes_kept"]) == (len(song), len(reading.score))
    assert found["changes"] == [{"reason": c.reason, "notes": c.notes} for c in reading.report.changes]
    assert [w["first_bar"] for w in found["windows"]] == list(range(0, song.bars, 2))
    vectors = model.encode(reading)
    for window, original, z in zip(found["windows"], model.windows(reading), vectors, strict=True):
        assert window["original"]["notes"] == notes(original)
        assert window["original"]["z"] is None
        assert window["original"]["tempo"] == window["reconstruction"]["tempo"] == pytest.approx(song.tempo, abs=1e-3)
        copy = model.decode(z, temperature=0.5, seed=3)[0]
        assert window["reconstruction"]["notes"] == notes(copy)
        assert window["reconstruction"]["z"] == z_text(z)
        assert window["notes_kept"] == count_notes(original, copy).matched
        assert window["changes"] == [
            {"reason": c.reason, "notes": c.notes} for c in model.codec.encode(original).changes
        ]
    again = api.ask("decode", z=[found["windows"][1]["reconstruction"]["z"]], temperature=0.5, seed=3)
    assert rows(again["clips"]) == [found["windows"][1]["reconstruction"]["notes"]]


def test_encode_leaves_out_empty_windows_and_says_how_many_are_beyond_the_most(api):
    bars = [3, 4, 9, *range(11, 201)]
    song = Score.of([16 * b for b in bars], 60, 4, bars=201)
    found = upload(api, midi_bytes(song))
    assert [w["first_bar"] for w in found["windows"]][:4] == [3, 9, 11, 13]
    assert found["windows"][-1]["first_bar"] == 3 + 62
    assert len(found["windows"]) + found["windows_left_out"] == len({(b - 3) // 2 for b in bars})


def test_encode_counts_other_meters_in_four_when_asked(api):
    waltz = midi_bytes(Score.of(np.arange(0, 120, 3), 60, 2, meter=(3, 4)))
    refused = upload(api, waltz, expect=422)
    assert "3/4" in refused["error"]
    assert "any_meter=1" in refused["hint"]
    assert upload(api, waltz, any_meter=1)["windows"]


def test_encode_reads_the_parts_of_the_model(api):
    piano = Score.of([0, 4, 8], [60, 64, 67], 4)
    found = upload(api, midi_bytes(piano), model="melody")
    assert [n[4] for n in found["windows"][0]["original"]["notes"]] == [1, 1, 1]
    drums = midi_bytes(Score.of([0, 4], 36, 1, part=3))
    error = upload(api, drums, model="melody", expect=422)["error"]
    assert "drums" in error
    assert "--" not in error


@pytest.mark.parametrize("kind", ["application/octet-stream", "audio/midi", "audio/x-midi; charset=binary"])
def test_encode_takes_the_types_that_browsers_send(api, kind):
    assert upload(api, midi_bytes(Score.of([0], 60, 4)), kind=kind)["windows"]


def test_a_midi_file_holds_the_clip(api):
    answer = api.post("/api/midi", json={"clip": {**CLIP, "z": "anything else", "name": "a clip"}})
    assert answer.headers["content-type"] == "audio/midi"
    assert "musicvae.mid" in answer.headers["content-disposition"]
    score = read_bytes(answer.content, "x.mid").score
    assert notes(score) == CLIP["notes"]
    assert score.tempo == pytest.approx(96, abs=1e-3)
    assert score.bars == 2


def test_clips_follow_one_another_in_one_file(api):
    second = {"bars": 1, "notes": [[0, 1, 72, 60, 0]], "tempo": 200}
    score = read_bytes(api.post("/api/midi", json={"clips": [CLIP, second, CLIP]}).content, "x.mid").score
    assert score.bars == 5
    assert score.tempo == pytest.approx(96, abs=1e-3)
    assert notes(score.cut(2, 1)) == second["notes"]
    assert notes(score.cut(3, 2)) == CLIP["notes"]


def test_a_generated_clip_can_be_sent_as_it_came(api):
    clip = api.ask("generate", n=1, temperature=1)["clips"][0]
    assert notes(read_bytes(api.post("/api/midi", json={"clip": clip}).content, "x.mid").score) == clip["notes"]


def test_a_wav_file_sounds(api):
    answer = api.post("/api/wav", json={"clip": CLIP})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 44_100, 2)
        assert file.getnframes() >= 5 * 44_100  # two bars at 96 beats a minute
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    assert np.abs(samples).max() > 1000


def test_clips_are_heard_at_their_own_tempo(api):
    quick = api.post("/api/wav", json={"clip": {**CLIP, "tempo": 400}})
    slow = api.post("/api/wav", json={"clip": {**CLIP, "tempo": 100}})
    assert len(slow.content) - len(quick.content) == pytest.approx(
        4 * 44_100 * (4.8 - 1.2), rel=0.2
    )  # what rings on after the end differs


# -------------------------------------------------------------------------------------------------------- pages
def test_static_files_come_with_their_type_and_are_not_sent_twice(toy_models, client, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.js").write_text("export {}")
    (tmp_path.parent / "secret.txt").write_text("secret")
    with client(toy_models, static=tmp_path) as api:
        page = api.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        script = api.get("/static/deep/a.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert script.text == "export {}"
        again = api.get("/static/deep/a.js", headers={"if-none-match": script.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        (tmp_path / "deep" / "a.js").write_text("export { }")
        assert api.get("/static/deep/a.js", headers={"if-none-match": script.headers["etag"]}).text == "export { }"
        for name in (
            "../secret.txt",
            "%2e%2e/secret.txt",
            "deep",
            "deep/",
            "",
            "/etc/passwd",
            "deep%2f..%2f..%2fsecret.txt",
            "a%00",
        ):
            assert api.get(f"/static/{name}").status_code == 404


def test_without_a_page_the_api_still_answers(toy_models, client, tmp_path):
    with client(toy_models, static=tmp_path / "absent") as api:
        assert api.get("/").status_code == 404
        assert api.get("/api/models").status_code == 200
