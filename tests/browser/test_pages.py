"""The notebooks' pages in Chromium: nothing on them is wider than they are."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from dtis_core.display.tables import table
from dtis_core.workbook.page import page_of

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("DTIS_CHROMIUM") or shutil.which("chromium")
NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[0-9]*.ipynb"))
WIDTH = 1000  # CSS pixels, of a narrow laptop's window
OVERFLOWING = """() => [...document.querySelectorAll('table')].filter(table => {
  const place = table.closest('.jp-OutputArea-output, .jp-RenderedMarkdown');
  return table.getBoundingClientRect().width > place.clientWidth + 1;
}).map(table => table.rows[0].innerText)"""


@pytest.fixture(scope="module")
def window():
    """A window of Chromium, `WIDTH` wide."""
    if not CHROMIUM:
        pytest.skip("no chromium on the path; DTIS_CHROMIUM may name one")
    sync = pytest.importorskip("playwright.sync_api", reason="pip install 'dtis[browser]'")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": WIDTH, "height": 800})
        browser.close()


@pytest.fixture
def show(window, tmp_path):
    """What opens a notebook's page in the window."""

    def shown(notebook):
        file = tmp_path / "page.html"
        file.write_text(page_of(notebook))
        window.goto(file.as_uri())
        return window

    return shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_table_is_wider_than_its_page(show, path):
    page = show(path)
    assert page.evaluate(OVERFLOWING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH


def test_a_table_that_is_wider_would_be_found(show, tmp_path):
    wide = table([{f"unbroken_column_{number}": 0 for number in range(12)}])
    output = new_output("display_data", {"text/markdown": str(wide)})
    path = tmp_path / "wide.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("wide", outputs=[output])]), path)
    assert len(show(path).evaluate(OVERFLOWING)) == 1
