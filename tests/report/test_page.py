"""The page: whole, alone, for everybody, the same each time; and nothing in a name is ever run."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("jinja2")

from musicvae.report import page
from musicvae.report.page import report_html
from musicvae.report.pictures import Mark, strip

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements in order, with their attributes and their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(params=["piano", "melody", "drums", "trio"])
def kind(request) -> str:
    return request.param


def test_whole_and_alone(measured, kind):
    text = report_html(measured(kind), "musicvae report a b")
    read = Page(text)
    for _, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            if (value := attributes.get(name)) is not None:
                assert value.startswith(("#", "data:"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import", text)
    assert not read.all("script")  # those of the players are in frames
    ids = {a["id"] for _, a in read.elements if a.get("id")}
    assert {a["href"].removeprefix("#") for a in read.all("a")} <= ids
    assert read.text.count("How it was counted.") >= len(page.MODES)
    assert "musicvae report a b" in read.text


def test_for_readers_of_all_kinds(measured, kind):
    read = Page(report_html(measured(kind)))
    assert read.all("html")[0]["lang"] == "en"
    levels = [int(name[1]) for name, _ in read.elements if re.fullmatch("h[1-6]", name)]
    assert levels[:2] == [1, 2]
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    names = [name for name, _ in read.elements]
    for at, (name, attributes) in enumerate(read.elements):
        if name == "svg":
            assert attributes.get("aria-hidden") == "true" or (
                attributes.get("role") == "img" and names[at + 1] == "title"
            )
        if name == "th":
            assert attributes["scope"] in ("col", "row")
        if name == "img":
            assert attributes["alt"]
        if name == "iframe":
            assert attributes["title"]
    assert len(read.all("iframe")) == len(read.all("img")) >= 6


def test_every_feature_is_drawn_or_named(measured, kind):
    found = measured(kind)
    read = Page(report_html(found))
    assert [a["class"] for a in read.all("svg")].count("densities") == len(found.heard)
    for one in found.unheard:
        assert one.feature.replace("_", " ") in read.text


def test_names_are_shown_and_not_run(measured, hostile):
    text = report_html(measured(), f"musicvae report '{hostile}'")
    read = Page(text)
    assert "onerror" not in {name for _, attributes in read.elements for name in attributes}
    assert len(read.all("img")) == len(read.all("iframe"))
    assert hostile in read.text
    assert "<img src=x" not in text
    for frame in read.all("iframe"):  # what a frame holds is a page of its own
        inner = Page(str(frame["srcdoc"]))
        assert not inner.all("img")


def test_the_same_each_time(measured):
    assert report_html(measured()) == report_html(measured())


def test_figures_stand_in_the_tables(measured):
    found = measured()
    text = Page(report_html(found)).text
    heard = found.comparison.listener
    assert heard is not None
    assert f"{100 * heard.accuracy:.1f}\u00a0%" in text
    for name, row in found.reconstruction["table"].items():
        assert f"{row['greedy']['onset_f1']['value']:.3f}" in text, name
    for row in found.heard:
        assert f"{row.halves.mean.overlap:.3f}" in text
        assert f"{row.ceiling.mean.overlap:.3f}" in text


def test_too_little_is_said(measured):
    found = measured(split="test", clips=6)
    text = Page(report_html(found)).text
    assert "What could not be measured" in text
    assert all(one in text for one in found.left_out)
    assert "nan" not in text


def test_strips_end_where_their_scale_ends():
    drawn = str(strip([Mark("real", 5.0, -3.0, 9.0)], "said <b>"))
    places = [float(x) for x in re.findall(r"[MH](-?[\d.]+)", drawn)]
    assert 0 <= min(places) <= max(places) <= 190
    assert "<b>" not in drawn


# ------------------------------------------------------------------------------------------------------- to be seen
def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_in_both_themes(theme):
    style = (Path(page.__file__).parent / "style.css").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL) if "--paper" in block]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", blocks[theme]))
    for name in ("ink", "soft", "generated", "link"):  # text: WCAG 2.2, 1.4.3
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    assert contrast(colours["ink"], colours["faint"]) >= 4.5
    for name in ("real", "generated", "baseline"):  # what is drawn: 1.4.11
        assert contrast(colours[name], colours["paper"]) >= 3, name


@pytest.fixture(scope="module")
def written(measured, tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report_html(measured()), encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (375, "light")])
def test_in_a_browser(browser, shots, written, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = context.new_page()
    complaints, asked = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append(dialog.message))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(written)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    frame = tab.locator("iframe").first
    frame.scroll_into_view_if_needed()
    player = tab.frame_locator("iframe").first
    player.get_by_role("button", name="Play").click()
    player.get_by_role("button", name="Pause").click()
    tab.screenshot(path=shots / f"report-{width}-{scheme}.png", full_page=True)
    assert not complaints
    assert not [url for url in asked if not url.startswith(("file:", "data:", "about:"))]
    context.close()


def test_prints_on_white_whatever_the_theme(browser, written):
    context = browser.new_context(viewport={"width": 700, "height": 900}, color_scheme="dark")
    tab = context.new_page()
    tab.goto(written)
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)" != dark
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(34, 37, 43)"
    assert not tab.locator("iframe").first.is_visible()
    context.close()
