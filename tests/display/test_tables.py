"""Tables: what they say, and that no text in them is taken for markup."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kinds import IMAGES, a_run
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dtis_core.display.flipbook import FlipBook, Frame
from dtis_core.display.stage import Stage
from dtis_core.display.tables import paper_vs_here, provenance, table
from dtis_core.errors import DtisError
from dtis_core.workbook.index import index_html
from dtis_core.workbook.page import page_of, tables_of

SHOWN_BY_A_TABLE = {"table", "thead", "tbody", "tr", "th", "td", "code"}
HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))",
    "![a](http://a/b.png)", "a | b", "`a`", "**a**", "_a_", "~~a~~", "$\\href{x}{y}$", "\\(x\\)",
    "a\n\n# b", "&lt;b&gt;", "[a][b]", "<http://a>", "\\|", "| |", "</code><b>$",
    "see http://a.b/c", "WWW.a.b", "a@b.c",
]  # fmt: skip


class Page(HTMLParser):
    """The tags of a page and the text in its cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_shows_its_text_and_nothing_else(text):
    page = Page(markdown2html_mistune(str(table([{"run": text, text: 1}]))))
    assert page.tags <= SHOWN_BY_A_TABLE
    shown = " ".join(text.split())
    assert [cell.strip() for cell in page.cells] == ["run", shown, shown, "1"]


@given(st.text(alphabet=" abchtpw.@_`*~$\\<>&|![](){}\"'#/:-=\n", max_size=20))
@example("](")
def test_whatever_the_text_the_table_is_a_table(text):
    page = Page(markdown2html_mistune(str(table([{"run": text, "here": "x"}]))))
    assert page.tags <= SHOWN_BY_A_TABLE
    cells = [cell.strip() for cell in page.cells]
    assert cells == ["run", "here", " ".join(text.split()), "x"]


def test_ordinary_texts_stay_as_they_are():
    rows = [{"": "ARI [3]", "here": "99.6△ ± 0.2"}, {"": "model.mask_noise", "here": "['a_b']"}]
    assert str(table(rows)).splitlines() == [
        "|                  | here        |",
        "|------------------|-------------|",
        "| ARI [3]          | 99.6△ ± 0.2 |",
        "| model.mask_noise | ['a_b']     |",
    ]


def executed(tmp_path, markdown):
    """A notebook with a Markdown output, as a file."""
    output = nbformat.v4.new_output("display_data", {"text/markdown": markdown})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    path = tmp_path / "run.ipynb"
    nbformat.write(book, path)
    return path


def test_a_runs_manifest_cannot_put_markup_on_a_page(tmp_path):
    hostile = "<script>alert('here')</script>"
    manifest = {"preset": hostile, "data": hostile, "seed": hostile, "device": f"$ {hostile}"}
    made = executed(tmp_path, str(paper_vs_here([{"score": "ARI"}], [manifest])))
    assert "<script>alert('here')" not in page_of(made)
    tables = tables_of(made)
    assert tables[0]["rows"] == [["score"], ["ARI"]]
    assert tables[0]["below"].startswith(f"Origin: {hostile}, {hostile}, $ {hostile}, seed ")
    record = {
        "status": "ok", "title": hostile, "paper": hostile, "profile": hostile, "seconds": 1.0,
        "outputs": {f"{hostile}.png": ""}, "tables": [{"title": hostile, **tables[0]}],
    }  # fmt: skip
    index = index_html({hostile: record, "failed": record | {"status": "failed", "error": hostile}})
    assert "script" not in Page(index).tags and "$ &lt;script&gt;" in index


def test_where_all_rows_come_from_is_said_below_them():
    run = {"data": "digits", "preset": "digits/fast", "seed": 0, "device": "CPU", "commit": "ab1",
           "wall_seconds": 90}  # fmt: skip
    origin = "Origin: digits, digits/fast, CPU, seed 0, commit ab1, trained for 2 min"
    rows = [{"score": "ARI", "paper": 1, "here": 2}, {"score": "NMI", "paper": 3, "here": 4}]
    lines = str(paper_vs_here(rows, [run])).splitlines()
    assert lines[0] == "| score | paper | here |" and lines[-2:] == ["", origin]
    published = {"score": "ARI", "here": "–"}
    assert str(table([published, rows[0] | provenance([run])])).endswith(f"\n\n{origin}")


