"""Bad input: always one clear sentence, never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Z = "AACAPwAAAEAAAEBAAACAQAAAoEAAAMBA"  # 1, 2, … 6
CLIP: dict[str, Any] = {"bars": 1, "notes": [[0, 4, 60, 72, 0]]}

BAD = [
    ("generate", {"n": 0}, "n is 0; wanted a whole number from 1 to 64", "n"),
    ("generate", {"n": 65}, "n is 65", "n"),
    ("generate", {"n": 2.5}, "n is 2.5", "n"),
    ("generate", {"n": True}, "n is true", "n"),
    ("generate", {"n": "4"}, 'n is "4"', "n"),
    ("generate", {"n": None}, "n is null", "n"),
    ("generate", {"n": 10**400}, "n is 1000", "n"),
    ("generate", {"temperature": 2.1}, "temperature is 2.1; wanted a number from 0 to 2", "temperature"),
    ("generate", {"temperature": -0.1}, "temperature is -0.1", "temperature"),
    ("generate", {"temperature": 10**400}, "temperature is 1", "temperature"),
    ("generate", {"temperature": []}, "temperature is a list", "temperature"),
    ("generate", {"seed": -1}, "seed is -1", "seed"),
    ("generate", {"seed": 2**53}, "seed is 9007199254740992", "seed"),
    ("generate", {"index": 0}, 'there is no field "index"', "index"),
    ("generate", {"tempertaure": 1}, 'there is no field "tempertaure"', "tempertaure"),
    ("decode", {}, "the field z is missing", "z"),
    ("decode", {"z": Z}, 'z is "AAC', "z"),
    ("decode", {"z": []}, "z has 0 entries; wanted a list of 1 to 64", "z"),
    ("decode", {"z": [Z] * 65}, "z has 65 entries", "z"),
    ("decode", {"z": [Z, 5]}, "z[1] is 5; wanted 6 little-endian float32 in base64url", "z"),
    ("decode", {"z": ["AACA"]}, "z[0] has 3 bytes; wanted 24", "z"),
    ("decode", {"z": ["AACA*wAAAEAAAEBAAACAQAAAoEAAAMBA"]}, "z[0] is not base64url", "z"),
    ("decode", {"z": ["é" * 32]}, "z[0] is not base64url", "z"),
    ("decode", {"z": [Z[:-1]]}, "z[0] ", "z"),
    ("decode", {"z": ["AADAfwAAAEAAAEBAAACAQAAAoEAAAMBA"]}, "z[0] has coordinates", "z"),  # NaN
    ("decode", {"z": ["AACAfwAAAEAAAEBAAACAQAAAoEAAAMBA"]}, "z[0] has coordinates", "z"),  # infinity
    ("decode", {"z": ["__9_fwAAAEAAAEBAAACAQAAAoEAAAMBA"]}, "z[0] has coordinates", "z"),  # 3e38
    ("decode", {"z": [Z], "index": 64}, "index is 64", "index"),
    ("decode", {"z": [Z], "index": -1}, "index is -1", "index"),
    ("walk", {"corners": [Z, Z, Z], "at": [0]}, "corners has 3 entries; wanted 2 or 4", "corners"),
    ("walk", {"corners": [Z, Z], "at": [0.5, 0.5]}, "at has 2 entries; wanted a list of 1", "at"),
    ("walk", {"corners": [Z, Z], "at": [1.01]}, "at[0] is 1.01", "at"),
    ("walk", {"corners": [Z, Z], "at": 0.5}, "at is 0.5", "at"),
    ("walk", {"corners": [Z, Z]}, "the field at is missing", "at"),
    ("bend", {"z": Z, "amounts": {"swing": 1}}, 'the model has no attribute "swing"', "amounts"),
    ("bend", {"z": Z, "amounts": {"density": 3.5}}, "amounts.density is 3.5; wanted a number from -3 to 3", "amounts"),
    ("bend", {"z": Z, "amounts": {"density": None}}, "amounts.density is null", "amounts"),
    ("bend", {"z": Z, "amounts": [1]}, "amounts is a list", "amounts"),
    ("bend", {"z": [Z], "amounts": {}}, "z is a list", "z"),
    ("vary", {"z": Z, "amount": 1.5}, "amount is 1.5; wanted a number from 0 to 1", "amount"),
    ("vary", {"z": Z, "targets": "x"}, 'targets is "x"', "targets"),
    ("midi", {}, "wanted either clip or clips", None),
    ("midi", {"clip": CLIP, "clips": [CLIP]}, "wanted either clip or clips", None),
    ("midi", {"clip": []}, "clip is no object", "clip"),
    ("midi", {"clip": {}}, "clip: bars is not a whole number", "clip"),
    ("midi", {"clips": []}, "clips has 0 entries", "clips"),
    ("midi", {"clips": [CLIP, {**CLIP, "bars": 0}]}, "clips[1]: bars is not a whole number", "clips"),
    ("midi", {"clips": [CLIP, {**CLIP, "steps_per_beat": 8}]}, "the clips have different grids", "clips"),
    ("midi", {"clips": [{**CLIP, "bars": 9999}] * 2}, "the clips have 19998 bars; wanted at most 10000", "clips"),
    ("midi", {"clip": {**CLIP, "steps_per_beat": 5}}, "clip: steps_per_beat is 5", "clip"),
    ("midi", {"clip": {**CLIP, "tempo": 1000}}, "clip: tempo is not a number from 20 to 400", "clip"),
    ("midi", {"clip": {**CLIP, "tempo": "fast"}}, "clip: tempo is not a number", "clip"),
    ("midi", {"clip": {**CLIP, "notes": None}}, "clip: notes are not a list", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[0, 4, 60, 72]]}}, "clip: notes[0] is not five whole numbers", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[0, 4.5, 60, 72, 0]]}}, "clip: notes[0] is not five", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[0, 4, 60, 10**30, 0]]}}, "clip: notes[0] is not five", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[16, 1, 60, 72, 0]]}}, "clip: onset of note 0 is 16", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[0, 1, 128, 72, 0]]}}, "clip: pitch of note 0 is 128", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[0, 1, 60, 0, 0]]}}, "clip: velocity of note 0 is 0", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[0, 1, 60, 72, 4]]}}, "clip: part of note 0 is 4", "clip"),
    ("midi", {"clip": {**CLIP, "notes": [[8, 9, 60, 72, 0]]}}, "clip: a note sounds past the last bar", "clip"),
    ("wav", {"clip": {**CLIP, "bars": 1000}}, "the music lasts 2000 seconds; wanted at most 240", None),
]


@pytest.mark.parametrize(("name", "fields", "error", "field"), BAD)
def test_a_bad_field_is_named(api, name, fields, error, field):
    found = api.ask(name, 400, **fields)
    assert found["error"].startswith(error)
    assert found.get("field") == field
    assert len(found["error"]) < 200


def test_a_misspelt_field_is_guessed(api):
    assert api.ask("generate", 400, tempertaure=1)["hint"] == "Did you mean temperature?"


@pytest.mark.parametrize("name", ["../piano", "/etc/passwd", "", "Piano", "piano\0", "\ud800", 5, None, ["piano"]])
def test_a_model_is_one_of_the_list(api, name):
    answer = api.post(
        "/api/generate", content=json.dumps({"model": name}), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no such model", "hint": "There are: piano, melody.", "field": "model"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b"\x00" * 50,
        b"[" * 200_000,
        b'{"n":' * 50_000,
        b'{"n": NaN}',
        b'{"temperature": Infinity}',
        b'{"temperature": -Infinity}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"clip": {"bars": 1, "notes": [], "anything": NaN}}',
        b"a=1&b=2",
    ],
)
def test_what_is_not_json_is_refused(api, body):
    answer = api.post("/api/generate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the body is ")


@pytest.mark.parametrize("body", [b'{"\\ud800": 1}', b'{"n": "\\ud800"}', b'{"n\\u0000": 1}'])
def test_texts_that_utf_8_cannot_write_are_refused(api, body):
    answer = api.post("/api/generate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "\\u" in answer.json()["error"]


def test_a_number_beyond_all_floats_is_refused(api):
    answer = api.post("/api/generate", content=b'{"temperature": 1e999}', headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["field"] == "temperature"


def test_a_body_of_another_type_is_refused(api):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x" * 500):
        answer = api.post("/api/generate", content=b"{}", headers={"content-type": kind})
        assert answer.status_code == 415
        assert "application/json" in answer.json()["error"]
    assert api.post("/api/generate", content=b"{}").status_code == 415
    assert api.post("/api/encode", content=b"MThd", headers={"content-type": "text/plain"}).status_code == 415


def test_a_body_beyond_2_mb_is_refused(api):
    for name, kind in (("generate", "application/json"), ("encode", "audio/midi")):
        answer = api.post(f"/api/{name}", content=b" " * (2 * 2**20 + 1), headers={"content-type": kind})
        assert answer.status_code == 413
        assert "2 MB" in answer.json()["error"]
    fits = b"{}" + b" " * (2 * 2**20 - 2)
    assert api.post("/api/generate", content=fits, headers={"content-type": "application/json"}).status_code == 200
    pieces = (b" " * 2**18 for _ in range(9))  # no Content-Length
    answer = api.post("/api/generate", content=pieces, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_more_notes_than_fit_are_refused(api):
    notes = [[0, 1, 60, 72, 0]] * 30_000
    assert "50,000" in api.ask("midi", 413, clips=[{"bars": 1, "notes": notes}] * 2)["error"]
    assert "6,000 for sound" in api.ask("wav", 413, clip={"bars": 1, "notes": notes[:6001]})["error"]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"any_meter": "yes"}, 'any_meter is "yes"'),
        ({"any_meter": 2}, "any_meter is 2"),
        ({"temperature": "nan"}, 'temperature is "nan"'),
        ({"temperature": 3}, "temperature is 3"),
        ({"seed": "9" * 31}, "seed is 999"),
        ({"seed": "9" * 5000}, 'seed is "999'),
        ({"seed": "1.5"}, "seed is 1.5"),
        ({"path": "/etc/passwd"}, 'there is no field "path"'),
    ],
)
def test_a_bad_address_of_encode_is_refused(api, query, error):
    answer = api.post("/api/encode", params=query, content=b"MThd", headers={"content-type": "audio/midi"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/models/", "/static", "/index.html", "/%00"])
def test_other_addresses_are_not_there(api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"] == "there is nothing at this address"


def test_other_methods_are_refused(api):
    for method, path, allowed in (
        ("GET", "/api/generate", "POST"),
        ("POST", "/api/models", "GET"),
        ("DELETE", "/", "GET"),
        ("OPTIONS", "/api/generate", "POST"),  # what a browser asks before a page elsewhere may post JSON
    ):
        answer = api.request(method, path)
        assert answer.status_code == 405
        assert allowed in answer.headers["allow"]
        assert allowed in answer.json()["hint"]
        assert not [name for name in answer.headers if name.startswith("access-control")]


# -------------------------------------------------------------------------------------------------------- fuzzing
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1, 3)
    | st.text(max_size=40)
    | st.sampled_from([Z, Z + "==", "piano", "melody", "density"]),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | st.just("density"), inner, max_size=3)
    ),
    max_leaves=12,
)
NOTE = st.lists(st.integers(-1, 130), min_size=4, max_size=6)
CLIPS = st.fixed_dictionaries(
    {"bars": st.integers(-1, 3) | VALUES, "notes": st.lists(NOTE, max_size=4) | VALUES},
    optional={
        "steps_per_beat": st.sampled_from([4, 8, 5, 0, None]),
        "beats_per_bar": st.integers(-1, 18),
        "tempo": st.floats(0, 500) | VALUES,
        "z": VALUES,
    },
)
FIELDS = {
    "model": st.sampled_from(["piano", "melody"]) | VALUES,
    "n": st.integers(-1, 5) | VALUES,
    "temperature": st.floats(-0.5, 2.5) | VALUES,
    "seed": st.integers(-1) | VALUES,
    "index": st.none() | st.integers(-1, 65) | VALUES,
    "z": st.just(Z) | st.lists(st.just(Z), max_size=4) | VALUES,
    "corners": st.lists(st.just(Z), min_size=2, max_size=4) | VALUES,
    "at": st.lists(st.floats(0, 1), min_size=1, max_size=2) | VALUES,
    "amounts": st.dictionaries(st.sampled_from(["density", "register"]), st.floats(-3.5, 3.5)) | VALUES,
    "amount": st.floats(-0.5, 1.5) | VALUES,
    "targets": st.integers(-1) | VALUES,
}
KNOWN = {
    "generate": ("model", "n", "temperature", "seed"),
    "decode": ("model", "z", "temperature", "seed", "index"),
    "walk": ("model", "corners", "at", "temperature", "seed", "index"),
    "bend": ("model", "z", "amounts", "temperature", "seed", "index"),
    "vary": ("model", "z", "amount", "n", "targets", "temperature", "seed", "index"),
}
BODIES = st.sampled_from(sorted(KNOWN)).flatmap(
    lambda name: st.tuples(
        st.just(name), st.fixed_dictionaries({}, optional={f: FIELDS[f] for f in KNOWN[name]}) | VALUES
    )
) | st.tuples(
    st.just("midi"),
    st.fixed_dictionaries({}, optional={"clip": CLIPS | VALUES, "clips": st.lists(CLIPS, max_size=3) | VALUES})
    | VALUES,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(asked=BODIES)
def test_no_json_breaks_the_server(api, asked):
    name, content = asked
    answer = api.post(
        f"/api/{name}", content=json.dumps(content).encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400, 404, 413), answer.text
    if answer.status_code != 200:
        found = answer.json()
        assert found["error"]
        assert set(found) <= {"error", "hint", "field"}


@settings(max_examples=50)
@given(body=st.binary(max_size=200), name=st.sampled_from(["generate", "walk", "midi", "wav"]))
def test_no_bytes_break_the_server(api, body, name):
    answer = api.post(f"/api/{name}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
