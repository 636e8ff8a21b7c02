"""Show Scores in a notebook: the piano roll and a player, in HTML that needs nothing else.

The picture is an image, so that it stays where scripts are taken out (GitHub, notebooks that are not trusted). Over it
lies a frame with the player, whose script knows nothing of the notebook and the other way round. It makes its sound in
the browser, with the voices of the playground's page: 30 kB a clip where a WAV would take 2 MB. `musicvae.music.render`
makes the better sound.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

from musicvae.music.roll import BOTTOM, LEFT, RIGHT, TOP, roll_svg
from musicvae.music.score import Score

__all__ = ["clips_html", "score_html"]

MOST = 25
"""Clips of a list that are shown."""
_BAR = 40
"""Height of the controls in pixels."""
_PACKAGE = Path(__file__).parents[1]
_FRAME = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Player</title><style>
html,body{{margin:0;height:100%;overflow:hidden;font:13px system-ui,sans-serif;color:#2b2924}}
#roll{{position:absolute;top:0;bottom:{bar}px;left:{left:.2f}%;right:{right:.2f}%;cursor:pointer}}
#head{{position:absolute;top:{top:.2f}%;bottom:{bottom:.2f}%;width:2px;margin-left:-1px;background:#c2410c;
pointer-events:none}}
#bar{{position:absolute;left:0;right:0;bottom:0;height:{bar}px;display:flex;align-items:center;gap:8px;
background:#faf9f6;border-radius:0 0 8px 8px;padding:0 10px;box-sizing:border-box;box-shadow:0 -6px #faf9f6}}
button{{width:34px;height:28px;border:1px solid #8a857a;border-radius:6px;background:#fff;color:#2b2924;cursor:pointer}}
input{{flex:1;min-width:40px;accent-color:#2f6db5}}
:focus-visible{{outline:3px solid #2f6db5;outline-offset:1px}}
</style><div id="roll"><div id="head"></div></div><div id="bar">
<button id="play" aria-label="Play">▶</button>
<input id="at" type="range" min="0" max="{steps}" step="any" value="0" aria-label="Position">
<span id="clock"></span></div><script type="module">
const CLIP = {clip};
{script}
</script></html>"""


def score_html(score: Score, *, title: str = "", width: int = 960, height: int = 320) -> str:
    """Return a piano roll of `width` × `height` pixels with a player below, as a piece of HTML.

    `title` is text, not HTML; screen readers say it. The picture shrinks where there is less room.
    """
    what = title or f"{len(score)} notes in {score.bars} bars of {score.meter[0]}/{score.meter[1]}"
    picture = base64.b64encode(roll_svg(score, width=width, height=height, title=title).encode()).decode()
    clip = {
        "notes": [list(note) for note in zip(*(column.tolist() for column in score.columns), strict=True)],
        "steps": score.bars * score.steps_per_bar,
        "perBar": score.steps_per_bar,
        "seconds": round(score.seconds, 4),
    }
    frame = _FRAME.format(
        bar=_BAR,
        top=100 * TOP / height,
        bottom=100 * BOTTOM / height,
        left=100 * LEFT / width,
        right=100 * RIGHT / width,
        steps=clip["steps"],
        clip=json.dumps(clip, separators=(",", ":")),
        script=_script(),
    )
    return (
        f'<div style="position:relative;max-width:{width}px;padding-bottom:{_BAR}px;margin:4px 0">'
        f'<img alt="Piano roll: {escape(what)}" src="data:image/svg+xml;base64,{picture}"'
        ' style="display:block;width:100%;max-width:none;margin:0">'
        f'<iframe title="Player: {escape(what)}" srcdoc="{escape(frame)}" loading="lazy" allow="autoplay" style="'
        'position:absolute;top:0;left:0;width:100%;height:100%;border:0;color-scheme:light"></iframe></div>'
    )


def clips_html(clips: Sequence[Score | Sequence[Score]]) -> str:
    """Return clips side by side as HTML; of a square of clips, each row as one. At most MOST clips are shown."""
    square = [list(row) for row in clips if not isinstance(row, Score)]
    scores = [clip for row in square for clip in row] or [clip for clip in clips if isinstance(clip, Score)]
    columns = f"repeat({len(square[0])},minmax(0,1fr))" if square else "repeat(auto-fill,minmax(min(300px,100%),1fr))"
    shown = [
        score_html(clip, title=f"Clip {number}: {len(clip)} notes in {clip.bars} bars", width=480, height=200)
        for number, clip in enumerate(scores[:MOST], 1)
    ]
    more = f"<p>and {len(scores) - MOST} more</p>" if len(scores) > MOST else ""
    return f'<div style="display:grid;gap:8px;grid-template-columns:{columns}">{"".join(shown)}</div>{more}'


@cache
def _script() -> str:
    """Return the player's script, comments left out."""
    files = (_PACKAGE / "web" / "static" / "voices.js", _PACKAGE / "music" / "player.js")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("//"))
