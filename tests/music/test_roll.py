from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musicvae.music import Score
from musicvae.music.roll import roll_svg

SVG = "{http://www.w3.org/2000/svg}"


def notes_of(svg: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter(f"{SVG}rect") if "fill-opacity" in e.attrib]


@given(
    st.lists(st.tuples(st.integers(0, 127), st.integers(0, 127), st.integers(1, 300)), max_size=20),
    st.integers(8, 2000),
)
def test_every_note_is_drawn_inside_the_picture(notes, bars):
    score = Score.of(*zip(*notes, strict=True), bars=bars) if notes else Score.of([], [], [], bars=bars)
    drawn = notes_of(roll_svg(score, width=600, height=200))
    assert len(drawn) == len(notes)
    for rect in drawn:
        x, y, width, height = (float(rect.attrib[n]) for n in ("x", "y", "width", "height"))
        assert 0 <= x <= x + width <= 600
        assert 0 <= y <= y + height <= 200


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (6, 8), (5, 2)])
def test_bars_are_numbered_and_every_c_is_named(meter):
    score = Score.of([0, 30], [48, 73], 4, bars=4, meter=meter)
    texts = [e.text for e in ET.fromstring(roll_svg(score)).iter(f"{SVG}text")]
    assert texts == ["1", "2", "3", "4", "C3", "C4", "C5"]


def test_higher_notes_are_higher_and_louder_ones_stronger():
    low, high = notes_of(roll_svg(Score.of([0, 4], [60, 72], 4, [20, 120])))
    assert float(low.attrib["y"]) > float(high.attrib["y"])
    assert float(low.attrib["fill-opacity"]) < float(high.attrib["fill-opacity"])


def test_the_title_is_escaped():
    root = ET.fromstring(roll_svg(Score.of([0], [60], 4), title="a <b> & c"))
    assert root.findtext(f"{SVG}title") == "a <b> & c"
