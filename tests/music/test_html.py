"""What notebooks show."""

from __future__ import annotations

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import musicvae
from musicvae.music import PARTS, Reading, Report, Score
from musicvae.music.html import MOST, clips_html, score_html
from musicvae.music.score import Clips


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def frame(html: str) -> str:
    """The page inside the first frame."""
    return Page(html).all("iframe")[0]["srcdoc"] or ""


@pytest.fixture(scope="module")
def score() -> Score:
    """Sixteen bars of four parts, 32 notes a bar."""
    rng = np.random.default_rng(3)
    n = 512
    return Score.of(rng.integers(0, 256, n), rng.integers(30, 90, n), 2, rng.integers(1, 128, n), rng.integers(0, 4, n))


def test_a_score_shows_its_roll_and_a_player(score):
    html = score._repr_html_()
    page = Page(html)
    picture = page.all("img")[0]
    svg = base64.b64decode((picture["src"] or "").removeprefix("data:image/svg+xml;base64,"))
    assert len([e for e in ET.fromstring(svg).iter() if "fill-opacity" in e.attrib]) == len(score)
    inside = Page(frame(html))
    assert [b["aria-label"] for b in inside.all("button")] == ["Play"]
    assert [i["aria-label"] for i in inside.all("input")] == ["Position"]
    assert inside.all("html")[0]["lang"] == "en"
    for named in (picture["alt"], page.all("iframe")[0]["title"]):
        assert "512 notes in 16 bars of 4/4" in (named or "")


def test_the_player_has_every_note(score):
    found = re.search(r"^const CLIP = (.*);$", frame(score_html(score)), re.MULTILINE)
    assert found is not None
    clip = json.loads(found[1])
    np.testing.assert_array_equal(np.array(clip["notes"]).T, score.columns)
    assert (clip["steps"], clip["perBar"], clip["seconds"]) == (256, 16, 32.0)


def test_nothing_is_fetched_and_a_clip_is_small(score):
    html = score_html(score)
    assert len(html) < 200_000
    addresses = re.findall(r"\b(?:https?:)?//[\w.]+|@import|\bimport\b|fetch\(", html + frame(html))
    assert addresses == []
    for tag, attributes in Page(html).tags + Page(frame(html)).tags:
        assert (attributes.get("src") or "data:").startswith("data:"), tag
        assert "href" not in attributes


def test_what_comes_from_files_is_text():
    nasty = """<script>alert("1")</script>'"&amp;</iframe>.mid"""
    reading = Reading(Score.of([0], [60], 4), Report(nasty, 1, 1, ()))
    page = Page(reading._repr_html_())
    assert page.text.startswith(nasty)
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == f"Piano roll: {nasty}"
    assert page.all("iframe")[0]["title"] == f"Player: {nasty}"
    assert [tag for tag, _ in Page(frame(reading._repr_html_())).tags].count("script") == 1


def test_lists_of_clips_show_them_side_by_side(score):
    html = Clips([score] * 3)._repr_html_()
    assert [i["alt"] for i in Page(html).all("img")] == [
        f"Piano roll: Clip {i}: 512 notes in 16 bars" for i in (1, 2, 3)
    ]
    assert Clips([score]) == [score]
    assert Clips([])._repr_html_()
    many = clips_html([Score.of([0], [60], 4)] * (MOST + 7))
    assert len(Page(many).all("iframe")) == MOST
    assert "and 7 more" in Page(many).text


def test_squares_of_clips_keep_their_rows():
    html = Clips([Clips([Score.of([0], [60 + i], 4) for i in range(3)])] * 2)._repr_html_()
    assert "grid-template-columns:repeat(3," in html
    assert len(Page(html).all("iframe")) == 6


def test_what_the_engine_returns_is_shown(toy_bundle):
    model = musicvae.load(toy_bundle())
    clips = model.sample(3)
    a, b, c = clips
    shown = (clips, model.interpolate(a, b, steps=2), model.grid([a, b, c, a], steps=2), model.vary(a, n=1))
    for result in (*shown, model.windows(a), model.reconstruct(a)):
        assert "<iframe" in result._repr_html_()


def test_the_voices_are_those_of_the_page():
    """One module is made of the page's voices and the player: what it calls is there, and nothing is imported."""
    package = Path(musicvae.__file__).parent
    voices = (package / "web/static/voices.js").read_text(encoding="utf-8")
    assert {"piano", "melody", "bass", "drum", "drumOf", "room"} <= set(
        re.findall(r"^export function (\w+)", voices, re.M)
    )
    assert not re.search(r"^import ", voices, re.MULTILINE)
    player = (package / "music/player.js").read_text(encoding="utf-8")
    assert "[piano, melody, bass][part]" in player
    assert PARTS == ("piano", "melody", "bass", "drums")  # the player counts on it


def test_it_plays_in_a_browser(score, tmp_path):
    """By keyboard alone, in a frame, with the time going on; a second clip stops the first."""
    sync = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    page_file = tmp_path / "notebook.html"
    page_file.write_text(f"<!doctype html><meta charset=utf-8>{Clips([score, score])._repr_html_()}", encoding="utf-8")
    state = "[document.getElementById('play').ariaLabel, Number(document.getElementById('at').value)]"
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_file.as_uri())
        first, second = (page.frames[i] for i in (1, 2))
        first.wait_for_selector("#play:not([disabled])").focus()
        page.keyboard.press("Enter")
        first.wait_for_function("Number(document.getElementById('at').value) > 1")
        assert first.evaluate(state)[0] == "Pause"
        second.focus("#play")
        page.keyboard.press("Space")
        first.wait_for_function("document.getElementById('play').ariaLabel == 'Play'")
        second.wait_for_function("document.getElementById('play').ariaLabel == 'Pause'")
        second.focus("#at")
        page.keyboard.press("End")
        second.wait_for_function("document.getElementById('play').ariaLabel == 'Play'")  # the end is the end
        browser.close()
    assert errors == []