def test_rows_of_different_runs_are_numbered_and_say_once_what_they_share():
    one, two = ({"data": "digits", "preset": "p", "seed": s, "device": "CPU", "commit": c}
                for s, c in ((0, "ab1"), (1, "cd2")))  # fmt: skip
    rows = [{"ARI": 1} | provenance([one]), {"ARI": 2}, {"ARI": 3} | provenance([one, two])]
    rows.append({"ARI": 4} | provenance([one]))
    lines = str(table(rows)).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:6]] == ["1", "–", "2", "1"]
    each = "1: seed 0, commit ab1, trained for 0 s"
    each += "; 2: seeds 0, 1, commits ab1, cd2, trained for 0 s on average"
    assert lines[-1] == f"Origin: digits, p, CPU; {each}"


def test_a_manifest_without_a_time_is_named():
    with pytest.raises(DtisError, match="wall_seconds of a run's manifest.*'soon'; mend it"):
        provenance([{"wall_seconds": "soon"}])


def test_a_page_sets_formulas_itself_and_folds_imports_and_checks(tmp_path):
    book = new_notebook(
        cells=[
            new_markdown_cell(
                "# One <b>\n\n"
                "Where $\\delta_{j\\ell} = 1$, and `cost $5$` or $\\nosuch{$ stay.\n\n$$x^2$$"
                "\n\n[later](02_b.ipynb)"
            ),
            new_code_cell("import os\nfrom pathlib import Path"),
            new_code_cell("total = 1\nassert total == 1"),
            new_code_cell("print(1)"),
        ]
    )
    path = tmp_path / "01_page.ipynb"
    nbformat.write(book, path)
    page = page_of(path, [("all <b>", "../index.html")])
    assert page.count("<math") == 2 and 'display="block"' in page
    assert "<title>One &lt;b&gt;</title>" in page
    assert "cost $5$" in page and "nosuch" in page
    assert page.count("<summary>imports</summary>") == page.count("<summary>checks</summary>") == 1
    assert page.count("<details") == 2
    assert '<a href="../index.html">all &lt;b&gt;</a>' in page
    assert '<a href="02_b.html">later</a>' in page
    assert not re.search(r"""(src|href)=["']https?:""", page)


def test_widgets_that_need_no_kernel_live_on_the_page_and_their_scripts_once(tmp_path):
    stages = [Stage(a_run("clevr").decompose(IMAGES[:1])) for _ in range(2)]
    book = FlipBook([Frame("one", "A </script> of one.", {"image": IMAGES[0]})], "a book")
    state = {
        one.model_id: {"model_name": "AnyModel", "state": {**one.get_state()}}
        for one in (*stages, book)
    }
    box = {"children": [f"IPY_MODEL_{stages[0].model_id}"], "_view_name": "HBoxView"}
    state["b" * 32] = {"model_name": "HBoxModel", "state": box}
    view = "application/vnd.jupyter.widget-view+json"
    shown = ["b" * 32, stages[1].model_id, book.model_id]
    outputs = [new_output("display_data", {view: {"model_id": name}}) for name in shown]
    button = {view: {"model_id": "c" * 32}, "text/plain": "HBox(children=(Button(),))"}
    outputs.append(new_output("display_data", button))
    cells = [new_code_cell("stage", outputs=[output]) for output in outputs]
    mime = "application/vnd.jupyter.widget-state+json"
    notebook = new_notebook(cells=cells, metadata={"widgets": {mime: {"state": state}}})
    path = tmp_path / "01_page.ipynb"
    nbformat.write(notebook, path)
    page = page_of(path)
    assert "HBox(" not in page  # of a button
    assert page.count('<div class="dtis-alone" data-kind="stage">') == 2
    assert page.count('<div class="dtis-alone" data-kind="flipbook">') == 1
    assert page.count("function mount(") == page.count("function openBook(") == 1
    assert '"splineWeights"' in page and "A \\u003c/script> of one." in page
