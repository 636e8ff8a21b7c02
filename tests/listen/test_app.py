"""The server: what it tells, what it keeps, what it does with nonsense."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from musicvae.errors import DataError
from musicvae.listen.app import create_app
from musicvae.listen.design import DESIGNS, Test
from musicvae.listen.make import ANSWERS, TEST, clip_path
from musicvae.listen.store import Store
from musicvae.web.guard import HEADERS
from musicvae.web.server import listen, network_address

HERE = "http://127.0.0.1:8422"


class Api(TestClient):
    said: list[Any]

    def ask(self, name: str, expect: int = 200, **fields: Any) -> Any:
        answer = self.post(f"/api/{name}", json=fields)
        assert answer.status_code == expect, answer.text
        return answer.json()


@pytest.fixture(params=["human-or-machine", "pairs"])
def api(request: Any, test_folder: Any) -> Iterator[Api]:
    folder = test_folder(request.param)
    with Api(create_app(folder), base_url=HERE) as client:
        client.folder, client.plan = folder, Test.load(folder / TEST)  # type: ignore[attr-defined]
        yield client


def take(api: Api, experience: int = 2) -> str:
    """Take the whole test, always with the first answer."""
    state = api.ask("begin", experience=experience)
    key = state["listener"]
    while not state["done"]:
        answer = state["choices"][0]["value"]
        state = api.ask("answer", listener=key, number=state["number"], answer=answer)
    return key


def test_from_begin_to_end(api):
    about = api.get("/api/test").json()
    state = api.ask("begin", experience=2)
    key, numbers, heard = state.pop("listener"), [], []
    while not state["done"]:
        assert state["of"] == about["trials"] == api.plan.trials
        assert api.ask("state", listener=key) == state  # whoever comes back is where they were
        numbers.append(state["number"])
        heard.append(tuple(state["clips"]))
        for token in state["clips"]:
            sound = api.get(f"/clip/{token}.wav")
            assert sound.content == clip_path(api.folder, token).read_bytes()
        state = api.ask("answer", listener=key, number=state["number"], answer=state["choices"][-1]["value"])
    assert numbers == list(range(api.plan.trials + 1))
    assert api.ask("state", listener=key) == {"done": True, "of": api.plan.trials}
    (listener,), answers = Store(api.folder / ANSWERS, read_only=True).read()
    assert (listener.experience, listener.answered) == (2, api.plan.trials + 1)
    session = api.plan.session(listener.place)
    assert heard == [tuple(api.plan.clips[i].token for i in trial.clips) for trial in session]
    assert [row.trial for row in answers] == numbers


def test_nothing_that_is_sent_says_whose_a_clip_is(api):
    """Every response, its headers and its size are the same whatever the sources are."""
    said = []
    for path in (
        "/",
        "/api/test",
        "/static/main.js",
        "/static/listen.css",
        "/clip/nothing.wav",
        "/test.json",
        "/nothing",
    ):
        said.append(api.get(path))
    state = api.ask("begin", experience=0)
    key = state["listener"]
    keys, sizes = set(), set()
    while not state["done"]:
        keys |= set(state)
        for token in state["clips"]:
            sound = api.get(f"/clip/{token}.wav")
            said.append(sound)
            sizes.add(len(sound.content))
            keys |= {f"header {name}" for name in sound.headers}
            assert not {"last-modified", "etag", "date", "content-disposition"} & {h.lower() for h in sound.headers}
        # One answer right and one wrong in turn: what comes back must not tell which.
        answer = api.post(
            "/api/answer",
            json={"listener": key, "number": state["number"], "answer": state["choices"][state["number"] % 2]["value"]},
        )
        said.append(answer)
        state = answer.json()
    keys |= set(state)
    said.append(api.post("/api/answer", json={"listener": key, "number": 99, "answer": 0}))
    said.append(api.post("/api/state", json={"listener": "x"}))
    assert len(sizes) == 1
    assert {k for k in keys if not k.startswith("header")} == {
        "listener", "done", "number", "of", "clips", "question", "choices", "hear",
    }  # fmt: skip
    secret = [text for source in api.plan.sources for text in (source.label, source.of)]
    secret += [clip.what for clip in api.plan.clips] + ["catch", '"source"', "held-out", "bundle"]
    for answer in said:
        text = answer.content.decode("latin-1") if "audio" not in answer.headers["content-type"] else ""
        text += str(answer.headers)
        for word in secret:
            assert word not in text or "javascript" in answer.headers["content-type"], (word, answer.url)
        assert HEADERS.items() <= {k: answer.headers.get(k) for k in HEADERS}.items()
    for path in ("test.json", "answers.db", "../test.json", "%2e%2e/test.json", "static/../../test.json"):
        assert api.get(f"/{path}").status_code == 404
        assert api.get(f"/static/{path}").status_code == 404
        assert api.get(f"/clip/{path}").status_code == 404


def test_states_of_two_listeners_differ_only_in_what_they_hear(api):
    first = [api.ask("begin", experience=0) for _ in range(4)]
    orders = {tuple(state["clips"]) for state in first}
    assert len({state["listener"] for state in first}) == 4
    assert len(orders) == (2 if api.plan.design == "pairs" else 1)  # the practice, and the order of a pair
    if api.plan.design == "human-or-machine":  # which button is first is balanced
        assert {state["choices"][0]["value"] for state in first} == {0, 1}


def test_an_answer_twice_or_from_two_windows(api):
    state = api.ask("begin", experience=0)
    key, choices = state["listener"], [c["value"] for c in state["choices"]]
    one = api.ask("answer", listener=key, number=0, answer=choices[0])
    assert one["number"] == 1
    assert api.ask("answer", listener=key, number=0, answer=choices[1]) == one  # the first one stands
    assert "trial 1 comes first" in api.ask("answer", 409, listener=key, number=3, answer=choices[0])["error"]
    _, answers = Store(api.folder / ANSWERS, read_only=True).read()
    assert [row[:3] for row in answers] == [(1, 0, choices[0])]


def test_a_server_that_was_killed_goes_on(test_folder):
    folder = test_folder()
    with Api(create_app(folder), base_url=HERE) as api:
        key = api.ask("begin", experience=0)["listener"]
        state = api.ask("answer", listener=key, number=0, answer=1)
    with Api(create_app(folder), base_url=HERE) as api:
        assert api.ask("state", listener=key) == state


@pytest.mark.parametrize(
    ("name", "fields", "status", "error"),
    [
        ("begin", {}, 400, "the field experience is missing"),
        ("begin", {"experience": 6}, 400, "experience is 6; wanted a whole number from 0 to 5"),
        ("begin", {"experience": True}, 400, "experience is true"),
        ("begin", {"experience": 0, "name": "me"}, 400, 'there is no field "name"'),
        ("state", {}, 400, "the field listener is missing"),
        ("state", {"listener": 7}, 404, "nobody with this key"),
        ("state", {"listener": "x" * 10**5}, 404, "nobody with this key"),
        ("state", {"listener": "\ud800'; DROP TABLE answers; --"}, 404, "nobody with this key"),
        ("answer", {"listener": "x", "number": 0, "answer": 1}, 404, "nobody with this key"),
        ("answer", {"number": -1, "answer": 1}, 400, "number is -1"),
        ("answer", {"number": 10**30, "answer": 1}, 400, "number is 1000"),
        ("answer", {"number": 0, "answer": 9}, 400, "answer is 9"),
        ("answer", {"number": 0, "answer": "1"}, 400, 'answer is "1"'),
        ("answer", {"number": 0, "answer": None}, 400, "answer is null"),
        ("answer", {"number": 0}, 400, "the field answer is missing"),
    ],
)
def test_nonsense_is_answered_in_one_sentence(api, name, fields, status, error):
    if name == "answer" and "listener" not in fields:
        fields = {"listener": api.ask("begin", experience=0)["listener"], **fields}
    answer = api.post(f"/api/{name}", content=json.dumps(fields), headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"].startswith(error)


def test_a_flood_of_bad_requests_changes_nothing(api):
    key = take(api)
    before = Store(api.folder / ANSWERS, read_only=True).read()
    rng = np.random.default_rng(0)
    kinds = ["application/json", "text/plain", "application/x-www-form-urlencoded"]
    statuses = set()
    for i in range(150):
        path = ["/api/begin", "/api/state", "/api/answer", "/api/test", "/clip/x.wav", "/%00", "/static/%2e%2e%2f"][
            i % 7
        ]
        method = ["POST", "GET", "PUT", "DELETE"][int(rng.integers(4))]
        body = rng.bytes(int(rng.integers(200))) if i % 3 else b'{"listener": [[[[' + b"[" * 5000
        answer = api.request(method, path, content=body, headers={"content-type": kinds[i % 3]})
        statuses.add(answer.status_code)
        assert answer.status_code < 500, answer.text
    assert statuses <= {200, 400, 404, 405, 415}
    assert Store(api.folder / ANSWERS, read_only=True).read() == before
    assert api.ask("state", listener=key)["done"]
    for headers, status in (({"host": "evil.example"}, 421), ({"origin": "http://evil.example"}, 403)):
        assert api.post("/api/begin", json={"experience": 0}, headers=headers).status_code == status
    big = api.post("/api/begin", content=b"x" * (2**21 + 1), headers={"content-type": "application/json"})
    assert big.status_code == 413


def test_a_clip_that_is_gone_is_told_at_the_start(test_folder):
    folder = test_folder()
    clip_path(folder, Test.load(folder / TEST).clips[3].token).unlink()
    with pytest.raises(DataError, match=r"\.wav: is missing"):
        create_app(folder)


def test_the_address_for_others_is_there_if_they_can_reach_it():
    with listen("127.0.0.1", 0) as here:
        assert network_address(here) is None
    with listen("0.0.0.0", 0) as everywhere:
        found = network_address(everywhere)  # none on a machine without a network
        assert found is None or re.fullmatch(rf"http://[\d.]+:{everywhere.getsockname()[1]}/", found)


def test_the_texts_fit_the_designs():
    for design in DESIGNS.values():
        values = [value for value, _ in design.choices]
        assert len(set(values)) == len(values)
        assert re.search(r"\?$", design.question)
