"""A page on which scenes can be edited without a kernel and without a network."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dtis_core.display.scripts import STAGE, inert, module_of, style
from dtis_core.display.stage import packed_image
from dtis_core.display.stage_data import described, edits_of
from dtis_core.scenes.scene import Scene

PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1.5rem auto;
  padding: 0 1rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 1rem 0 .5rem; }
nav button { font: inherit; padding: .2rem .7rem; border-radius: 1rem; border: 1px solid #8888;
  background: none; color: inherit; cursor: pointer; }
nav button[aria-pressed=true] { border-color: currentcolor; font-weight: 600; }
#note { min-height: 1.5em; margin: 0 0 .75rem; }
h2 { font-size: 1.1rem; margin: 1.25rem 0 .25rem; } section ul, ol { margin: 0; }
a { color: inherit; } details { margin-top: 1rem; }
kbd { border: 1px solid #8888; border-radius: 3px; padding: 0 .25em; font-size: .85em; }
"""
KEYS = (
    ("arrow keys", "move by a pixel, with Shift by five"),
    ("+ −", "scale"),
    ("[ ]", "turn"),
    ("Page Up, Page Down", "bring to front and back; so does the wheel"),
    ("Delete", "remove"),
    ("Ctrl+D", "copy"),
    ("Ctrl+Z, Ctrl+Shift+Z", "undo and do again"),
)


Link = tuple[str, str]
"""Words, and the place that they lead to, relative to the page."""


@dataclass(frozen=True)
class PlayScene:
    """A scene of one image for the page: its title, a note, and the image if it may be shown.

    `links` lead to what explains it.
    """

    title: str
    note: str
    scene: Scene
    image: np.ndarray | None = None
    links: Sequence[Link] = ()


def playground(
    scenes: Sequence[PlayScene], title: str, introduction: str, further: Sequence[Link] = ()
) -> str:
    """Return a whole HTML page that shows the scenes, one at a time, under the hand.

    `further` are links for whoever wants to know more, whatever the scene.
    """
    data = [
        {
            "title": one.title,
            "note": one.note,
            "links": [list(link) for link in one.links],
            "description": described(one.scene),
            "edits": edits_of(one.scene),
            "before": None if one.image is None else packed_image(one.image),
        }
        for one in scenes
    ]
    keys = "".join(f"<li><kbd>{html.escape(k)}</kbd> {html.escape(does)}</li>" for k, does in KEYS)
    leads = "".join(
        f'<li><a href="{html.escape(place)}">{html.escape(words)}</a></li>'
        for words, place in further
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{PAGE_STYLE}{style("picture.css", "stage.css")}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(introduction)}</p>
<nav id="menu" aria-label="scenes"></nav>
<p id="note"></p>
<div id="stage"></div>
<section aria-labelledby="why"><h2 id="why">Why this works</h2><ul id="links"></ul></section>
<details><summary>Keys, where the picture has the focus</summary><ul>{keys}</ul></details>
{further and f"<h2>Never read the paper?</h2><ol>{leads}</ol>" or ""}
<script type="application/json" id="scenes">{inert(data)}</script>
<script type="module">
{module_of(*STAGE, "page.js")}
const part = id => document.getElementById(id);
play(JSON.parse(part('scenes').textContent), part('stage'), part('menu'), part('note'),
  part('links'));
</script>
</body>
</html>
"""
