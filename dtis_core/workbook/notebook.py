"""A notebook's two ends: what decides its result before it runs, and its executed copy after."""

import ast
import hashlib
import importlib.metadata
import json
import platform
import re
import sys
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from dtis_core.errors import DtisError, suggest
from dtis_core.paths import CLONE, cache_dir, data_root
from dtis_core.workbook.reach import reached_files

WITHOUT_DATA = "without data: "  # begins the line of each part whose images are not at hand


@dataclass(frozen=True)
class Notebook:
    """A notebook as it would be run now; equal `inputs` (a hash) mean an equal result."""

    path: Path
    title: str
    paper: str  # the places in the paper that it is about
    parameters: dict
    inputs: str

    @property
    def name(self) -> str:
        """The file's name without its ending, the key of this notebook in the manifest."""
        return self.path.stem


def read_notebooks(paths: list[Path], parameters: dict) -> list[Notebook]:
    """Read notebooks and give each the parameters that its parameters cell names.

    Raises:
        DtisError: an unreadable notebook, or a parameter (but `profile`) that none of them has.
    """
    surroundings = {"data": _data_names(), "versions": versions()}
    hashed = lru_cache(maxsize=None)(sha256)
    notebooks, known = [], {"profile"}
    for path in paths:
        book = _read(path)
        names = _parameter_names(path, book)
        known |= names
        given = {name: value for name, value in parameters.items() if name in names}
        cells = [[c.cell_type, c.source, c.metadata.get("tags", [])] for c in book.cells]
        code = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
        files = {str(f.relative_to(CLONE)): hashed(f) for f in reached_files(code, CLONE)}
        inputs = json.dumps([cells, given, surroundings, files], sort_keys=True, default=str)
        digest = hashlib.sha256(inputs.encode()).hexdigest()
        headings = _title(path, book), _paper(book)
        notebooks.append(Notebook(path.resolve(), *headings, given, digest))
    for name in parameters:
        if name not in known:
            raise DtisError(f"parameter '{name}': no chosen notebook has it{suggest(name, known)}")
    return notebooks


def settle(path: Path) -> None:
    """Take out of an executed copy what differs between equal runs, so that its bytes can agree.

    That is papermill's times and paths, the times of the cells, and the random identifiers of the
    injected cell and of the widgets (whose stored state lets a viewer draw them without a kernel).
    """
    book = nbformat.read(path, as_version=4)
    book.metadata.pop("papermill", None)
    book.metadata.language_info = {"name": "python"}  # without versions
    for cell in book.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"
    state = _widget_state(book)
    models = _displayed_models(book, state)
    for hidden in set(state) - set(models):
        del state[hidden]
    text = nbformat.writes(book)
    for number, model in enumerate(models):
        text = text.replace(model, f"{number:032x}")
    path.write_text(nbformat.writes(nbformat.reads(text, as_version=4)) + "\n")


def versions() -> dict[str, str]:
    """Return the versions on which numbers and pictures depend most."""
    installed = {name: importlib.metadata.version(name) for name in ("torch", "matplotlib")}
    return {"python": platform.python_version()} | installed


def sha256(path: Path) -> str | None:
    """Return the hash of a file, or None where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _read(path: Path) -> NotebookNode:
    if not path.is_file():
        raise DtisError(f"{path}: no such notebook")
    try:
        with warnings.catch_warnings():  # of identifiers that an older notebook lacks
            warnings.simplefilter("ignore")
            book = nbformat.convert(nbformat.reader.reads(path.read_text()), 4)
            nbformat.validate(book)
            return book
    except Exception as error:  # any: nbformat looks into what it has not checked yet
        reason = " ".join(str(error).split())
        raise DtisError(f"{path}: not a notebook ({reason:.200}); restore it from git") from error


def _title(path: Path, book: NotebookNode) -> str:
    """The first heading, or the file's name."""
    heading = re.search(r"^# (.+)$", _narration(book), re.MULTILINE)
    return heading[1].strip() if heading else path.stem


def _paper(book: NotebookNode) -> str:
    """What the line below the heading says after **Paper:**, or nothing."""
    places = re.search(r"^\*\*Paper:\*\* (.+)$", _narration(book), re.MULTILINE)
    return places[1] if places else ""


def _narration(book: NotebookNode) -> str:
    """The text of all markdown cells."""
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def _parameter_names(path: Path, book: NotebookNode) -> set[str]:
    """The names that the cell tagged `parameters` assigns to."""
    cells = [c for c in book.cells if "parameters" in c.metadata.get("tags", [])]
    try:
        tree = ast.parse(cells[0].source if cells else "")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DtisError(f"{path}: the parameters cell is not plain Python ({error})") from error
    targets = [t for s in tree.body if isinstance(s, ast.Assign) for t in s.targets]
    targets += [s.target for s in tree.body if isinstance(s, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _data_names() -> list[str]:
    """The real datasets at hand, by name: hashing all their images would take minutes."""
    folders = {path for path in data_root().glob("*") if path.is_dir()}
    return sorted(path.name for path in folders - {cache_dir()})


def _widget_state(book: NotebookNode) -> dict:
    widgets = book.metadata.get("widgets", {})
    return widgets.get("application/vnd.jupyter.widget-state+json", {}).get("state", {})


def _displayed_models(book: NotebookNode, state: dict) -> list[str]:
    """Identifiers of the widget models, in the order in which the cells' outputs lead to them."""
    found: dict[str, None] = {}
    waiting = [json.dumps(cell.get("outputs", [])) for cell in reversed(book.cells)]
    while waiting:
        linked = dict.fromkeys(re.findall(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", waiting.pop()))
        new = [model for model in linked if model in state and model not in found]
        found |= dict.fromkeys(new)
        waiting += [json.dumps(state[model], sort_keys=True) for model in reversed(new)]
    return list(found)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        settle(Path(name))
