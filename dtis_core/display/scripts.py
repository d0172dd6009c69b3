"""The stage's scripts as one module: for a widget in a notebook, and for pages without a kernel."""

import html
import json
import re
from pathlib import Path

WEB = Path(__file__).parent / "web"
PARTS = ("transformations.js", "changes.js", "composition.js", "drawing.js", "stage.js")
LINE_OF_MODULES = re.compile(r"^import [^;]*;\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)
ALONE = """
for (const part of document.querySelectorAll('.dtis-alone')) {
  const host = remembering(JSON.parse(part.querySelector('script').textContent));
  host.stage = mount(part.querySelector('div'), host, host.side);
}
"""


def module_of(last: str) -> str:
    """Return the stage's scripts as one module, with `last`, which decides what its host is."""
    sources = [(WEB / name).read_text() for name in (*PARTS, last)]
    return "".join(EXPORT.sub("", LINE_OF_MODULES.sub("", source)) for source in sources)


def style() -> str:
    """Return the stage's style sheet."""
    return (WEB / "stage.css").read_text()


def inert(data: object) -> str:
    """Return data as JSON for the inside of a script element, of which no text in it is the end."""
    return json.dumps(data).replace("<", "\\u003c")


def stage_element(scene: dict) -> str:
    """Return the HTML of one stage: `scene` has a `description`, `edits`, `before` and `side`.

    `stage_module`, once below all of them, brings them to life.
    """
    noscript = html.escape("This scene can be edited where scripts run.")
    return (
        '<div class="dtis-alone"><div></div><noscript>'
        f'{noscript}</noscript><script type="application/json">{inert(scene)}</script></div>'
    )


def stage_module() -> str:
    """Return the script and the style for a page of stages."""
    return f'<style>{style()}</style><script type="module">\n{module_of("page.js")}{ALONE}</script>'
