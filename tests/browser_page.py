"""A page of this workbook in Chromium, which may ask for nothing and complain of nothing."""

import base64
import io
import os
import shutil
from contextlib import contextmanager

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from dtis_core.workbook.page import page_of

MIME = "application/vnd.jupyter.widget-{}+json"
CHROMIUM = os.environ.get("DTIS_CHROMIUM") or shutil.which("chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]


def page_of_widgets(folder, widgets):
    """Make a notebook that shows widgets and has no kernel; return its page, a file."""
    views = [{MIME.format("view"): {"model_id": one.model_id}} for one in widgets]
    cells = [new_code_cell("", outputs=[new_output("display_data", view)]) for view in views]
    state = {
        one.model_id: {"model_name": "AnyModel", "state": {**one.get_state()}} for one in widgets
    }
    notebook = new_notebook(
        cells=cells, metadata={"widgets": {MIME.format("state"): {"state": state}}}
    )
    nbformat.write(notebook, folder / "01_widgets.ipynb")
    file = folder / "01_widgets.html"
    file.write_text(page_of(folder / "01_widgets.ipynb"))
    return file


@contextmanager
def page_in_chromium(file):
    """Open a file as a page; in the end, every request and complaint is held against it."""
    if not CHROMIUM:
        pytest.skip("no chromium on the path; DTIS_CHROMIUM may name one")
    sync = pytest.importorskip("playwright.sync_api", reason="pip install 'dtis[browser]'")
    complaints = []
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 900, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text))
        page.on("request", lambda request: complaints.append(request.url))
        page.goto(file.as_uri())
        yield page
        browser.close()
    others = [text for text in complaints if text != file.as_uri()]
    assert not others, others


def pixels_of(canvas):
    """What a canvas shows, (H, W, 3)."""
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    png = base64.b64decode(url.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def overflow_in_themes(page):
    """Yield by how many pixels the page is too wide, dark and light, narrow and wide."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for width in (400, 900):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(100)
            yield page.evaluate("document.documentElement.scrollWidth - innerWidth")
