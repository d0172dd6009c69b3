"""Executed notebooks as pages for a browser, and the tables in them as data."""

import ast
import html
import re
from collections.abc import Sequence
from pathlib import Path

import latex2mathml.converter
import nbformat
from jinja2 import FileSystemLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from traitlets.config import Config

from dtis_core.display.scripts import alone_element, alone_module
from dtis_core.workbook.notebook import WITHOUT_DATA

SHOWN = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/gif", "text/plain")
"""Kinds of output, best first: pictures instead of widgets, which need a kernel."""
FORMULA = re.compile(
    r"```.*?```|`[^`\n]*`|\$\$(?P<block>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$\n]+?)\$", re.DOTALL
)
NOTEBOOK = re.compile(r"(?<=\]\()(\w+)\.ipynb(?=\))")
"""The place of a Markdown link to another notebook."""
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
ALIVE = {
    "dtis_core.display.stage.Stage": ("stage", ("description", "edits", "before", "side")),
    "dtis_core.display.flipbook.FlipBook": ("flipbook", ("book",)),
    "dtis_core.display.layer_board.LayerBoard": (
        "layers",
        ("layers", "occlusion", "shifts", "opacity"),
    ),
    "dtis_core.display.module_board.ModuleBoard": ("module", ("module", "values")),
}
"""Widgets that need no kernel: the kind and the state of each, as `alone_element` takes them."""


def page_of(executed: Path, links: Sequence[tuple[str, str]] = ()) -> str:
    """Return an executed notebook as one HTML page, its pictures inside, which fetches nothing.

    Stages, boards and flip books are alive there, without a kernel; formulas are MathML; cells that
    only import or check are folded, and links to notebooks lead to their pages. `links` are
    (words, place) at the top.
    """
    config = Config({"NbConvertBase": {"display_data_priority": list(SHOWN)}})
    here = FileSystemLoader(Path(__file__).parent)
    exporter = HTMLExporter(
        config,
        extra_loaders=[here],
        template_file="page.html.j2",
        require_js_url="",
        jquery_url="",
        mermaid_js_url="",
    )
    book = nbformat.read(executed, as_version=4)
    alive = _bring_to_life(book)
    _leave_out_controls(book)
    book.metadata.pop("widgets", None)  # else the page would fetch scripts for them
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(NOTEBOOK.sub(r"\1.html", cell.source))
        else:
            cell.metadata["fold"] = _folded(cell.source)
    book.metadata.title = _title(book) or executed.stem
    page = exporter.from_notebook_node(book, {"links": list(links)})[0]
    return page.replace("</body>", f"{alone_module()}</body>") if alive else page


def with_formulas(markdown: str) -> str:
    """Return Markdown with its TeX formulas, outside code, as MathML; unknown TeX stays."""

    def set_formula(found: re.Match) -> str:
        block, inline = found["block"], found["inline"]
        if not (block or inline):
            return found[0]
        try:
            display = "block" if block else "inline"
            return latex2mathml.converter.convert((block or inline).strip(), display=display)
        except Exception:  # any: of TeX that it does not know
            return found[0]

    return FORMULA.sub(set_formula, markdown)


def _title(book: NotebookNode) -> str:
    """Return a notebook's first heading, nothing if it has none."""
    texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    found = re.search(r"^# (.+)$", "\n".join(texts), re.MULTILINE)
    return found[1] if found else ""


def _folded(code: str) -> str:
    """Return the heading under which a cell of code is folded, or nothing if it is shown."""
    try:
        nodes = ast.parse(code).body
    except SyntaxError:
        return ""
    if nodes and all(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes):
        return "imports"
    checks = isinstance(nodes[-1] if nodes else None, ast.Assert)
    return "checks" if checks else ""


def _bring_to_life(book: NotebookNode) -> int:
    """Put what needs no kernel into outputs that show it as a widget; return how many."""
    models = book.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    count = 0
    for output in (o for cell in book.cells for o in cell.get("outputs", [])):
        data = output.get("data", {})
        shown = data.get(VIEW, {}).get("model_id")
        states = [models[name]["state"] for name in _parts_of(shown, models)]
        found = [state for state in states if state.get("_anywidget_id") in ALIVE]
        if found:
            kind, names = ALIVE[found[0]["_anywidget_id"]]
            data["text/html"] = alone_element(kind, {name: found[0].get(name) for name in names})
            count += 1
    return count


def _leave_out_controls(book: NotebookNode) -> None:
    """Take out widgets of which a page without a kernel would show the Python name alone."""
    for cell in book.cells:
        if "outputs" in cell:
            shown = [set(output.get("data", {})) for output in cell.outputs]
            names = {VIEW, "text/plain"}
            cell.outputs = [
                output for output, kinds in zip(cell.outputs, shown, strict=True) if kinds != names
            ]


def _parts_of(model: str | None, models: dict) -> list[str]:
    """Return a widget's model and those that it holds, at any depth."""
    found, waiting = [], [model]
    while waiting:
        name = waiting.pop()
        if name in models and name not in found:
            found.append(name)
            waiting += re.findall(
                r"IPY_MODEL_(\w+)", str(models[name]["state"].get("children", ""))
            )
    return found


def tables_of(executed: Path) -> list[dict]:
    """Return the tables that an executed notebook made, each with the heading above it.

    As `{"title": str, "rows": [[str, ...], ...], "below": str}`, the first row the columns' names,
    and the line that says where the numbers come from, if there is one.
    """
    heading, tables = "", []
    for cell in nbformat.read(executed, as_version=4).cells:
        if cell.cell_type == "markdown":
            titles = re.findall(r"^##* (.+)$", cell.source, re.MULTILINE)
            heading = titles[-1] if titles else heading
        for output in cell.get("outputs", []):
            made, _, below = output.get("data", {}).get("text/markdown", "").partition("\n\n")
            lines = made.splitlines()
            if len(lines) > 2 and lines[0].startswith("| "):
                rows = [[_shown(text) for text in line.strip("|").split("|")] for line in lines]
                found = {"title": heading, "rows": [rows[0], *rows[2:]], "below": _shown(below)}
                tables.append(found)
    return tables


def parts_without_data(executed: Path) -> int:
    """Return how many parts of an executed notebook said that their images were not at hand."""
    cells = nbformat.read(executed, as_version=4).cells
    texts = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    return sum(line.startswith(WITHOUT_DATA) for text in texts for line in text.splitlines())


def _shown(cell: str) -> str:
    """Return the text that a piece of Markdown made by `dtis_core.display.tables` shows."""
    return html.unescape(re.sub("</?code>", "", cell.strip()))
