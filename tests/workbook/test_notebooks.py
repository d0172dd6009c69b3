"""What every notebook must keep to, and that nbval does compare the numbers stored in them."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output
from stored_notebook import nbval, write

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE_PATH = re.compile(r"(?<![\w.])(/(work|home|tmp|root|Users|content)/|[A-Z]:\\Users)")
LESSONS = {"05_hundred_lines"}  # whose code is their subject
TEMPLATE = re.compile(
    r"# .+\n\n\*\*Aim:\*\* [a-z].{40,240}\.\n\n\*\*Paper:\*\* .+\.\n\n"
    r"\*\*Time:\*\* quick: .{5,240} paper: .{5,160}\.\n\n(?P<near>.+)"
)
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def is_compared(cell):
    return not tags(cell) & UNCOMPARED and "# NBVAL_" not in cell.source


def printed(cell):
    """Yield the text that a cell printed or returned, but for matplotlib's names of figures."""
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if not text.startswith("<Figure size"):
            yield text


def strings(node):
    """Yield every text in a cell's outputs, at any depth, but for the pictures' bytes."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            if not str(key).startswith("image/"):
                yield from strings(child)


def test_opens_by_the_template(path, notebook):
    at = NOTEBOOKS.index(path)
    near = [f"[← {p.stem}]({p.name})" for p in NOTEBOOKS[max(at - 1, 0) : at]]
    near += [f"[{p.stem} →]({p.name})" for p in NOTEBOOKS[at + 1 : at + 2]]
    assert notebook.cells[0].cell_type == "markdown"
    found = TEMPLATE.fullmatch(notebook.cells[0].source)
    assert found, "write it as CONTRIBUTING.md says"
    assert found["near"] == " · ".join(near)


def test_ends_with_a_link_to_the_next_one(path, notebook):
    for following in NOTEBOOKS[NOTEBOOKS.index(path) + 1 :][:1]:
        title = nbformat.read(following, as_version=4).cells[0].source.splitlines()[0]
        link = f"**Next:** [{title.removeprefix('# ')}]({following.name})"
        assert notebook.cells[-1].source.endswith(f"\n\n{link}")


def test_runs_on_the_kernel_that_everyone_has(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_has_one_cell_of_parameters(code):
    tagged = [tag for cell in code for tag in tags(cell) if tag.endswith("parameters")]
    assert tagged == ["parameters"]


def test_cells_are_short_and_helpers_few(path, code):
    long = [cell.source for cell in code if len(cell.source.splitlines()) > 15]
    helpers = [
        line for cell in code for line in re.findall(r"^\s*def .*", cell.source, re.MULTILINE)
    ]
    assert not long
    assert len(helpers) <= 2 or path.stem in LESSONS


def test_no_cell_hides_its_output_by_a_semicolon(code):
    # nbval runs cells outside IPython's history, where the semicolon has no effect.
    assert not [cell.source for cell in code if cell.source.rstrip().endswith(";")]


def test_is_stored_as_it_ran_from_top_to_bottom(code):
    counts = [cell.execution_count for cell in code]
    errors = [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert counts == list(range(1, len(code) + 1)), "run all cells in a fresh kernel, then save"
    assert not errors


def test_stores_a_number_that_nbval_compares(code):
    compared = [text for cell in code if is_compared(cell) for text in printed(cell)]
    assert any(re.search(r"\d", text) for text in compared)


def test_compares_nothing_that_depends_on_data_at_hand(code):
    said = [cell for cell in code if re.search(r"^say_what_is_missing", cell.source, re.MULTILINE)]
    assert not [cell.source for cell in said if is_compared(cell)]


def test_ends_with_three_exercises_and_folded_answers(notebook):
    last = notebook.cells[-1].source
    assert last.startswith("## Try it")
    assert last.count("<details><summary>answer ") == last.count("</details>") == 3


def test_names_no_place_of_one_machine(notebook):
    texts = [cell.source for cell in notebook.cells]
    texts += [text for cell in notebook.cells for text in strings(cell.get("outputs", []))]
    assert [text[:200] for text in texts if ABSOLUTE_PATH.search(text)] == []


def test_is_small_enough_to_keep(path):
    assert path.stat().st_size < 2_500_000  # with the scenes of its editors


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A notebook stored on another machine: same numbers, other pictures, times and warnings."""
    cell = "import sys, matplotlib.pyplot as plt, ipywidgets"
    cell += "\nprint('ARI 0.954 after 12.5 s')\nprint('warning', file=sys.stderr)"
    cell += "\nplt.plot([0, 1])\nplt.show()\nipywidgets.IntSlider()"
    outputs = [
        new_output("stream", name="stdout", text="ARI 0.954 after 3.1 s\n"),
        new_output(
            "display_data",
            {"image/png": "AAAA", "text/plain": "<Figure size 640x480 with 1 Axes>"},
        ),
        new_output(
            "execute_result",
            {
                "text/plain": "IntSlider(value=0)",
                "application/vnd.jupyter.widget-view+json": {"model_id": "0", "version_major": 2},
            },
            execution_count=1,
        ),
    ]
    path = tmp_path_factory.mktemp("nbval") / "stored.ipynb"
    return write(path, new_code_cell(cell, execution_count=1, outputs=outputs))


def test_nbval_accepts_equal_numbers_whatever_the_machine(stored):
    done = nbval(stored)
    assert done.returncode == 0, done.stdout


def test_nbval_rejects_a_changed_number(stored):
    changed = stored.with_name("changed.ipynb")
    changed.write_text(stored.read_text().replace("ARI 0.954 after 3.1 s", "ARI 0.955 after 3.1 s"))
    done = nbval(changed)
    assert done.returncode == 1, done.stdout
    assert "ARI 0.955" in done.stdout and "1 failed" in done.stdout
