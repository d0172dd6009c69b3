"""Scripts and styles of what is alive in a browser: for widgets, and for pages without a kernel."""

import html
import json
import re
from pathlib import Path

WEB = Path(__file__).parent / "web"
DRAWN = ("transformations.js", "changes.js", "composition.js", "drawing.js")
STAGE = (*DRAWN, "stage.js")
FLIP_BOOK = ("drawing.js", "flipbook.js")
LAYERS = (*DRAWN, "controls.js", "layers.js", "layer_board.js")
MODULE = (*DRAWN, "controls.js", "handles.js", "module_board.js")
LINE_OF_MODULES = re.compile(r"^import [^;]*;\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
ALONE = """
const alive = {
  stage(root, scene) {
    const host = remembering(scene);
    host.stage = mount(root, host, host.side);
  },
  flipbook: (root, {book}) => openBook(root, book),
  layers: (root, {layers, ...state}) => openLayers(root, layers, state),
  module: (root, {module, ...state}) => openModule(root, module, state),
};
for (const part of document.querySelectorAll('.dtis-alone')) {
  const state = JSON.parse(part.querySelector('script').textContent);
  alive[part.dataset.kind](part.querySelector('div'), state);
}
"""


def module_of(*parts: str) -> str:
    """Return scripts as one module, each once, in an order in which none uses a later one.

    The last decides what hosts them: a widget or a page.
    """
    sources = [(WEB / name).read_text() for name in dict.fromkeys(parts)]
    return "".join(EXPORT.sub("", LINE_OF_MODULES.sub("", source)) for source in sources)


def style(*sheets: str) -> str:
    """Return style sheets, below the theme that all share."""
    return "".join((WEB / name).read_text() for name in ("theme.css", *sheets))


def inert(data: object) -> str:
    """Return data as JSON for the inside of a script element, of which no text in it is the end."""
    return json.dumps(data).replace("<", "\\u003c")


def alone_element(kind: str, state: dict) -> str:
    """Return the HTML of one widget without a kernel: its kind, and the state that it starts from.

    A "stage" has a `description`, `edits`, `before` and `side`; a "flipbook" has a `book`; "layers"
    and a "module" have what `LayerBoard` and `ModuleBoard` share with the browser. `alone_module`,
    once below all of them, brings them to life.
    """
    return (
        f'<div class="dtis-alone" data-kind="{html.escape(kind)}"><div></div>'
        "<noscript>This is alive where scripts run.</noscript>"
        f'<script type="application/json">{inert(state)}</script></div>'
    )


def alone_module() -> str:
    """Return the script and the style for a page of widgets without a kernel."""
    styles = style("picture.css", "stage.css", "flipbook.css", "boards.css")
    script = module_of(*STAGE, *FLIP_BOOK, *LAYERS, *MODULE, "page.js")
    return f'<style>{styles}</style><script type="module">\n{script}{ALONE}</script>'
